"""Small Hugging Face folders for tests, written by the public safetensors library; no transformers needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

HIDDEN, FFN, VOCAB, LAYERS, HEADS, KV_HEADS, HEAD_DIM = 64, 128, 96, 2, 4, 2, 32
_CLASSES = {"gemma3": "Gemma3ForCausalLM", "llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}


def config(architecture: str = "llama", **changes: Any) -> dict[str, Any]:
    """A config.json; a change to None takes the field out."""
    fields: dict[str, Any] = {
        "architectures": [_CLASSES[architecture]],
        "hidden_size": HIDDEN,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
    }
    if architecture == "gemma3":
        fields |= {"sliding_window": 16, "hidden_activation": "gelu_pytorch_tanh", "rope_theta": 1e6}
    else:
        fields["hidden_act"] = "silu"
    return {name: value for name, value in (fields | changes).items() if value is not None}


def tensors(architecture: str = "llama", seed: int = 0) -> dict[str, np.ndarray]:
    """float32 weights by name."""
    q, kv = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    layer: dict[str, tuple[int, ...]] = {
        "self_attn.q_proj": (q, HIDDEN),
        "self_attn.k_proj": (kv, HIDDEN),
        "self_attn.v_proj": (kv, HIDDEN),
        "self_attn.o_proj": (HIDDEN, q),
        "mlp.gate_proj": (FFN, HIDDEN),
        "mlp.up_proj": (FFN, HIDDEN),
        "mlp.down_proj": (HIDDEN, FFN),
        "input_layernorm": (HIDDEN,),
        "post_attention_layernorm": (HIDDEN,),
    }
    if architecture != "llama":
        layer |= {"self_attn.q_norm": (HEAD_DIM,), "self_attn.k_norm": (HEAD_DIM,)}
    if architecture == "gemma3":
        layer |= {"pre_feedforward_layernorm": (HIDDEN,), "post_feedforward_layernorm": (HIDDEN,)}
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCAB, HIDDEN), "model.norm.weight": (HIDDEN,)}
    for index in range(LAYERS):
        shapes |= {f"model.layers.{index}.{name}.weight": shape for name, shape in layer.items()}
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) * np.float32(0.05) for name, shape in shapes.items()}


def write_hf(
    folder: Path,
    architecture: str = "llama",
    weights: Mapping[str, np.ndarray] | None = None,
    files: Mapping[str, Any] | None = None,
    shards: int = 1,
    **changes: Any,
) -> dict[str, np.ndarray]:
    """Write a folder; `files` are further JSON files or texts by name. Returns the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = dict(tensors(architecture) if weights is None else weights)
    (folder / "config.json").write_text(json.dumps(config(architecture, **changes)))
    if shards == 1:
        save_file(weights, folder / "model.safetensors")
    else:
        index = {}
        for shard in range(shards):
            file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
            part = {name: weights[name] for number, name in enumerate(weights) if number % shards == shard}
            save_file(part, folder / file)
            index |= dict.fromkeys(part, file)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    for name, content in (files or {}).items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return weights
