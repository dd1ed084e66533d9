"""Export to GGUF: what came from a GGUF goes back bit by bit, and readers of the format agree on the rest."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import gguf
import hf_builder
import llama_cpp_logits
import numpy as np
import pytest
from fastgo.assets import repository
from fastgo.assets.convert import convert, import_model
from fastgo.assets.export import export_gguf
from fastgo.assets.gguf import GgufFile
from fastgo.assets.gguf_blocks import gguf_blocks, require_gguf_format
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.open_source import open_source
from fastgo.assets.quant import FORMATS, gguf_planes
from fastgo.assets.recipe import Recipe
from fastgo.errors import CacheError, InvalidFileError, UnsupportedModelError, UsageError
from fastgo.models.config import RopeConfig
from fastgo.models.rope import rope_frequencies
from fastgo.text.byte_level import PRE_TOKENIZERS, build_tokenizer_json, pre_tokenizer_name
from fastgo.text.tokenizer import Tokenizer
from gguf_builder import model_tensors, random_raw, write_model
from hf_builder import write_hf

CARRIED = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k")
OF_NO_MATTER = ("general.", "tokenizer.ggml.add_", "GGUF.", "tokenizer.ggml.token_type")


@pytest.mark.parametrize("format", CARRIED)
def test_planes_go_back_to_the_same_blocks(format: str) -> None:
    raw = random_raw(format, 5, 512, seed=3)
    assert np.array_equal(gguf_blocks(FORMATS[format], gguf_planes(format, raw, 512)), raw)
    assert require_gguf_format(FORMATS[format], "x") == FORMATS[format].gguf_type_id


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "qwen3"])
def test_a_gguf_goes_back_bit_by_bit(tmp_path: Path, architecture: str) -> None:
    formats = ("q8_0", "q4_k", "q6_k", "q5_k", "q4_1", "q5_0", "bf16")
    changes = {"general.sampling.top_k": 40, f"{architecture}.rope.scaling.type": "linear"}
    changes |= {f"{architecture}.rope.scaling.factor": 8.0}
    raws = write_model(tmp_path / "m.gguf", architecture, changes, model_tensors(architecture, formats))
    import_model(tmp_path / "m.gguf", tmp_path / "model")
    folder = ModelFolder.open(tmp_path / "model")
    nbytes = export_gguf(folder, tmp_path / "out.gguf")
    assert nbytes == (tmp_path / "out.gguf").stat().st_size
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    assert {tensor.name: bytes(tensor.data) for tensor in reader.tensors} == {
        name: raw.tobytes() for name, raw in raws.items()
    }
    with GgufFile.open(tmp_path / "m.gguf") as first, GgufFile.open(tmp_path / "out.gguf") as second:
        for key, value in first.metadata.items():
            assert second.metadata[key] == value, key
    with open_source(tmp_path / "out.gguf") as source:
        assert source.config == folder.config
        assert source.licence == "mit" and source.generation == {"top_k": 40}


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "qwen3"])
def test_a_hugging_face_model_survives(tmp_path: Path, architecture: str) -> None:
    # GGUF has no key for the scale of Gemma's queries.
    changes = {"query_pre_attn_scalar": 32} if architecture == "gemma3" else {}
    write_hf(tmp_path / "m", architecture, **changes)
    import_model(tmp_path / "m", tmp_path / "model")
    export_gguf(ModelFolder.open(tmp_path / "model"), tmp_path / "out.gguf")
    import_model(tmp_path / "out.gguf", tmp_path / "again")
    first, second = ModelFolder.open(tmp_path / "model"), ModelFolder.open(tmp_path / "again")
    assert first.config == second.config and set(first.tensors) == set(second.tensors)
    for name in first.tensors:
        assert np.array_equal(first.planar(name), second.planar(name)), name


def test_what_gguf_can_not_carry_is_refused(tmp_path: Path) -> None:
    write_hf(tmp_path / "m")
    import_model(tmp_path / "m", tmp_path / "model")
    folder = ModelFolder.open(tmp_path / "model")
    config = dataclasses.replace(folder.config, hidden_activation="gelu_tanh")
    other = dataclasses.replace(folder, manifest=dataclasses.replace(folder.manifest, config=config))
    with pytest.raises(UnsupportedModelError, match="hidden_activation"):
        export_gguf(other, tmp_path / "out.gguf")
    assert not (tmp_path / "out.gguf").exists()


def test_existing_files_and_full_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_hf(tmp_path / "m")
    import_model(tmp_path / "m", tmp_path / "model")
    folder = ModelFolder.open(tmp_path / "model")
    (tmp_path / "out.gguf").write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        export_gguf(folder, tmp_path / "out.gguf")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(CacheError, match="are needed"):
        export_gguf(folder, tmp_path / "out.gguf", force=True)
    assert (tmp_path / "out.gguf").read_text() == "precious"
    monkeypatch.undo()
    export_gguf(folder, tmp_path / "out.gguf", force=True)
    assert (tmp_path / "out.gguf").read_bytes()[:4] == b"GGUF"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "model", "out.gguf"]


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_pre_tokenizers_are_recognised(name: str) -> None:
    content = build_tokenizer_json({"a": 0}, [], {}, PRE_TOKENIZERS[name])
    found = pre_tokenizer_name(content)
    assert found is not None and PRE_TOKENIZERS[found] == PRE_TOKENIZERS[name]


def test_other_spellings_of_pre_tokenizers() -> None:
    byte_level = {"type": "ByteLevel", "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    qwen = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"
    )
    split = {"type": "Split", "pattern": {"Regex": qwen}, "behavior": "Isolated"}
    assert pre_tokenizer_name({"pre_tokenizer": byte_level}) == "gpt-2"
    assert (
        pre_tokenizer_name({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level]}}) == "smollm"
    )
    plain = {"type": "ByteLevel", "use_regex": False}
    assert pre_tokenizer_name({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, plain]}}) == "qwen2"
    assert pre_tokenizer_name({"pre_tokenizer": {"type": "Whitespace"}}) is None
    assert pre_tokenizer_name({}) is None


def byte_fallback_tokenizer() -> dict[str, object]:
    """Letters, byte tokens and a few merges, as the tokenizer.json of a Gemma or Llama 2 has them."""
    letters = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdehlorw"]
    merges = [("l", "l"), ("h", "e"), ("he", "ll"), ("hell", "o"), ("▁", "w"), ("▁w", "o"), ("r", "l"), ("rl", "d")]
    vocab = {text: token for token, text in enumerate([*letters, *(left + right for left, right in merges)])}
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": token, "content": text, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False}
            for token, text in enumerate(letters[:3])
        ],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": True, "fuse_unk": True, "vocab": vocab,
                  "merges": [list(pair) for pair in merges]},
    }  # fmt: skip


def write_with_tokenizer(folder: Path, architecture: str = "llama", scale: int = 1, **changes: object) -> None:
    """`scale` multiplies the weights; small ones make attention look at all positions alike."""
    config = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}
    embedding = np.random.default_rng(0).standard_normal((300, hf_builder.HIDDEN)).astype(np.float32)
    hf_builder.write_hf(
        folder,
        architecture,
        {name: values * np.float32(scale) for name, values in hf_builder.tensors(architecture).items()}
        | {"model.embed_tokens.weight": embedding},
        files={"tokenizer.json": byte_fallback_tokenizer(), "tokenizer_config.json": config},
        **changes,
    )


def test_a_byte_fallback_vocabulary_encodes_the_same(tmp_path: Path) -> None:
    write_with_tokenizer(tmp_path / "m")
    import_model(tmp_path / "m", tmp_path / "model")
    export_gguf(ModelFolder.open(tmp_path / "model"), tmp_path / "out.gguf")
    import_model(tmp_path / "out.gguf", tmp_path / "again")
    first, second = (
        Tokenizer.load(folder.path, folder.manifest.tokenizer or {})
        for folder in (ModelFolder.open(tmp_path / "model"), ModelFolder.open(tmp_path / "again"))
    )
    for text in ("hello world", "hell", "llama <s> [PAD7]", "é日本 held", "  wo  "):
        assert first.encode(text) == second.encode(text), text
        assert first.encode_prompt(text, special=True) == second.encode_prompt(text, special=True)
    assert (first.bos_id, first.eos_ids, first.add_bos) == (second.bos_id, second.eos_ids, second.add_bos)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"model": {"vocab": {"a": 9e9}, "merges": []}}', b"{}"])
def test_damaged_tokenizer_files(tmp_path: Path, content: bytes) -> None:
    write_hf(tmp_path / "m")
    import_model(tmp_path / "m", tmp_path / "model")
    folder = ModelFolder.open(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_bytes(content)
    (tmp_path / "model" / "special_tokens.json").write_text("{}")
    info = {"kind": "tokenizers_byte_fallback", "files": ["tokenizer.json", "special_tokens.json"]}
    with pytest.raises(InvalidFileError):
        export_gguf(
            dataclasses.replace(folder, manifest=dataclasses.replace(folder.manifest, tokenizer=info)),
            tmp_path / "out.gguf",
        )


@pytest.mark.parametrize("name", ["gemma3", "smollm2"])
def test_real_models_go_back(real_gguf: dict[str, Path], real_cache: Path, tmp_path: Path, name: str) -> None:
    folder = repository.open_model(real_gguf[name])
    export_gguf(folder, tmp_path / "out.gguf")
    with GgufFile.open(real_gguf[name]) as first, GgufFile.open(tmp_path / "out.gguf") as second:
        assert set(first.tensors) == set(second.tensors)
        for key, tensor in first.tensors.items():
            assert second.tensors[key].shape == tensor.shape
            assert np.array_equal(second.tensors[key].raw, tensor.raw), key
        for key, value in first.metadata.items():
            if not key.startswith(OF_NO_MATTER) and not key.endswith("vocab_size"):
                assert np.array_equal(second.metadata[key], value), key


YARN: dict[str, object] = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
ROPE: dict[str, tuple[str, dict[str, object]]] = {
    "llama": ("llama", {}),
    "gemma3": ("gemma3", {"query_pre_attn_scalar": 32}),  # GGUF has no key for the scale of Gemma's queries
    "qwen3": ("qwen3", {}),
    "llama linear": ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
    "llama 3": ("llama", {"rope_theta": 500.0, "rope_scaling": LLAMA3}),
    "llama yarn": ("llama", {"rope_theta": 100.0, "rope_scaling": YARN}),
    "llama yarn, sharper": ("llama", {"rope_scaling": YARN | {"attention_factor": 1.5}}),
    "qwen3 yarn": ("qwen3", {"rope_scaling": YARN}),
}


@pytest.mark.parametrize("name", ROPE)
def test_llama_cpp_gives_the_same_float32_logits(tmp_path: Path, name: str) -> None:
    import fastgo

    architecture, changes = ROPE[name]
    write_with_tokenizer(tmp_path / "m", architecture, 8 if "rope_scaling" in changes else 1, **changes)
    import_model(tmp_path / "m", tmp_path / "model")
    folder = ModelFolder.open(tmp_path / "model")
    export_gguf(folder, tmp_path / "out.gguf")
    ids = [1, 40, 260, 261, 262, 299, 263, 265, 277]
    with fastgo.load(tmp_path / "model") as ours:
        wanted = ours.logits(ids, all_positions=True)
    found = llama_cpp_logits.run(tmp_path / "out.gguf", ids, type_k=0, type_v=0)
    assert wanted.std() > 1e-2
    assert np.abs(wanted - found).max() < 2e-3 * wanted.std()
    if "rope_scaling" in changes:  # the scaling is seen at all, and by both
        config = dataclasses.replace(folder.config, rope=RopeConfig(folder.config.rope.theta))
        plain = dataclasses.replace(folder, manifest=dataclasses.replace(folder.manifest, config=config))
        with fastgo.LLM(plain) as other:
            assert np.abs(wanted - other.logits(ids, all_positions=True)).max() > 2e-2 * wanted.std()


@pytest.mark.parametrize("name", [name for name, (_, changes) in ROPE.items() if "rope_scaling" in changes])
def test_scaled_rotary_embeddings_go_back(tmp_path: Path, name: str) -> None:
    architecture, changes = ROPE[name]
    write_hf(tmp_path / "m", architecture, **changes)
    import_model(tmp_path / "m", tmp_path / "model")
    export_gguf(ModelFolder.open(tmp_path / "model"), tmp_path / "out.gguf")
    import_model(tmp_path / "out.gguf", tmp_path / "again")
    export_gguf(ModelFolder.open(tmp_path / "again"), tmp_path / "twice.gguf")
    first, second = (ModelFolder.open(tmp_path / folder).config for folder in ("model", "again"))
    tables = [rope_frequencies(config.rope, config.head_dim) for config in (first, second)]
    np.testing.assert_allclose(*tables, rtol=1e-6)
    assert first.attention_scale == pytest.approx(second.attention_scale, rel=1e-6)
    assert first.max_position_embeddings == second.max_position_embeddings


@pytest.mark.parametrize(
    ("architecture", "scaling", "message"),
    [("qwen3", LLAMA3, "llama3"), ("llama", YARN | {"beta_slow": 0.5}, "beta_slow")],
)
def test_a_scaling_that_llama_cpp_does_not_read_is_refused(
    tmp_path: Path, architecture: str, scaling: dict[str, object], message: str
) -> None:
    write_hf(tmp_path / "m", architecture, rope_scaling=scaling)
    import_model(tmp_path / "m", tmp_path / "model")
    with pytest.raises(UnsupportedModelError, match=message):
        export_gguf(ModelFolder.open(tmp_path / "model"), tmp_path / "out.gguf")


@pytest.mark.real
@pytest.mark.parametrize("name", ["gemma3", "smollm2"])
def test_llama_cpp_gives_the_same_logits(
    real_gguf: dict[str, Path], real_cache: Path, tmp_path: Path, name: str
) -> None:
    """A model that we quantised ourselves, run by both; llama.cpp multiplies with 8-bit activations."""
    import fastgo

    with open_source(real_gguf[name]) as source:
        convert(source, tmp_path / "model", Recipe("q8"))
    export_gguf(ModelFolder.open(tmp_path / "model"), tmp_path / "out.gguf")
    text = "The harbour was quiet when the last boat came in."
    with fastgo.load(tmp_path / "model") as ours:
        ids = ours.tokenizer.encode_prompt(text)
        wanted = ours.logits(ids, all_positions=True)
    found = llama_cpp_logits.run(tmp_path / "out.gguf", ids, text)
    ours_p, theirs_p = (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True) for logits in (wanted, found))
    divergence = (np.exp(ours_p) * (ours_p - theirs_p)).sum(axis=1)
    print(name, json.dumps(divergence.round(6).tolist()))
    assert divergence.mean() < 1e-2
    assert (wanted.argmax(axis=1) == found.argmax(axis=1)).mean() > 0.8
