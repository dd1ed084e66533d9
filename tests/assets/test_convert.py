"""Import of GGUF files: nothing is lost, rows are put back, and what is not supported is refused by name."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from fastgo.assets import convert, gguf_names, safetensors
from fastgo.assets.convert import import_model
from fastgo.assets.gguf import GgufTensor
from fastgo.assets.gguf_config import config_from_gguf
from fastgo.assets.gguf_source import open_gguf_source
from fastgo.assets.manifest import FILE_NAME
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.quant import FORMATS
from fastgo.errors import (
    CacheError,
    FastgoError,
    InvalidFileError,
    ModelNotFoundError,
    UnsupportedModelError,
    UsageError,
)
from gguf_builder import (
    HEAD_DIM,
    HEADS,
    HIDDEN,
    KV_HEADS,
    VOCAB,
    gguf_type,
    model_metadata,
    model_tensors,
    write_model,
)
from safetensors import safe_open


def bits(weights: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(weights).view(np.uint32)


def public_permute(weights: np.ndarray, heads: int) -> np.ndarray:
    """What llama.cpp's converter does to q and k of the llama architecture."""
    rows = weights.shape[0]
    return weights.reshape(heads, 2, rows // heads // 2, -1).swapaxes(1, 2).reshape(weights.shape)


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "qwen3"])
def test_every_weight_arrives_unchanged(tmp_path: Path, architecture: str) -> None:
    path = tmp_path / "model.gguf"
    raws = write_model(path, architecture)
    manifest = import_model(path, tmp_path / "out")
    folder = ModelFolder.open(tmp_path / "out")
    assert folder.manifest == manifest
    folder.verify()
    for name, (format, shape) in model_tensors(architecture).items():
        ours = gguf_names.hugging_face_name(name, manifest.config, "")
        assert (folder.tensors[ours].format, folder.tensors[ours].shape) == (format, shape)
        with np.errstate(all="ignore"):
            expected = gguf.quants.dequantize(raws[name], gguf_type(format)).reshape(shape)
        weights = folder.weights(ours)
        if architecture == "llama" and "attn_q." in name:
            weights = public_permute(weights, HEADS)
        if architecture == "llama" and "attn_k." in name:
            weights = public_permute(weights, KV_HEADS)
        np.testing.assert_array_equal(bits(weights), bits(expected))
    assert len(folder.tensors) == len(raws)


