"""The table of hostile files: each is made in an empty folder and given to one command of the command line.

`CASES` says, by name, how the file is made, which command reads it, its exit code and what the error has to say.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf_builder as gguf
import hf_builder
from fastgo.assets.convert import import_model

INVALID, UNSUPPORTED, DEVICE = 4, 5, 6
Maker = Callable[[Path], Path]


@dataclass(frozen=True)
class Case:
    """`make(folder)` returns what `command` (with "{}" for it) is run on; its error has `message` and exit `code`."""

    make: Maker
    message: str
    code: int = INVALID
    command: str = "inspect {}"


def raw(data: bytes, name: str = "model.gguf") -> Maker:
    """A file of these bytes."""

    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def gguf_file(*pairs: bytes, infos: tuple[bytes, ...] = (), data: int = 64, **head: Any) -> Maker:
    """A GGUF file from its parts."""
    return raw(gguf.raw_file(pairs, infos, bytes(data), **head))


def gguf_model(edit: Callable[[bytearray], Any] | None = None, **metadata: Any) -> Maker:
    """A small GGUF model with other metadata, or with its bytes edited."""

    def make(folder: Path) -> Path:
        path = folder / "model.gguf"
        gguf.write_model(path, metadata={name.replace("__", "."): value for name, value in metadata.items()})
        if edit is not None:
            data = bytearray(path.read_bytes())
            edit(data)
            path.write_bytes(data)
        return path

    return make


def gguf_tensors(**changes: Any) -> Maker:
    """A small GGUF model some of whose tensors have another (format, shape), or are left out (None)."""

    def make(folder: Path) -> Path:
        tensors = gguf.model_tensors("llama") | {name.replace("__", "."): value for name, value in changes.items()}
        gguf.write_model(folder / "model.gguf", tensors={name: value for name, value in tensors.items() if value})
        return folder / "model.gguf"

    return make


def checkpoint(edit: Callable[[Path], Any], shards: int = 1, **options: Any) -> Maker:
    """A Hugging Face folder, edited."""

    def make(folder: Path) -> Path:
        hf_builder.write_hf(folder / "m", shards=shards, **options)
        edit(folder / "m")
        return folder / "m"

    return make


def weights(header: bytes | dict[str, Any], data: int = 8, length: int | None = None) -> Maker:
    """A Hugging Face folder whose weights file has this header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    content = struct.pack("<Q", len(text) if length is None else length) + text + bytes(data)
    return checkpoint(lambda folder: (folder / "model.safetensors").write_bytes(content))


def entry(dtype: str = "F32", shape: tuple[int, ...] = (2,), start: int = 0, stop: int = 8) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


def tokenizer(last_id: int = 2) -> dict[str, Any]:
    """A tokenizer.json of three tokens and a control token."""
    from fastgo.text.byte_level import PRE_TOKENIZERS, build_tokenizer_json

    content = build_tokenizer_json({"h": 0, "i": 1, "hi": last_id}, [("h", "i")], {}, PRE_TOKENIZERS["gpt-2"])
    return content | {"added_tokens": [{"id": 90, "content": "<s>", "special": True}]}


def model_folder(edit: Callable[[Path], Any], template: str | None = None, **options: Any) -> Maker:
    """A model folder, edited after it was made."""

    def make(folder: Path) -> Path:
        files: dict[str, Any] = {"tokenizer.json": tokenizer()}
        if template is not None:
            files["chat_template.jinja"] = template
        hf_builder.write_hf(folder / "source", files=files, **options)
        import_model(folder / "source", folder / "m")
        edit(folder / "m")
        return folder / "m"

    return make


def manifest(*path: Any, to: Any) -> Maker:
    """A model folder with one value of its manifest changed, or taken out."""

    def edit(folder: Path) -> None:
        data = json.loads((folder / "manifest.json").read_text())
        place = data
        for key in path[:-1]:
            place = place[key]
        if to is None:
            del place[path[-1]]
        else:
            place[path[-1]] = to
        (folder / "manifest.json").write_text(json.dumps(data))

    return model_folder(edit)


