"""Hugging Face folders: every weight arrives, configs mean what transformers means, damage is one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastgo.assets.convert import convert, import_model
from fastgo.assets.float8 import DECODED
from fastgo.assets.hf_folder import HfFolder
from fastgo.assets.hf_source import open_hf_source
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.repository import list_models, open_model
from fastgo.errors import FastgoError, InvalidFileError, ModelNotFoundError, UnsupportedModelError
from hf_builder import HEAD_DIM, HIDDEN, VOCAB, config, tensors, write_hf


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("architecture", ["llama", "gemma3", "qwen3"])
def test_every_weight_arrives(tmp_path: Path, architecture: str, shards: int) -> None:
    weights = write_hf(tmp_path / "m", architecture, shards=shards)
    import_model(tmp_path / "m", tmp_path / "out")
    folder = ModelFolder.open(tmp_path / "out")
    folder.verify()
    assert folder.name == "m" and set(folder.tensors) == set(weights)
    for name, expected in weights.items():
        is_gemma_norm = architecture == "gemma3" and expected.ndim == 1
        np.testing.assert_array_equal(folder.weights(name), expected + np.float32(1) if is_gemma_norm else expected)


def test_bfloat16_matrices_stay_and_norms_become_float32(tmp_path: Path) -> None:
    write_hf(tmp_path / "m")
    bits = {name: (values.view(np.uint32) >> 16).astype(np.uint16) for name, values in tensors().items()}
    entries = {name: ("BF16", values.shape, values.tobytes()) for name, values in bits.items()}
    write_raw(tmp_path / "m" / "model.safetensors", entries)
    import_model(tmp_path / "m", tmp_path / "out")
    folder = ModelFolder.open(tmp_path / "out")
    assert folder.tensors["model.layers.0.mlp.up_proj.weight"].format == "bf16"
    assert folder.tensors["model.norm.weight"].format == "f32"
    for name, values in bits.items():
        expected = (values.astype(np.uint32) << 16).view(np.float32)
        np.testing.assert_array_equal(folder.weights(name), expected)


def test_float16_stays(tmp_path: Path) -> None:
    write_hf(tmp_path / "m", weights={name: values.astype(np.float16) for name, values in tensors().items()})
    import_model(tmp_path / "m", tmp_path / "out")
    assert ModelFolder.open(tmp_path / "out").tensors["model.embed_tokens.weight"].format == "f16"


def write_raw(path: Path, entries: dict[str, tuple[str, tuple[int, ...], bytes]]) -> None:
    """A safetensors file byte by byte, for types that NumPy lacks."""
    header: dict[str, Any] = {}
    data = b""
    for name, (dtype, shape, raw) in entries.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_float8(folder: Path, scale_shape: tuple[int, int] = (2, 3), block: Any = (128, 128)) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 127, (200, 300), dtype=np.uint8)
    scales = rng.uniform(0.5, 2, scale_shape).astype(np.float32)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"quantization_config": {"weight_block_size": block}}))
    entries = {
        "w": ("F8_E4M3", bits.shape, bits.tobytes()),
        "w_scale_inv": ("F32", scale_shape, scales.tobytes()),
    }
    write_raw(folder / "model.safetensors", entries)
    return bits, scales


def test_float8_with_block_scales(tmp_path: Path) -> None:
    bits, scales = write_float8(tmp_path / "m")
    (tensor,) = HfFolder.open(tmp_path / "m").tensors.values()
    expected = DECODED["F8_E4M3"][bits] * np.kron(scales, np.ones((128, 128), np.float32))[:200, :300]
    np.testing.assert_array_equal(tensor.read_float32(slice(0, 200)), expected)
    for rows in (slice(0, 1), slice(100, 130), slice(128, 200), slice(199, 200)):
        np.testing.assert_array_equal(tensor.read_float32(rows), expected[rows])


def test_float8_scales_must_fit(tmp_path: Path) -> None:
    write_float8(tmp_path / "a", scale_shape=(2, 2))
    write_float8(tmp_path / "b", block=[0, 128])
    write_float8(tmp_path / "c", block=[128])
    for name in "abc":
        with pytest.raises(InvalidFileError):
            HfFolder.open(tmp_path / name)


@pytest.mark.parametrize("dtype", sorted(DECODED))
def test_float8_tables_agree_with_torch(dtype: str) -> None:
    torch = pytest.importorskip("torch")
    kind = torch.float8_e4m3fn if dtype == "F8_E4M3" else torch.float8_e5m2
    expected = torch.arange(256, dtype=torch.uint8).view(kind).float().numpy()
    np.testing.assert_array_equal(DECODED[dtype], expected)


def read_config(tmp_path: Path, architecture: str, **changes: Any) -> Any:
    write_hf(tmp_path / "m", architecture, **changes)
    return open_hf_source(tmp_path / "m").config


def test_gemma3_config_old_spelling(tmp_path: Path) -> None:
    scaling = {"rope_type": "linear", "factor": 8.0}
    found = read_config(tmp_path, "gemma3", rope_scaling=scaling, query_pre_attn_scalar=168, torch_dtype="bfloat16")
    assert (found.rope.theta, found.rope.factor) == (1e6, 8.0)
    assert (found.local_rope.theta, found.local_rope.factor) == (1e4, 1.0)
    assert found.query_scale == 168**-0.5
    assert (found.layer_is_sliding, found.sliding_window) == ((True, True), 16)
    assert (found.embedding_scale, found.tie_word_embeddings) == (8.0, True)


def test_gemma3_config_new_spelling(tmp_path: Path) -> None:
    rope = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e5},
        "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
    }
    kinds = ["full_attention", "sliding_attention"]
    found = read_config(tmp_path, "gemma3", rope_theta=None, rope_parameters=rope, layer_types=kinds)
    assert (found.rope.theta, found.rope.factor) == (5e5, 8.0)
    assert (found.local_rope.theta, found.local_rope.factor) == (2e4, 1.0)
    assert found.layer_is_sliding == (False, True)


def test_embedding_scale_has_the_checkpoints_precision(tmp_path: Path) -> None:
    from fastgo.assets.hf_config import config_from_hf

    fields = config("gemma3", hidden_size=640)
    assert config_from_hf(fields, 96, False, "").embedding_scale == float(np.sqrt(np.float32(640)))
    assert config_from_hf(fields | {"dtype": "bfloat16"}, 96, False, "").embedding_scale == 25.25
    assert config_from_hf(fields | {"dtype": "float16"}, 96, False, "").embedding_scale == float(np.float16(640**0.5))


def test_the_text_part_of_a_multimodal_checkpoint(tmp_path: Path) -> None:
    text = config("gemma3", architectures=None)
    for index, prefix in enumerate(("language_model.model.", "model.language_model.")):
        weights = {prefix + name.removeprefix("model."): values for name, values in tensors("gemma3").items()}
        weights["vision_tower.embeddings.weight"] = np.zeros((2, 2), np.float32)
        weights["multi_modal_projector.mm_input_projection_weight"] = np.zeros((2, 2), np.float32)
        folder = tmp_path / str(index)
        write_hf(folder, weights=weights)
        outer = {"architectures": ["Gemma3ForConditionalGeneration"], "text_config": text}
        (folder / "config.json").write_text(json.dumps(outer))
        source = open_hf_source(folder)
        assert {tensor.name for tensor in source.tensors} == set(tensors("gemma3"))
        assert source.config.head_dim == HEAD_DIM


def test_a_head_of_its_own_counts(tmp_path: Path) -> None:
    weights = tensors("qwen3") | {"lm_head.weight": np.ones((VOCAB, HIDDEN), np.float32)}
    write_hf(tmp_path / "m", "qwen3", weights)
    assert not import_model(tmp_path / "m", tmp_path / "out").config.tie_word_embeddings


def test_template_defaults_and_licence_come_along(tmp_path: Path) -> None:
    generation = {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "eos_token_id": [1, 2]}
    files = {
        "generation_config.json": generation,
        "tokenizer_config.json": {"chat_template": [{"name": "default", "template": "{{ 1 }}"}]},
        "README.md": "---\nlicense: apache-2.0\nlanguage: en\n---\nlicense: other\n",
    }
    write_hf(tmp_path / "m", files=files)
    manifest = import_model(tmp_path / "m", tmp_path / "out")
    assert manifest.generation == {"temperature": 0.6, "top_k": 20.0, "top_p": 0.95}
    assert (manifest.chat_template, manifest.licence, manifest.tokenizer) == ("{{ 1 }}", "apache-2.0", None)
    (tmp_path / "m" / "chat_template.jinja").write_text("{{ 2 }}")
    assert open_hf_source(tmp_path / "m").chat_template == "{{ 2 }}"


def test_open_model_imports_a_folder_once(tmp_path: Path, cache: Path) -> None:
    write_hf(tmp_path / "SmolLM2-1.7B", shards=2)
    first = open_model(tmp_path / "SmolLM2-1.7B")
    second = open_model(str(tmp_path / "SmolLM2-1.7B"), lambda *_: pytest.fail("it read the weights again"))
    assert first == second == open_model("SmolLM2-1.7B")
    write_hf(tmp_path / "SmolLM2-1.7B", weights=tensors(seed=1), shards=2)
    assert open_model(tmp_path / "SmolLM2-1.7B").path != first.path
    assert len(list_models()) == 2


REFUSED: dict[str, dict[str, Any]] = {
    "architecture": {"architectures": ["MambaForCausalLM"]},
    "two architectures": {"architectures": ["LlamaForCausalLM", "Qwen3ForCausalLM"]},
    "experts": {"num_local_experts": 8},
    "dynamic rope": {"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}},
    "longrope": {"rope_scaling": {"rope_type": "longrope", "factor": 4.0}},
    "yarn of gpt-oss": {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "truncate": False}},
    "partial rotary": {"partial_rotary_factor": 0.5},
    "partial rotary, new spelling": {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
    "soft cap": {"final_logit_softcapping": 30.0},
    "activation": {"hidden_act": "relu"},
}
INVALID: dict[str, dict[str, Any]] = {
    "no hidden size": {"hidden_size": None},
    "text for a number": {"num_hidden_layers": "two"},
    "negative": {"num_attention_heads": -4},
    "zero": {"intermediate_size": 0},
    "huge": {"num_hidden_layers": 1 << 40},
    "heads disagree": {"num_key_value_heads": 3},
    "weights disagree": {"head_dim": 16},
    "more layers than weights": {"num_hidden_layers": 3},
    "rope is text": {"rope_parameters": "linear"},
    "rope without factor": {"rope_scaling": {"rope_type": "linear"}},
    "rope factor 0": {"rope_scaling": {"rope_type": "linear", "factor": 0}},
    "theta is not finite": {"rope_theta": float("nan")},
    "biases without weights": {"attention_bias": True},
    "llama3 rope without its factors": {"rope_scaling": {"rope_type": "llama3", "factor": 8.0}},
    "yarn with theta 1": {"rope_theta": 1.0, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
}


@pytest.mark.parametrize("name", [*REFUSED, *INVALID])
def test_configs_that_are_refused(tmp_path: Path, name: str) -> None:
    write_hf(tmp_path / "m", **(REFUSED | INVALID)[name])
    with pytest.raises(UnsupportedModelError if name in REFUSED else InvalidFileError) as caught:
        import_model(tmp_path / "m", tmp_path / "out")
    assert "\n" not in caught.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def index_of(weight_map: Any) -> dict[str, Any]:
    return {"model.safetensors.index.json": {"weight_map": weight_map}}


HOSTILE_INDEXES: dict[str, Any] = {
    "missing shard": {"a": "absent.safetensors"},
    "path traversal": {"a": "../m/model.safetensors"},
    "absolute path": {"a": "/etc/passwd"},
    "tensor not there": {"nosuch": "model.safetensors"},
    "not an object": ["model.safetensors"],
    "file is a number": {"a": 7},
    "empty": {},
}


@pytest.mark.parametrize("name", HOSTILE_INDEXES)
def test_hostile_indexes(tmp_path: Path, name: str) -> None:
    write_hf(tmp_path / "m", files=index_of(HOSTILE_INDEXES[name]))
    with pytest.raises(InvalidFileError) as caught:
        open_hf_source(tmp_path / "m")
    assert "\n" not in caught.value.message


def test_a_tensor_in_two_files(tmp_path: Path) -> None:
    write_hf(tmp_path / "m", shards=2)
    first, second = sorted((tmp_path / "m").glob("*.safetensors"))
    first.write_bytes(second.read_bytes())
    with pytest.raises(InvalidFileError, match=r"is in .* and in"):
        open_hf_source(tmp_path / "m")


def test_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"config\.json"):
        open_hf_source(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelNotFoundError, match="safetensors"):
        open_hf_source(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(UnsupportedModelError, match="pickle"):
        open_hf_source(tmp_path)


def test_unknown_and_missing_tensors(tmp_path: Path) -> None:
    extra = {"model.layers.0.self_attn.q_proj.bias": np.zeros(HIDDEN, np.float32)}
    write_hf(tmp_path / "extra", weights=tensors() | extra)
    with pytest.raises(UnsupportedModelError, match=r"q_proj\.bias"):
        import_model(tmp_path / "extra", tmp_path / "out")
    weights = tensors()
    del weights["model.layers.1.mlp.up_proj.weight"]
    write_hf(tmp_path / "less", weights=weights)
    with pytest.raises(InvalidFileError, match=r"layers\.1\.mlp\.up_proj\.weight is missing"):
        import_model(tmp_path / "less", tmp_path / "out")


def test_integer_weights_are_refused(tmp_path: Path) -> None:
    write_hf(tmp_path / "m", weights=tensors() | {"model.norm.weight": np.ones(HIDDEN, np.int32)})
    with pytest.raises(UnsupportedModelError, match="I32"):
        open_hf_source(tmp_path / "m")


def test_weights_that_are_not_numbers_can_not_be_quantised(tmp_path: Path) -> None:
    from fastgo.assets.recipe import Recipe

    weights = tensors()
    weights["model.layers.0.mlp.up_proj.weight"][3, 5] = np.nan
    write_hf(tmp_path / "m", weights=weights)
    with pytest.raises(InvalidFileError, match="not a number"):
        convert(open_hf_source(tmp_path / "m"), tmp_path / "out", Recipe("q8"))
    assert not (tmp_path / "out").exists()


def test_random_damage_raises_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    write_hf(tmp_path / "m", "gemma3")
    rng = np.random.default_rng(5)
    refused = 0
    for name, limit in (("config.json", None), ("model.safetensors", 2000)):
        path = tmp_path / "m" / name
        sound = path.read_bytes()
        for index in range(100):
            data = bytearray(sound)
            data[int(rng.integers(0, limit or len(data)))] = int(rng.integers(0, 256))
            path.write_bytes(data)
            try:
                import_model(tmp_path / "m", tmp_path / f"out-{name}-{index}")
            except FastgoError as error:
                refused += 1
                assert "\n" not in error.message
        path.write_bytes(sound)
    assert refused > 80
