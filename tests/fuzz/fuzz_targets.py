"""What is fuzzed: every reader of a file that may be hostile, as a function of bytes.

A target may end well or with a FastgoError of one line; anything else is a fault. `fuzz_seeds.py` has sound files to
start from.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import hf_builder
from fastgo.assets import manifest
from fastgo.assets.convert import import_model
from fastgo.assets.gguf_source import open_gguf_source
from fastgo.assets.hf_config import config_from_hf
from fastgo.assets.hf_folder import HfFolder
from fastgo.assets.hf_source import open_hf_source
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.safetensors import read_header
from fastgo.assets.source import check_complete
from fastgo.assets.strict_json import parse_object
from fastgo.errors import FastgoError
from fastgo.text.chat import render
from fastgo.text.hf_tokenizer import export_hf_tokenizer
from fastgo.text.sentencepiece_reader import read_model
from fastgo.text.tokenizer import Tokenizer

_SCRATCH = tempfile.TemporaryDirectory(prefix="fastgo-fuzz-")
_FOLDER = Path(_SCRATCH.name)
_ROWS = 300
HF_FILES = (
    "config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json", "chat_template.json",
    "model.safetensors.index.json",
)  # fmt: skip
_TEXT = "Hello, wörld 12 <s> <|im_end|> 日本"


def run(name: str, data: bytes) -> FastgoError | None:
    """Runs one target; returns the error that it ended with. Raises whatever else the reader raises."""
    try:
        TARGETS[name](data)
    except FastgoError as error:
        assert error.message and "\n" not in error.message and len(error.message) < 2000, error.message
        return error
    return None


def _gguf(data: bytes) -> None:
    path = _FOLDER / "model.gguf"
    path.write_bytes(data)
    with open_gguf_source(path) as source:
        check_complete(source)
        for tensor in source.tensors:
            tensor.read_weights(slice(0, 1))
        _try_tokenizer(source.write_tokenizer(_FOLDER))


def _safetensors(data: bytes) -> None:
    (_FOLDER / "config.json").write_text("{}")
    (_FOLDER / "model.safetensors").write_bytes(data)
    for entry in read_header(_FOLDER / "model.safetensors").values():
        assert 0 <= entry.offset <= entry.offset + entry.nbytes <= len(data)
    for tensor in HfFolder.open(_FOLDER).tensors.values():
        tensor.read_float32(slice(0, 1))


def _manifest(data: bytes) -> None:
    found = manifest.decode(data, "manifest.json")
    assert manifest.decode(manifest.encode(found), "manifest.json") == found


def _model_folder(data: bytes) -> None:
    """The manifest of a sound folder, which is then opened, checked and read."""
    (_sound_folder() / manifest.FILE_NAME).write_bytes(data)
    folder = ModelFolder.open(_sound_folder())
    for name in list(folder.tensors)[:3]:
        folder.weights(name)
    _try_tokenizer(folder.manifest.tokenizer, folder.path)
    folder.verify()


def _engine(data: bytes) -> None:
    """As `_model_folder`, but it is run: the native part maps the weights, and its kernels read them."""
    import fastgo

    (_sound_folder() / manifest.FILE_NAME).write_bytes(data)
    with fastgo.load(_sound_folder(), "cpu") as model:
        ids = list(model.generate_ids([1, 2, 3], max_tokens=2, temperature=0))
        assert all(0 <= token < model.model.config.vocab_size for token in ids)


def _hf_folder(data: bytes) -> None:
    """The JSON files of a sound folder, as one object: by name, each an object, or a text to write as it is."""
    folder = _FOLDER / "hf"
    if not folder.exists():
        hf_builder.write_hf(folder, "gemma3")
    for path in folder.iterdir():
        if path.suffix != ".safetensors":
            path.unlink()
    for name, content in parse_object(data, "the folder").items():
        if name in HF_FILES:
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / name).write_text(text, encoding="utf-8", errors="surrogatepass")
    source = open_hf_source(folder, "m")
    check_complete(source)
    for tensor in source.tensors:
        tensor.read_weights(slice(0, 1))
    _try_tokenizer(source.write_tokenizer(_FOLDER))
    found = manifest.Manifest(
        source.config, manifest.Provenance("m", 0, "0" * 64, 1, "none"), (), {}, None, source.chat_template,
        source.generation, source.licence,
    )  # fmt: skip
    manifest.encode(found)


@cache
def _sound_folder() -> Path:
    """A model folder with tokenizer, whose manifest is replaced again and again."""
    with tempfile.TemporaryDirectory() as scratch:
        hf_builder.write_hf(Path(scratch) / "m", files={"tokenizer.json": small_tokenizer()})
        import_model(Path(scratch) / "m", _FOLDER / "sound")
    shutil.copy(_FOLDER / "sound" / manifest.FILE_NAME, _FOLDER / "sound.json")
    return _FOLDER / "sound"


def sound_manifest() -> bytes:
    """The manifest that `_sound_folder` had."""
    _sound_folder()
    return (_FOLDER / "sound.json").read_bytes()


def small_tokenizer() -> dict[str, Any]:
    """A byte-level tokenizer.json of three tokens and a control token."""
    from fastgo.text.byte_level import PRE_TOKENIZERS, build_tokenizer_json

    content = build_tokenizer_json({"a": 0, "b": 1, "ab": 2}, [("a", "b")], {}, PRE_TOKENIZERS["gpt-2"])
    return content | {"added_tokens": [{"id": 3, "content": "<s>", "special": True}]}


def _tokenizer_json(data: bytes) -> None:
    content = parse_object(data, "tokenizer.json")
    _try_tokenizer(export_hf_tokenizer(content, {}, {"eos_token_id": 2}, _ROWS, _FOLDER))


def _loaded_tokenizer(data: bytes) -> None:
    """The tokenizer of a model folder, which was never carried over by us."""
    (_FOLDER / "loaded.json").write_bytes(data)
    (_FOLDER / "special.json").write_text('{"<s>": 3}')
    info = {"kind": "tokenizers", "files": ["loaded.json", "special.json"], "special": "special.json", "vocab_size": 4}
    _try_tokenizer(info)


def _sentencepiece(data: bytes) -> None:
    read_model(data, "tokenizer.model")


def _hf_config(data: bytes) -> None:
    config_from_hf(parse_object(data, "config.json"), 256, False, "config.json")


def _chat_template(data: bytes) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": _TEXT}]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    text = data.decode("utf-8", errors="replace")
    render(text, messages, bos_token="<s>", eos_token="</s>", tools=tools, enable_thinking=False)


def _try_tokenizer(info: dict[str, Any] | None, folder: Path = _FOLDER) -> None:
    if info is not None:
        tokenizer = Tokenizer.load(folder, info)
        tokenizer.decode(tokenizer.encode_prompt(_TEXT, special=True))


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "gguf": _gguf,
    "safetensors": _safetensors,
    "manifest": _manifest,
    "model_folder": _model_folder,
    "engine": _engine,
    "hf_folder": _hf_folder,
    "tokenizer_json": _tokenizer_json,
    "loaded_tokenizer": _loaded_tokenizer,
    "sentencepiece": _sentencepiece,
    "hf_config": _hf_config,
    "chat_template": _chat_template,
}
