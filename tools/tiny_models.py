"""The tiny models of which tools/make_goldens.py makes goldens: one for each architecture and for each of its features.

Shapes are odd where the architecture allows: head sizes that are no power of two, windows below the prompt, several
query heads a key-value head. `rope_divisors` is what llama.cpp's converter stores for Llama 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gguf
import torch
import transformers

CONTEXT = 2048


@dataclass(frozen=True)
class TinyModel:
    """`metadata` holds GGUF keys, without the architecture, beyond those that all models share."""

    name: str
    seed: int
    model: Callable[[], Any]
    architecture: gguf.MODEL_ARCH
    metadata: dict[str, Any] = field(default_factory=dict)
    has_rope_divisors: bool = False


def gemma3() -> Any:
    """Every third layer is global; a window far below the prompt; a query scale that is not head_dim's."""
    return transformers.Gemma3ForCausalLM(
        transformers.Gemma3TextConfig(
            vocab_size=299,
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=7,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            sliding_window=8,
            query_pre_attn_scalar=20,
            max_position_embeddings=CONTEXT,
            layer_types=["full_attention" if i % 3 == 2 else "sliding_attention" for i in range(7)],
            rope_parameters={
                "full_attention": {"rope_type": "linear", "rope_theta": 50_000.0, "factor": 4.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 2_000.0},
            },
        )
    )


def llama() -> Any:
    """Three query heads a key-value head, an output matrix of its own, a head_dim that is no power of two."""
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=301,
            hidden_size=42,
            intermediate_size=60,
            num_hidden_layers=3,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=12,
            max_position_embeddings=CONTEXT,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
            tie_word_embeddings=False,
        )
    )


def qwen3() -> Any:
    """One key-value head, norms of the q and k heads, tied embeddings."""
    return transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(
            vocab_size=300,
            hidden_size=32,
            intermediate_size=56,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=1,
            head_dim=20,
            max_position_embeddings=CONTEXT,
            rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
            tie_word_embeddings=True,
        )
    )


def mistral() -> Any:
    """All layers slide, over a window far below the prompt."""
    return transformers.MistralForCausalLM(
        transformers.MistralConfig(
            vocab_size=303,
            hidden_size=40,
            intermediate_size=52,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=14,
            sliding_window=9,
            max_position_embeddings=CONTEXT,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
            tie_word_embeddings=False,
        )
    )


LLAMA3_SCALING = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def llama3() -> Any:
    """Llama 3's stretched rotary embedding, by so short an original context that the prompt leaves it."""
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=302,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=CONTEXT,
            rope_parameters={"rope_type": "llama3", "rope_theta": 500.0, **LLAMA3_SCALING},
            tie_word_embeddings=True,
        )
    )


def qwen2() -> Any:
    """Biases of q, k and v."""
    return transformers.Qwen2ForCausalLM(
        transformers.Qwen2Config(
            vocab_size=304,
            hidden_size=36,
            intermediate_size=44,
            num_hidden_layers=3,
            num_attention_heads=6,
            num_key_value_heads=2,
            max_position_embeddings=CONTEXT,
            rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
            tie_word_embeddings=True,
        )
    )


def qwen3_yarn() -> Any:
    """YaRN, its ramp over several pairs and its factor on q and k, and an output matrix of its own."""
    return transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(
            vocab_size=298,
            hidden_size=32,
            intermediate_size=40,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=24,
            max_position_embeddings=CONTEXT,
            rope_parameters={
                "rope_type": "yarn",
                "rope_theta": 1_000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 512,
            },
            tie_word_embeddings=False,
        )
    )


def qwen3moe() -> Any:
    """Three of ten experts a token."""
    return transformers.Qwen3MoeForCausalLM(
        transformers.Qwen3MoeConfig(
            vocab_size=297,
            hidden_size=32,
            intermediate_size=64,
            moe_intermediate_size=20,
            num_experts=10,
            num_experts_per_tok=3,
            norm_topk_prob=True,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=CONTEXT,
            rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
            tie_word_embeddings=False,
        )
    )


