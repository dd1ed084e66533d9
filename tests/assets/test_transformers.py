"""Checkpoints as transformers saves them, converted and run: the same logits as transformers itself.

Small random models in shards, and every official configuration at full width with one layer and a short vocabulary.
Those above 100 million weights a layer run only with FASTGO_TEST_LARGE=1, as they take gigabytes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastgo.assets.convert import convert, import_model
from fastgo.assets.open_source import open_source
from fastgo.assets.recipe import Recipe
from fastgo.assets.repository import open_model
from fastgo.engine.devices import open_device
from fastgo.engine.engine import Engine
from fastgo.engine.session import Session
from official import OFFICIAL

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

TINY = {
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 7,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "initializer_range": 0.1,
}
SCALED = {
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}
WINDOWS = {"use_sliding_window": True, "sliding_window": 11, "max_window_layers": 3}
EXPERTS = {"num_experts": 12, "num_experts_per_tok": 3, "moe_intermediate_size": 48, "num_hidden_layers": 3}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma3": ("gemma3_text", {"sliding_window": 16, "query_pre_attn_scalar": 24}),
    "gemma3 scaled": ("gemma3_text", {"sliding_window": 16, "rope_parameters": SCALED}),
    "llama": ("llama", {"rms_norm_eps": 1e-5}),
    "llama tied": ("llama", {"tie_word_embeddings": True, "num_key_value_heads": 4}),
    "llama scaled": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e5}}),
    "llama 3": ("llama", {"rope_parameters": LLAMA3 | {"rope_theta": 1e3}}),
    "llama with biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("mistral", {"sliding_window": 9}),
    "mistral without a window": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {"num_attention_heads": 2}),
    "qwen2 tied, upper layers slide": ("qwen2", WINDOWS | {"tie_word_embeddings": True, "num_attention_heads": 2}),
    "qwen3": ("qwen3", {"rope_theta": 1e6}),
    "qwen3 tied": ("qwen3", {"tie_word_embeddings": True}),
    "qwen3 with yarn": ("qwen3", {"rope_parameters": YARN | {"rope_theta": 1e3}}),
    "qwen3moe": ("qwen3_moe", EXPERTS | {"norm_topk_prob": True}),
    "qwen3moe, weights as they are": ("qwen3_moe", EXPERTS | {"norm_topk_prob": False}),
    "qwen3moe, all experts": ("qwen3_moe", EXPERTS | {"num_experts": 4, "num_experts_per_tok": 4}),
    "qwen3 with biases and windows": ("qwen3", WINDOWS | {"attention_bias": True}),
}


def make(folder: Path, model_type: str, fields: dict[str, Any], dtype: Any, shard: str = "100KB") -> Any:
    """A random model with norms away from their start, saved by transformers."""
    torch.manual_seed(1)
    config = transformers.AutoConfig.for_model(model_type, **fields)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # norms and biases
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder, max_shard_size=shard)
    return model


def largest_difference(model: Any, out: Path, tokens: int, vocab_size: int, chunk: int | None = None) -> float:
    """Between the logits of transformers and ours, over all positions; in chunks on our side, too."""
    ids = np.random.default_rng(2).integers(3, vocab_size, tokens).tolist()
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0].float().numpy()
    step = chunk or tokens
    session = Session(Engine(open_device(), open_model(str(out))))
    found = np.concatenate([session.all_logits(ids[begin : begin + step]) for begin in range(0, tokens, step)])
    assert np.abs(expected).max() > 0.1
    return float(np.abs(found - expected).max())


@pytest.mark.parametrize("name", CASES)
def test_float32_logits(tmp_path: Path, name: str) -> None:
    model_type, changes = CASES[name]
    model = make(tmp_path / "m", model_type, TINY | changes, torch.float32)
    assert len(list((tmp_path / "m").glob("*.safetensors"))) > 3
    import_model(tmp_path / "m", tmp_path / "out")
    assert largest_difference(model, tmp_path / "out", 60, TINY["vocab_size"]) < 1e-4


@pytest.mark.parametrize(
    "name", ["gemma3", "llama", "llama 3", "mistral", "qwen2", "qwen3", "qwen3 with yarn", "qwen3moe, all experts"]
)
def test_bfloat16_logits(tmp_path: Path, name: str) -> None:
    """transformers rounds every activation to bfloat16 and we none, so small layers and logits below 2.

    All experts are taken: which of several are best may hang on the rounding.
    """
    model_type, changes = CASES[name]
    fields = TINY | changes | {"num_hidden_layers": 2, "initializer_range": 0.03}
    model = make(tmp_path / "m", model_type, fields, torch.bfloat16)
    import_model(tmp_path / "m", tmp_path / "out")
    assert largest_difference(model, tmp_path / "out", 40, TINY["vocab_size"]) < 2e-2


def test_the_text_part_of_a_vision_checkpoint(tmp_path: Path) -> None:
    """As Gemma 3 4B to 27B come: a vision tower beside the text model, rows for image tokens, shards by size."""
    torch.manual_seed(1)
    vision = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    text = TINY | {"sliding_window": 16, "query_pre_attn_scalar": 24, "rope_parameters": SCALED}
    config = transformers.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=TINY["vocab_size"] - 1
    )
    model = transformers.Gemma3ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(tmp_path / "m", max_shard_size="100KB")
    manifest = import_model(tmp_path / "m", tmp_path / "out")
    assert not any("vision" in name or "projector" in name for name in manifest.tensors)
    assert manifest.config.rope.factor == 8.0
    assert largest_difference(model, tmp_path / "out", 60, TINY["vocab_size"] - 1) < 1e-4


def rounded_to_float8(weight: Any, block: int) -> tuple[Any, Any]:
    """As Qwen's FP8 checkpoints: E4M3 values, and a scale a block. `weight` becomes their product in bfloat16."""
    rows, columns = weight.shape
    scales = torch.empty(-(-rows // block), -(-columns // block))
    values = torch.empty_like(weight, dtype=torch.float8_e4m3fn)
    for i in range(scales.shape[0]):
        for j in range(scales.shape[1]):
            at = (slice(i * block, (i + 1) * block), slice(j * block, (j + 1) * block))
            scales[i, j] = weight[at].abs().max() / 448
            values[at] = (weight[at] / scales[i, j]).to(torch.float8_e4m3fn)
            weight[at] = (values[at].float() * scales[i, j]).to(torch.bfloat16).float()
    return values, scales


@pytest.mark.parametrize("name", ["qwen3", "qwen3moe"])
def test_a_float8_checkpoint(tmp_path: Path, name: str) -> None:
    """Blocks of 48 divide no side: the last are cut. One token at a time, so that only keys and values are rounded."""
    model_type, changes = CASES[name]
    make(tmp_path / "m", model_type, TINY | changes, torch.float32, "1GB")
    weights = safetensors.load_file(tmp_path / "m" / "model.safetensors")
    packed = dict(weights)
    for key in [key for key in weights if key.endswith("_proj.weight")]:
        packed[key], packed[f"{key}_scale_inv"] = rounded_to_float8(weights[key], 48)
    safetensors.save_file(weights, tmp_path / "m" / "model.safetensors", {"format": "pt"})
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "m").eval()
    safetensors.save_file(packed, tmp_path / "m" / "model.safetensors")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [48, 48]}
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    import_model(tmp_path / "m", tmp_path / "out")
    assert largest_difference(model, tmp_path / "out", 60, TINY["vocab_size"], chunk=1) < 1e-2