def test_biases_are_put_back(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    tensors = model_tensors("llama") | {"blk.0.attn_k.bias": ("f32", (KV_HEADS * HEAD_DIM,))}
    raw = write_model(path, tensors=tensors)["blk.0.attn_k.bias"].view(np.float32).reshape(-1)
    with open_gguf_source(path) as source:
        (bias,) = (tensor for tensor in source.tensors if tensor.name.endswith("k_proj.bias"))
        planes = bias.read_planes(slice(0, 1))["low"][0]
    np.testing.assert_array_equal(bits(public_permute(planes[:, None], KV_HEADS)[:, 0]), bits(raw))


def test_a_quantised_bias_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    for format in ("q8_0", "q3_k"):
        write_model(path, tensors=model_tensors("llama") | {"blk.0.attn_q.bias": (format, (256,))})
        with pytest.raises(UnsupportedModelError, match=r"attn_q\.bias is quantised"), open_gguf_source(path):
            pass


def test_gemma3_config(tmp_path: Path) -> None:
    write_model(
        tmp_path / "m.gguf", "gemma3", {"gemma3.rope.scaling.type": "linear", "gemma3.rope.scaling.factor": 8.0}
    )
    manifest = import_model(tmp_path / "m.gguf", tmp_path / "out")
    config = manifest.config
    assert (config.vocab_size, config.hidden_size, config.head_dim) == (VOCAB, HIDDEN, HEAD_DIM)
    assert (config.rope.theta, config.rope.factor) == (1e6, 8.0)
    assert config.local_rope is not None
    assert (config.local_rope.theta, config.local_rope.factor) == (1e4, 1.0)
    assert (config.layer_is_sliding, config.sliding_window) == ((True, True), 16)
    assert (config.embedding_scale, config.query_scale) == (16.0, HEAD_DIM**-0.5)
    assert (config.rms_norm_eps, config.hidden_activation, config.tie_word_embeddings) == (1e-6, "gelu_tanh", True)
    assert (manifest.licence, manifest.tokenizer, manifest.chat_template) == ("mit", None, None)


def test_gemma3_27b_and_patterns_in_the_file() -> None:
    metadata = model_metadata("gemma3") | {
        "general.architecture": "gemma3",
        "gemma3.embedding_length": 5376,
        "gemma3.block_count": 7,
        "gemma3.attention.head_count_kv": np.full(7, 2, np.uint32),
    }
    embedding = GgufTensor("token_embd.weight", (10, 5376), FORMATS["f32"], np.zeros(0, np.uint8))
    tensors = {"token_embd.weight": embedding}
    config = config_from_gguf(metadata, tensors, "m.gguf")
    assert (config.query_scale, config.embedding_scale) == (168**-0.5, float(np.float32(5376) ** np.float32(0.5)))
    assert config.layer_is_sliding == (True,) * 5 + (False, True)
    assert config.num_key_value_heads == 2
    for stored, expected in ((2, (True, False) * 3 + (True,)), (np.arange(7) > 2, (False,) * 3 + (True,) * 4)):
        metadata["gemma3.attention.sliding_window_pattern"] = stored
        assert config_from_gguf(metadata, tensors, "m.gguf").layer_is_sliding == expected


def test_untied_head_and_generation_defaults(tmp_path: Path) -> None:
    tensors = model_tensors("qwen3") | {"output.weight": ("q6_k", (VOCAB, HIDDEN))}
    write_model(tmp_path / "m.gguf", "qwen3", {"general.sampling.temp": 0.5}, tensors)
    manifest = import_model(tmp_path / "m.gguf", tmp_path / "out")
    assert not manifest.config.tie_word_embeddings
    assert manifest.tensors["lm_head.weight"].shape == (VOCAB, HIDDEN)
    assert manifest.generation == {"temperature": 0.5}


def test_several_shards(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    manifest = import_model(tmp_path / "m.gguf", tmp_path / "out", max_shard_nbytes=200_000)
    whole = import_model(tmp_path / "m.gguf", tmp_path / "whole")
    folder = ModelFolder.open(tmp_path / "out")
    assert len(manifest.shards) > 2
    for index in range(len(manifest.shards)):
        with safe_open(folder.shard_path(index), framework="numpy") as file:
            assert file.keys()
    for name, tensor in manifest.tensors.items():
        assert tensor.sha256 == whole.tensors[name].sha256


def test_progress_adds_up(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    calls: list[tuple[int, int, str]] = []
    import_model(tmp_path / "m.gguf", tmp_path / "out", lambda *call: calls.append(call), source_sha256="0" * 64)
    assert [done for done, _, _ in calls] == sorted(done for done, _, _ in calls)
    assert calls[-1][0] == calls[-1][1] > 0
    assert {what for _, _, what in calls} == {"importing m.gguf"}


Q4 = ("q4_0", (HIDDEN, HIDDEN))
REFUSED: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "architecture": ("mamba", {}, {}, "'mamba'"),
    "experts": ("llama", {"llama.expert_count": 8}, {}, "expert_count"),
    "longrope": ("qwen3", {"qwen3.rope.scaling.type": "longrope"}, {}, "longrope"),
    "partial rotary": ("llama", {"llama.rope.dimension_count": 32}, {}, "dimension_count"),
    "soft cap": ("gemma3", {"gemma3.final_logit_softcapping": 30.0}, {}, "softcapping"),
    "heads by layer": ("llama", {"llama.attention.head_count_kv": [2, 4]}, {}, "differs from layer to layer"),
    "unknown tensor": ("llama", {}, {"blk.0.ffn_gate_exps.weight": Q4}, "'blk.0.ffn_gate_exps.weight'"),
    "another model's tensor": ("llama", {}, {"blk.0.attn_q_norm.weight": ("f32", (64,))}, "attn_q_norm"),
}
INVALID: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "key missing": ("llama", {"llama.block_count": None}, {}, "block_count is missing"),
    "key type": ("llama", {"llama.block_count": "two"}, {}, "expected an integer"),
    "no heads": ("llama", {"llama.attention.head_count": 0}, {}, "head_count is 0"),
    "heads disagree": ("llama", {"llama.attention.head_count_kv": 3}, {}, "can't share"),
    "huge hidden size": ("llama", {"llama.embedding_length": 1 << 31}, {}, "hidden_size"),
    "layer count": ("gemma3", {"gemma3.block_count": (1 << 32) - 1}, {}, "num_hidden_layers"),
    "too many layers": ("llama", {}, {"blk.7.attn_norm.weight": ("f32", (HIDDEN,))}, "expected 2 layers"),
    "epsilon": ("llama", {"llama.attention.layer_norm_rms_epsilon": float("nan")}, {}, "finite"),
    "q rows": ("llama", {"llama.attention.head_count": 8}, {}, "expected 8 heads"),
    "rope divisors": ("llama", {}, {"rope_freqs.weight": ("f32", (3,))}, "rope_freqs.weight"),
    "bias in one layer": ("qwen3", {}, {"blk.0.attn_q.bias": ("f32", (256,))}, "layers.1.self_attn.q_proj.bias"),
    "yarn backwards": (
        "qwen3",
        {"qwen3.rope.scaling.type": "yarn", "qwen3.rope.scaling.yarn_beta_slow": 64.0},
        {},
        "'low' < 'high'",
    ),
    "licence type": ("llama", {"general.license": 7}, {}, "general.license"),
    "layer pattern": ("gemma3", {"gemma3.attention.sliding_window_pattern": 0}, {}, "sliding_window_pattern"),
    "no window": ("gemma3", {"gemma3.attention.sliding_window": 0}, {}, "sliding_window"),
    "one part of several": ("llama", {"split.count": 3}, {}, "expected 0 of 1"),
}


@pytest.mark.parametrize("name", [*REFUSED, *INVALID])
def test_refused_by_name_and_nothing_left(tmp_path: Path, name: str) -> None:
    architecture, metadata, tensors, expected = (REFUSED | INVALID)[name]
    write_model(tmp_path / "m.gguf", architecture, metadata, model_tensors(architecture) | tensors)
    with pytest.raises(UnsupportedModelError if name in REFUSED else InvalidFileError) as caught:
        import_model(tmp_path / "m.gguf", tmp_path / "out")
    assert expected in caught.value.message
    assert "\n" not in caught.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]