def gemma3_heads256() -> Any:
    """The head size of every small Gemma 3, which decode's fused attention takes; one key-value head."""
    return transformers.Gemma3ForCausalLM(
        transformers.Gemma3TextConfig(
            vocab_size=291,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=1,
            head_dim=256,
            sliding_window=8,
            query_pre_attn_scalar=256,
            max_position_embeddings=CONTEXT,
            layer_types=["sliding_attention", "full_attention"],
            rope_parameters={
                "full_attention": {"rope_type": "default", "rope_theta": 50_000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 2_000.0},
            },
        )
    )


def qwen3_heads128() -> Any:
    """The head size of all Qwen 3."""
    return transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(
            vocab_size=292,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=128,
            max_position_embeddings=CONTEXT,
            rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
            tie_word_embeddings=True,
        )
    )


def llama_heads64() -> Any:
    """The head size of SmolLM2 and the small Llama 3."""
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=293,
            hidden_size=24,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=64,
            max_position_embeddings=CONTEXT,
            rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
            tie_word_embeddings=True,
        )
    )


def rope_divisors(model: Any) -> Any:
    """By how much each pair of a head turns slower than without scaling, float32 (head_dim / 2,)."""
    rotary = model.model.rotary_emb
    parameters = model.config.rope_parameters
    exponents = torch.arange(0, model.config.head_dim, 2, dtype=torch.float32) / model.config.head_dim
    return (parameters["rope_theta"] ** -exponents / rotary.inv_freq).numpy()


TINY_MODELS = (
    TinyModel(
        "gemma3",
        1,
        gemma3,
        gguf.MODEL_ARCH.GEMMA3,
        {
            "attention.sliding_window": 8,
            "attention.sliding_window_pattern": 3,
            "attention.scale": 20.0**-0.5,
            "rope.freq_base": 50_000.0,
            "rope.freq_base_swa": 2_000.0,
            "rope.scaling.type": "linear",
            "rope.scaling.factor": 4.0,
        },
    ),
    TinyModel("llama", 5, llama, gguf.MODEL_ARCH.LLAMA, {"rope.freq_base": 100_000.0}),
    TinyModel("qwen3", 12, qwen3, gguf.MODEL_ARCH.QWEN3, {"rope.freq_base": 1_000_000.0}),
    TinyModel(
        "mistral",
        1,
        mistral,
        gguf.MODEL_ARCH.LLAMA,
        {"rope.freq_base": 10_000.0, "attention.sliding_window": 9},
    ),
    TinyModel("llama3", 3, llama3, gguf.MODEL_ARCH.LLAMA, {"rope.freq_base": 500.0}, has_rope_divisors=True),
    TinyModel("qwen2", 1, qwen2, gguf.MODEL_ARCH.QWEN2, {"rope.freq_base": 1_000_000.0}),
    TinyModel(
        "qwen3_yarn",
        1,
        qwen3_yarn,
        gguf.MODEL_ARCH.QWEN3,
        {
            "rope.freq_base": 1_000.0,
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 4.0,
            "rope.scaling.original_context_length": 512,
        },
    ),
    TinyModel("qwen3moe", 1, qwen3moe, gguf.MODEL_ARCH.QWEN3MOE, {"rope.freq_base": 1_000_000.0}),
    TinyModel(
        "gemma3_heads256",
        18,
        gemma3_heads256,
        gguf.MODEL_ARCH.GEMMA3,
        {
            "attention.sliding_window": 8,
            "attention.sliding_window_pattern": 2,
            "attention.scale": 256.0**-0.5,
            "rope.freq_base": 50_000.0,
            "rope.freq_base_swa": 2_000.0,
        },
    ),
    TinyModel("qwen3_heads128", 4, qwen3_heads128, gguf.MODEL_ARCH.QWEN3, {"rope.freq_base": 1_000_000.0}),
    TinyModel("llama_heads64", 2, llama_heads64, gguf.MODEL_ARCH.LLAMA, {"rope.freq_base": 100_000.0}),
)
