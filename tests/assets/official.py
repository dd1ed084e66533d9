"""Official configurations of the supported families, as their config.json has them, vocabulary and layers apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def _gemma3(
    hidden: int, layers: int, heads: int, kv_heads: int, ffn: int, *, head_dim: int = 256, scalar: int = 256
) -> Mapping[str, Any]:
    is_large = hidden >= 2560
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "vocab_size": 262_144,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": ffn,
        "head_dim": head_dim,
        "query_pre_attn_scalar": scalar,
        "sliding_window": 1024 if is_large else 512,
        "max_position_embeddings": 131_072 if is_large else 32_768,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0} if is_large else None,
        "hidden_activation": "gelu_pytorch_tanh",
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
    }


def _qwen3(hidden: int, layers: int, heads: int, ffn: int, tied: bool) -> Mapping[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": 151_936,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "intermediate_size": ffn,
        "head_dim": 128,
        "max_position_embeddings": 40_960,
        "rope_theta": 1_000_000.0,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": tied,
    }


def _smollm2(hidden: int, layers: int, heads: int, kv_heads: int, ffn: int, theta: float) -> Mapping[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 49_152,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": ffn,
        "max_position_embeddings": 8192,
        "rope_theta": theta,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
    }


OFFICIAL: Mapping[str, Mapping[str, Any]] = {
    "gemma3:270m": _gemma3(640, 18, 4, 1, 2048),
    "gemma3:1b": _gemma3(1152, 26, 4, 1, 6912),
    "gemma3:4b": _gemma3(2560, 34, 8, 4, 10_240),
    "gemma3:12b": _gemma3(3840, 48, 16, 8, 15_360),
    "gemma3:27b": _gemma3(5376, 62, 32, 16, 21_504, head_dim=128, scalar=168),
    "qwen3:0.6b": _qwen3(1024, 28, 16, 3072, True),
    "qwen3:1.7b": _qwen3(2048, 28, 16, 6144, True),
    "qwen3:4b": _qwen3(2560, 36, 32, 9728, True),
    "qwen3:8b": _qwen3(4096, 36, 32, 12_288, False),
    "qwen3:14b": _qwen3(5120, 40, 40, 17_408, False),
    "qwen3:32b": _qwen3(5120, 64, 64, 25_600, False),
    "smollm2:135m": _smollm2(576, 30, 9, 3, 1536, 100_000.0),
    "smollm2:360m": _smollm2(960, 32, 15, 5, 2560, 100_000.0),
    "smollm2:1.7b": _smollm2(2048, 24, 32, 32, 8192, 130_000.0),
}
