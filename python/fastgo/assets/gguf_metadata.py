"""A ModelConfig as the metadata of a GGUF file: the inverse of gguf_config.py, and checked by it.

GGUF leaves some facts to the reader (Gemma's embedding scale, 27B's query scale), so what is written is read back: a
config that would come back another is refused rather than written wrongly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from fastgo.assets.gguf import GgufTensor
from fastgo.assets.gguf_config import GEMMA3_GLOBAL_LAYER_PERIOD, GEMMA3_LOCAL_THETA, config_from_gguf
from fastgo.assets.quant import Float32s
from fastgo.errors import FastgoError, UnsupportedModelError
from fastgo.models.config import ModelConfig, RopeConfig
from fastgo.models.rope import rope_frequencies
from fastgo.ops.rope_table import yarn_attention_factor


def metadata_from_config(config: ModelConfig, tensors: Mapping[str, GgufTensor], where: str) -> dict[str, Any]:
    """The keys `general.architecture` and `<architecture>.*`; `tensors` are those of the file to be, by GGUF's names.

    Raises UnsupportedModelError if GGUF can't carry the config.
    """
    keys: dict[str, Any] = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.dimension_count": config.head_dim,
        "rope.freq_base": config.rope.theta,
    }
    keys |= _scaling(config.rope)
    if config.num_experts:
        keys |= {
            "expert_count": config.num_experts,
            "expert_used_count": config.num_experts_per_tok,
            "expert_feed_forward_length": config.moe_intermediate_size,
        }
    if config.sliding_window:
        keys["attention.sliding_window"] = config.sliding_window
    if config.local_rope is not None and config.local_rope.theta != GEMMA3_LOCAL_THETA:
        keys["rope.freq_base_swa"] = config.local_rope.theta
    if config.layer_is_sliding and not _has_usual_pattern(config):
        keys["attention.sliding_window_pattern"] = np.array(config.layer_is_sliding)
    metadata: dict[str, Any] = {"general.architecture": config.architecture}
    metadata |= {f"{config.architecture}.{key}": value for key, value in keys.items()}
    _check(config, metadata, tensors, where)
    return metadata


def rope_divisors(config: ModelConfig) -> Float32s | None:
    """What the frequency of each pair of a head is divided by, where GGUF has a tensor for a scaling and no keys.

    Returns:
        float32 (head_dim / 2,), or None where keys say it.
    Raises:
        UnsupportedModelError: an architecture for which llama.cpp does not read that tensor.
    """
    if config.rope.scaling not in ("llama3", "divisors"):
        return None
    if config.architecture != "llama":
        raise UnsupportedModelError(
            f"GGUF has no {config.rope.scaling!r} scaling of rotary embeddings for {config.architecture}",
            hint="keep the model in fastgo's own format",
        )
    plain = rope_frequencies(RopeConfig(config.rope.theta), config.head_dim)
    divisors: Float32s = plain / rope_frequencies(config.rope, config.head_dim)
    return divisors


def _scaling(rope: RopeConfig) -> dict[str, Any]:
    if rope.scaling not in ("linear", "yarn") or (rope.scaling == "linear" and rope.factor == 1):
        return {}
    keys: dict[str, Any] = {"rope.scaling.type": rope.scaling, "rope.scaling.factor": rope.factor}
    if rope.scaling == "yarn":
        if (rope.low, rope.high) != (1.0, 32.0):
            raise UnsupportedModelError(
                f"llama.cpp reads YaRN's beta_slow as 1 and beta_fast as 32, the model has {rope.low} and {rope.high}",
                hint="keep the model in fastgo's own format",
            )
        keys |= {
            "rope.scaling.original_context_length": rope.original_context,
            "rope.scaling.yarn_beta_slow": rope.low,
            "rope.scaling.yarn_beta_fast": rope.high,
            # Readers multiply by the usual factor themselves.
            "rope.scaling.attn_factor": rope.attention_factor / yarn_attention_factor(rope.factor),
        }
    return keys


def _is_same_rope(wanted: ModelConfig, found: ModelConfig) -> bool:
    """Whether both rotate alike, within float32's rounding, however it is written."""
    first, second = (rope_frequencies(config.rope, config.head_dim) for config in (wanted, found))
    return np.allclose(first, second, rtol=1e-6, atol=0) and math.isclose(
        wanted.rope.attention_factor, found.rope.attention_factor, rel_tol=1e-6
    )


def _has_usual_pattern(config: ModelConfig) -> bool:
    usual = ((layer + 1) % GEMMA3_GLOBAL_LAYER_PERIOD != 0 for layer in range(config.num_hidden_layers))
    return config.layer_is_sliding == tuple(usual)


def _check(config: ModelConfig, metadata: dict[str, Any], tensors: Mapping[str, GgufTensor], where: str) -> None:
    try:
        found = config_from_gguf(metadata, tensors, where)
    except FastgoError as error:
        raise UnsupportedModelError(f"{where} can't be written as GGUF: {error.message}", hint=error.hint) from None
    # The scale's rounding to the checkpoint's own type is lost: readers of GGUF multiply by the float32 square root.
    found = replace(found, embedding_scale=config.embedding_scale)
    if found.head_dim == config.head_dim and _is_same_rope(config, found):
        found = replace(found, rope=config.rope)
    for field in fields(config):
        wanted, got = getattr(config, field.name), getattr(found, field.name)
        if wanted != got:
            raise UnsupportedModelError(
                f"{where} can't be written as GGUF: {field.name} is {str(wanted)[:60]}, it would be read as "
                f"{str(got)[:60]}",
                hint="keep the model in fastgo's own format",
            )
