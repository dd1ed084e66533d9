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


def _qwen3_moe(
    hidden: int, layers: int, heads: int, kv_heads: int, expert: int, ffn: int, theta: float = 1_000_000.0
) -> Mapping[str, Any]:
    return {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "vocab_size": 151_936,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": ffn,
        "moe_intermediate_size": expert,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "head_dim": 128,
        "max_position_embeddings": 40_960,
        "rope_theta": theta,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
    }


def _qwen2(hidden: int, layers: int, heads: int, kv_heads: int, ffn: int, tied: bool) -> Mapping[str, Any]:
    """Qwen 2.5, base and instruct alike; biases of q, k and v are part of the architecture."""
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": 151_936 if tied else 152_064,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": ffn,
        "max_position_embeddings": 32_768,
        "rope_theta": 1_000_000.0,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": tied,
        "use_sliding_window": False,
    }


def _llama(
    hidden: int,
    layers: int,
    heads: int,
    kv_heads: int,
    ffn: int,
    *,
    vocab: int = 128_256,
    theta: float = 500_000.0,
    context: int = 131_072,
    factor: float = 0.0,
    tied: bool = False,
) -> Mapping[str, Any]:
    """`factor` is that of Llama 3.1's and 3.2's stretched rotary angles; 0 for none."""
    scaling = {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocab,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": ffn,
        "max_position_embeddings": context,
        "rope_theta": theta,
        "rope_scaling": scaling if factor else None,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": tied,
    }


def _mistral(vocab: int, theta: float, window: int | None, **changes: Any) -> Mapping[str, Any]:
    return {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "vocab_size": vocab,
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14_336,
        "max_position_embeddings": 32_768,
        "rope_theta": theta,
        "sliding_window": window,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        **changes,
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
    "qwen3:30b-a3b": _qwen3_moe(2048, 48, 32, 4, 768, 6144),
    "qwen3:235b-a22b": _qwen3_moe(4096, 94, 64, 4, 1536, 12_288),
    "qwen2.5:0.5b": _qwen2(896, 24, 14, 2, 4864, True),
    "qwen2.5:1.5b": _qwen2(1536, 28, 12, 2, 8960, True),
    "qwen2.5:3b": _qwen2(2048, 36, 16, 2, 11_008, True),
    "qwen2.5:7b": _qwen2(3584, 28, 28, 4, 18_944, False),
    "qwen2.5:14b": _qwen2(5120, 48, 40, 8, 13_824, False),
    "qwen2.5:32b": _qwen2(5120, 64, 40, 8, 27_648, False),
    "llama2:7b": _llama(4096, 32, 32, 32, 11_008, vocab=32_000, theta=10_000.0, context=4096),
    "llama2:13b": _llama(5120, 40, 40, 40, 13_824, vocab=32_000, theta=10_000.0, context=4096),
    "llama3:8b": _llama(4096, 32, 32, 8, 14_336, context=8192),
    "llama3.1:8b": _llama(4096, 32, 32, 8, 14_336, factor=8.0),
    "llama3.2:1b": _llama(2048, 16, 32, 8, 8192, factor=32.0, tied=True),
    "llama3.2:3b": _llama(3072, 28, 24, 8, 8192, factor=32.0, tied=True),
    "mistral:7b-v0.1": _mistral(32_000, 10_000.0, 4096),
    "mistral:7b-v0.3": _mistral(32_768, 1_000_000.0, None),
    "smollm2:135m": _smollm2(576, 30, 9, 3, 1536, 100_000.0),
    "smollm2:360m": _smollm2(960, 32, 15, 5, 2560, 100_000.0),
    "smollm2:1.7b": _smollm2(2048, 24, 32, 32, 8192, 130_000.0),
}