def swap(name: str, old: str, new: str) -> Callable[[Path], Any]:
    """An edit of a folder: a text in one of its files is replaced."""

    def edit(folder: Path) -> None:
        text = (folder / name).read_text("utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), "utf-8")

    return edit


def link(name: str, target: str) -> Callable[[Path], None]:
    """Replaces a file of a folder by a symbolic link."""

    def edit(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return edit


def pipe(name: str) -> Callable[[Path], None]:
    """Replaces a file of a folder by a pipe that nobody writes."""

    def edit(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return edit


def flip(name: str, offset: int) -> Callable[[Path], None]:
    """Changes one bit, `offset` bytes from the file's end."""

    def edit(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[-offset] ^= 1
        (folder / name).write_bytes(data)

    return edit


def piped_gguf(folder: Path) -> Path:
    pipe("model.gguf")(folder)
    return folder / "model.gguf"


BOMB = b'{"a":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"
SHARD = "weights-00001-of-00001.safetensors"
NORM = "model.norm.weight"
WORD = struct.pack("<I", 7)
LONG = 1 << 63
LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}"
NAN_WEIGHTS = {name: value * float("nan") for name, value in hf_builder.tensors().items()}
RUN = "run --model {} -n 2 hi"

CASES: dict[str, Case] = {
    "gguf: empty": Case(raw(b""), "model.gguf is empty"),
    "gguf: no GGUF at all": Case(raw(os.urandom(64)), "does not start with 'GGUF'"),
    "gguf: a pipe": Case(piped_gguf, "not a regular file"),
    "gguf: header cut": Case(raw(gguf.raw_file()[:10]), "remain"),
    "gguf: data cut": Case(gguf_model(lambda data: data.__delitem__(slice(len(data) // 2, None))), "ends at byte"),
    "gguf: big-endian": Case(gguf_file(version=3 << 24), "expected a little-endian one", UNSUPPORTED),
    "gguf: version 1": Case(gguf_file(version=1), "version 1, expected 2 or 3", UNSUPPORTED),
    "gguf: 2^63 tensors": Case(gguf_file(tensor_count=LONG), f"claims {LONG} tensors"),
    "gguf: 2^63 keys": Case(gguf_file(pair_count=LONG), f"claims {LONG} metadata keys"),
    "gguf: a key of 2^63 bytes": Case(gguf_file(struct.pack("<Q", LONG) + bytes(40)), f"has {LONG} bytes, at most"),
    "gguf: a text of 2^63 bytes": Case(
        gguf_file(gguf.key_value("a", gguf.STRING, struct.pack("<Q", LONG))), f"needs {LONG} bytes"
    ),
    "gguf: 2^60 texts": Case(
        gguf_file(gguf.key_value("a", gguf.ARRAY, struct.pack("<IQ", gguf.STRING, 1 << 60))), "strings in metadata 'a'"
    ),
    "gguf: arrays in arrays without end": Case(
        gguf_file(gguf.key_value("a", gguf.ARRAY, struct.pack("<IQ", gguf.ARRAY, 1) * 9999), data=999), "deeper than 4"
    ),
    "gguf: key that is not UTF-8": Case(gguf_file(gguf.key_value(b"\xff", gguf.UINT32, WORD)), "is not UTF-8"),
    "gguf: a key twice": Case(gguf_file(*[gguf.key_value("a", gguf.UINT32, WORD)] * 2), "'a' occurs twice"),
    "gguf: a tensor twice": Case(gguf_file(infos=(gguf.tensor_info("t", (8,)),) * 2), "'t' occurs twice"),
    "gguf: zero dimension": Case(gguf_file(infos=(gguf.tensor_info("t", (8, 0)),)), "impossible shape (0, 8)"),
    "gguf: product of dimensions overflows": Case(
        gguf_file(infos=(gguf.tensor_info("t", (1 << 32, 1 << 32, 2)),)), "impossible shape"
    ),
    "gguf: bytes overflow before padding": Case(
        gguf_file(infos=(gguf.tensor_info("t", ((1 << 62) - 1,)),)), f"ends at byte {(1 << 64) - 4} of the data"
    ),
    "gguf: end overflows": Case(
        gguf_file(infos=(gguf.tensor_info("t", (8,), 0, (1 << 64) - 32),)), f"ends at byte {1 << 64} of the data"
    ),
    "gguf: misaligned": Case(gguf_file(infos=(gguf.tensor_info("t", (8,), 0, 4),)), "no multiple of 32"),
    "gguf: alignment of 48": Case(
        gguf_file(gguf.key_value("general.alignment", gguf.UINT32, struct.pack("<I", 48))), "expected a power of two"
    ),
    "gguf: one part of three": Case(
        raw(gguf.raw_file(), "model-00001-of-00003.gguf"), "model-00002-of-00003.gguf is missing, one of the 3 files"
    ),
    "gguf: overlap": Case(
        gguf_file(infos=(gguf.tensor_info("a", (16,)), gguf.tensor_info("b", (8,), 0, 32))), "'a' and 'b' overlap"
    ),
    "gguf: unknown type": Case(gguf_file(infos=(gguf.tensor_info("t", (8,), 999),)), "unknown (999)", UNSUPPORTED),
    "gguf: unknown architecture": Case(gguf_model(general__architecture="gpt9"), "'gpt9'", UNSUPPORTED),
    "gguf: heads of no size": Case(
        gguf_model(llama__attention__key_length=0, llama__attention__value_length=0), "'head_dim'"
    ),
    "gguf: 2^31 layers": Case(gguf_model(llama__block_count=1 << 31), "num_hidden_layers"),
    "gguf: a weight missing": Case(gguf_tensors(blk__0__attn_q__weight=None), "q_proj.weight is missing"),
    "gguf: a weight of another shape": Case(
        gguf_tensors(output_norm__weight=("f32", (128,))), "model.norm.weight has shape (128,), expected (256,)"
    ),
    "gguf: an unknown weight": Case(gguf_tensors(blk__0__extra__weight=("f32", (8,))), "extra", UNSUPPORTED),
    "gguf: more tokens than rows": Case(
        gguf_model(tokenizer__ggml__model="gpt2", tokenizer__ggml__tokens=["a"] * 97), "97 tokens, its embedding has 96"
    ),
    "gguf: token id outside the vocabulary": Case(
        gguf_model(
            tokenizer__ggml__model="gpt2",
            tokenizer__ggml__pre="smollm",
            tokenizer__ggml__tokens=["a", "b", "ab"],
            tokenizer__ggml__merges=["a b"],
            tokenizer__ggml__eos_token_id=4_000_000_000,
        ),
        "4000000000",
    ),
    "safetensors: empty": Case(checkpoint(lambda m: (m / "model.safetensors").write_bytes(b"")), "the file has 0"),
    "safetensors: a pipe": Case(checkpoint(pipe("model.safetensors")), "no model.safetensors", 3),
    "safetensors: header of 2^63 bytes": Case(weights(b"{}", length=LONG), f"claims {LONG} bytes"),
    "safetensors: header that is not UTF-8": Case(weights(b'{"\xff": 1}'), "is not UTF-8"),
    "safetensors: JSON bomb": Case(weights(BOMB), "nests too deeply"),
    "safetensors: a tensor twice": Case(weights(b'{"a": {}, "a": {}}'), "'a' occurs twice"),
    "safetensors: overlap": Case(weights({"a": entry(), "b": entry(start=4, stop=12)}, 12), "overlaps the one before"),
    "safetensors: hole": Case(weights({"a": entry(start=4, stop=12)}, 12), "leaves a hole"),
    "safetensors: size overflows": Case(weights({"a": entry(shape=(1 << 62, 4))}), "needs"),
    "safetensors: cut": Case(weights({"a": entry()}, 4), "entries end at byte"),
    "safetensors: missing shard": Case(
        checkpoint(lambda m: (m / "model-00002-of-00003.safetensors").unlink(), shards=3),
        "names model-00002-of-00003.safetensors, which is missing",
    ),
    "safetensors: index that leads out": Case(
        checkpoint(
            lambda m: (m / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../etc/passwd"}}')
        ),
        "'../../etc/passwd' is not a plain file name",
    ),
    "safetensors: weights that are not numbers": Case(
        checkpoint(lambda m: None, weights=NAN_WEIGHTS),
        "infinite or not a number",
        command="convert {} {}-out --quantize q4",
    ),
    "config: JSON bomb": Case(checkpoint(lambda m: (m / "config.json").write_bytes(BOMB)), "nests too deeply"),
    "manifest: a pipe": Case(model_folder(pipe("manifest.json")), "not a regular file"),
    "config: negative size": Case(checkpoint(lambda m: None, intermediate_size=-1), "intermediate_size"),
    "config: a number of 6000 digits": Case(
        checkpoint(lambda m: (m / "config.json").write_bytes(b'{"hidden_size": ' + b"9" * 6000 + b"}")),
        "too many digits",
    ),
    "tokenizer: id outside the vocabulary": Case(
        checkpoint(lambda m: (m / "tokenizer.json").write_text(json.dumps(tokenizer(96)))),
        "found 96",
    ),
    "tokenizer: a merge that makes no token": Case(
        checkpoint(lambda m: (m / "tokenizer.json").write_text(json.dumps(tokenizer()).replace('"hi": 2', '"x": 2'))),
        "pairs of tokens that make a third",
    ),
    "tokenizer: JSON bomb": Case(checkpoint(lambda m: (m / "tokenizer.json").write_bytes(BOMB)), "nests too deeply"),
    "manifest: JSON bomb": Case(model_folder(lambda m: (m / "manifest.json").write_bytes(BOMB)), "nests too deeply"),
    "manifest: not UTF-8": Case(model_folder(lambda m: (m / "manifest.json").write_bytes(b"\xff{}")), "is not UTF-8"),
    "manifest: newer version": Case(manifest("format_version", to=99), "format version 99", UNSUPPORTED),
    "manifest: path that leads out": Case(manifest("shards", 0, "file", to="../secret"), "not a plain file name"),
    "manifest: absolute path": Case(manifest("shards", 0, "file", to="/etc/passwd"), "not a plain file name"),
    "manifest: shard is a link": Case(model_folder(link(SHARD, "/dev/zero")), f"{SHARD} is not a regular file"),
    "model folder: a merge that makes no token": Case(
        model_folder(swap("tokenizer.json", '"hi":2', '"x":2')), "not a tokenizer of this kind", command=RUN
    ),
    "model folder: a token outside the vocabulary": Case(
        model_folder(swap("tokenizer.json", '"hi":2', '"hi":96')), "makes token 96, expected ids below 96", command=RUN
    ),
    "model folder: words with a prefix": Case(
        model_folder(swap("tokenizer.json", '"continuing_subword_prefix":null', '"continuing_subword_prefix":"xx"')),
        "not a tokenizer of this kind",
        command=RUN,
    ),
    "manifest: tokenizer is a link": Case(
        model_folder(link("tokenizer.json", "/etc/passwd")), "tokenizer.json is not a regular file"
    ),
    "manifest: missing shard": Case(model_folder(lambda m: (m / SHARD).unlink()), f"{SHARD}: no such file"),
    "manifest: shard cut": Case(model_folder(lambda m: os.truncate(m / SHARD, 5000)), "has 5000 bytes, expected"),
    "manifest: hash mismatch": Case(model_folder(flip(SHARD, 100)), "differs from its SHA-256", command="verify {}"),
    "manifest: tensor beyond the shard": Case(manifest("tensors", NORM, "offset", to=1 << 40), "ends at byte"),
    "manifest: misaligned tensor": Case(manifest("tensors", NORM, "offset", to=4100), "expected a multiple of 64"),
    "manifest: no embedding": Case(
        manifest("tensors", "model.embed_tokens.weight", to=None), "is missing", command=RUN
    ),
    "manifest: no embedding to plan for": Case(
        manifest("tensors", "model.embed_tokens.weight", to=None), "is missing", command="inspect {} --fit"
    ),
    "manifest: huge tensor": Case(manifest("tensors", NORM, "shape", to=[1 << 62] * 4), "needs"),
    "manifest: end token outside the vocabulary": Case(manifest("tokenizer", "eos_ids", to=[96]), "eos_ids"),
    "manifest: token id of 2^70": Case(manifest("tokenizer", "bos_id", to=1 << 70), "bos_id"),
    "template: loops for ever": Case(model_folder(lambda m: None, LOOP), "does too much work", command=RUN),
    "template: fills the memory": Case(
        model_folder(lambda m: None, "{{ 'a' * 10**12 }}"), "chat template can't be used", command=RUN
    ),
    "template: reaches for Python": Case(
        model_folder(lambda m: None, "{{ ''.__class__.__mro__ }}"), "chat template can't be used", command=RUN
    ),
    "weights: scales that are not numbers": Case(
        model_folder(lambda m: None, "hi", weights=NAN_WEIGHTS), "no finite logits", DEVICE, RUN
    ),
}