def layer_weights(fields: dict[str, Any]) -> int:
    if "num_experts" in fields:
        return int(3 * fields["num_experts"] * fields["hidden_size"] * fields["moe_intermediate_size"])
    heads = fields["num_attention_heads"] + fields["num_key_value_heads"]
    head_dim = fields.get("head_dim", fields["hidden_size"] // fields["num_attention_heads"])
    return int(fields["hidden_size"] * (3 * fields["intermediate_size"] + 2 * heads * head_dim))


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_widths(tmp_path: Path, name: str) -> None:
    fields = {key: value for key, value in OFFICIAL[name].items() if value is not None}
    if layer_weights(fields) > 100e6 and os.environ.get("FASTGO_TEST_LARGE") != "1":
        pytest.skip("a layer of this model is large: set FASTGO_TEST_LARGE=1")
    fields |= {"num_hidden_layers": 1, "vocab_size": 512}
    if "num_experts" in fields:
        fields["num_experts"] = min(128, int(128 * 700e6 / layer_weights(fields)))  # full width, fewer gigabytes
    del fields["architectures"]
    model = make(tmp_path / "m", fields.pop("model_type"), fields, torch.float32, "4GB")
    import_model(tmp_path / "m", tmp_path / "out")
    assert largest_difference(model, tmp_path / "out", 12, 512) < 1e-4


def test_a_quantised_model_stays_close(tmp_path: Path) -> None:
    model = make(tmp_path / "m", "llama", TINY | {"num_hidden_layers": 2, "initializer_range": 0.03}, torch.float32)
    differences = []
    for preset in ("q8", "q4"):
        with open_source(tmp_path / "m") as source:
            convert(source, tmp_path / preset, Recipe(preset))
        differences.append(largest_difference(model, tmp_path / preset, 40, TINY["vocab_size"]))
    assert 0 < differences[0] < 0.05 and differences[0] < differences[1] < 0.5