def test_more_tokens_than_rows(tmp_path: Path) -> None:
    keys = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": ["x"] * (VOCAB + 1)}
    write_model(tmp_path / "m.gguf", metadata=keys)
    with pytest.raises(InvalidFileError, match="97 tokens, its embedding has 96 rows"):
        import_model(tmp_path / "m.gguf", tmp_path / "out")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    write_model(tmp_path / "m.gguf")
    real_write = safetensors.os.pwrite

    def fail_on_the_norm(descriptor: int, data: memoryview, offset: int) -> int:
        if len(data) == HIDDEN * 4:
            raise OSError(code, "No space left on device")
        return real_write(descriptor, data, offset)

    monkeypatch.setattr(safetensors.os, "pwrite", fail_on_the_norm)
    with pytest.raises(CacheError, match="no space left") as caught:
        import_model(tmp_path / "m.gguf", tmp_path / "out")
    assert "FASTGO_CACHE_DIR" in caught.value.hint
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]


def test_an_existing_target_is_kept(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        import_model(tmp_path / "m.gguf", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_folder_damage_is_found(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    import_model(tmp_path / "m.gguf", tmp_path / "out")
    shard = ModelFolder.open(tmp_path / "out").shard_path(0)
    data = shard.read_bytes()
    shard.write_bytes(data[:-1])
    with pytest.raises(InvalidFileError, match=f"has {len(data) - 1} bytes, expected {len(data)}"):
        ModelFolder.open(tmp_path / "out")
    shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(InvalidFileError, match="differs from its SHA-256"):
        ModelFolder.open(tmp_path / "out").verify()
    shard.rename(tmp_path / "elsewhere")
    shard.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidFileError, match="not a regular file"):
        ModelFolder.open(tmp_path / "out")
    shard.unlink()
    with pytest.raises(InvalidFileError, match="no such file"):
        ModelFolder.open(tmp_path / "out")
    (tmp_path / "out" / FILE_NAME).unlink()
    with pytest.raises(ModelNotFoundError):
        ModelFolder.open(tmp_path / "out")


def test_random_damage_raises_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.gguf"
    write_model(path, "gemma3")
    sound = path.read_bytes()
    header = sound.index(b"output_norm.weight")
    monkeypatch.setattr(convert.storage.os, "fsync", lambda _: None)
    rng = np.random.default_rng(11)
    refused = 0
    for index in range(150):
        data = bytearray(sound)
        data[int(rng.integers(24, header))] = int(rng.integers(0, 256))
        path.write_bytes(data)
        try:
            import_model(path, tmp_path / f"out{index}")
        except FastgoError as error:
            refused += 1
            assert "\n" not in error.message
    assert refused > 30
