"""ModelConfig from a Hugging Face config.json, architecture by architecture.

What a config leaves out has transformers' default; what the engine can't do (partial rotary embeddings, soft caps,
bidirectional attention) is refused here, by name. Source: the configuration classes of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from fastgo.assets.config_checks import MAX_LAYERS, MAX_POSITIONS, checked_config
from fastgo.assets.hf_rope import rope_from_hf
from fastgo.assets.strict_json import Fields
from fastgo.errors import UnsupportedModelError
from fastgo.models.config import ATTENTION_MATRICES, FEED_FORWARD_MATRICES, ModelConfig

_ACTIVATIONS = {"silu": "silu", "swish": "silu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_tanh": "gelu_tanh"}
_GEMMA3_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "vocab_size": 262_208,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 131_072,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 10_000.0,
        "tie_word_embeddings": True,
    }
)
_LLAMA_DEFAULTS: Mapping[str, Any] = MappingProxyType({"hidden_act": "silu", "rope_theta": 10_000.0})
_MISTRAL_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {**_LLAMA_DEFAULTS, "num_key_value_heads": 8, "sliding_window": 4096}
)
_QWEN_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {**_LLAMA_DEFAULTS, "sliding_window": 4096, "max_window_layers": 28}
)
_QWEN3_DEFAULTS: Mapping[str, Any] = MappingProxyType({**_QWEN_DEFAULTS, "head_dim": 128})
_QWEN3MOE_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        **_LLAMA_DEFAULTS,
        "num_key_value_heads": 4,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
    }
)
_EXPERTS = ("num_experts", "num_local_experts")
_REFUSED = (
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "use_bidirectional_attention",
    "mlp_only_layers",
)
_COPIED = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
)
_PLAIN_MODEL_HINT = "get a model of a plain dense architecture"
_DTYPES = {"bfloat16": "bfloat16", "torch.bfloat16": "bfloat16", "float16": "float16", "torch.float16": "float16"}


def config_from_hf(data: Mapping[str, Any], vocab_size: int, has_head: bool, where: str) -> ModelConfig:
    """The config that a config.json describes; messages start with `where`.

    Args:
        vocab_size: rows of the embedding table.
        has_head: whether the weights have an output matrix of their own, which then counts.

    Raises:
        InvalidFileError: a field is missing, of a wrong type, or out of range.
        UnsupportedModelError: an architecture, or a feature of one, that is not supported.
    """
    build, architecture, defaults = _by_class(Fields(dict(data), where))
    outer = dict(data)
    if isinstance(outer.get("text_config"), dict):
        inherited = {name: outer[name] for name in ("torch_dtype", "dtype", "tie_word_embeddings") if name in outer}
        outer = inherited | outer["text_config"]
    given = {name: value for name, value in outer.items() if value is not None or name == "sliding_window"}
    fields = Fields({**defaults, **given}, where)
    for name in (*_REFUSED, *(() if architecture == "qwen3moe" else _EXPERTS)):
        if fields.data.get(name):
            raise UnsupportedModelError(
                f"{where}: {name} is {str(fields.data[name])[:40]}, which is not supported", hint=_PLAIN_MODEL_HINT
            )
    values = _common_fields(fields) | {"architecture": architecture, "vocab_size": vocab_size}
    values["tie_word_embeddings"] = fields.data.get("tie_word_embeddings", False) is True and not has_head
    values |= build(fields)
    values["max_position_embeddings"] = _stretched_context(values)
    values.setdefault("query_scale", values["head_dim"] ** -0.5)
    return checked_config(values, where)


def _by_class(fields: Fields) -> _Reader:
    names = fields.data.get("architectures")
    name = names[0] if isinstance(names, list) and len(names) == 1 else names
    if not isinstance(name, str) or name not in _BY_CLASS:
        raise UnsupportedModelError(
            f"{fields.where}: architecture {str(name)[:60]!r} is not supported",
            hint=f"supported architectures: {', '.join(_BY_CLASS)}",
        )
    return _BY_CLASS[name]


def _common_fields(fields: Fields) -> dict[str, Any]:
    values: dict[str, Any] = {name: fields.integer(name, 1) for name in _COPIED}
    heads, hidden_size = values["num_attention_heads"], values["hidden_size"]
    values["num_key_value_heads"] = fields.optional_integer("num_key_value_heads", 1) or heads
    values["head_dim"] = fields.optional_integer("head_dim", 1) or hidden_size // heads
    if not values["head_dim"]:
        fields.fail(f"{heads} heads share a hidden size of {hidden_size}")
    name = "hidden_activation" if "hidden_activation" in fields.data else "hidden_act"
    activation = fields.text(name, 40)
    if activation not in _ACTIVATIONS:
        raise UnsupportedModelError(f"{fields.where}: activation {activation!r} is not supported")
    return values | {
        "rms_norm_eps": fields.number("rms_norm_eps") if "rms_norm_eps" in fields.data else 1e-6,
        "rope": rope_from_hf(fields, "full_attention", "rope_theta"),
        "local_rope": None,
        "sliding_window": 0,
        "layer_is_sliding": [],
        "embedding_scale": 1.0,
        "hidden_activation": _ACTIVATIONS[activation],
    }


def _gemma3_fields(fields: Fields) -> dict[str, Any]:
    scalar = fields.number("query_pre_attn_scalar")
    if scalar <= 0:
        fields.fail(f"'query_pre_attn_scalar' is {scalar}, expected a positive number")
    return {
        "query_scale": scalar**-0.5,
        "biases": _attention_biases(fields),
        "local_rope": rope_from_hf(fields, "sliding_attention", "rope_local_base_freq"),
        "sliding_window": fields.integer("sliding_window"),
        "layer_is_sliding": _layer_pattern(fields),
        "embedding_scale": _embedding_scale(fields),
    }


def _stretched_context(values: dict[str, Any]) -> int:
    """With YaRN the original context times its factor, where a config's author left 'max_position_embeddings' alone."""
    rope, context = values["rope"], int(values["max_position_embeddings"])
    stretched = rope["original_context"] * rope["factor"] if rope.get("scaling") == "yarn" else 0.0
    return max(context, int(stretched)) if stretched <= MAX_POSITIONS else context


def _layer_pattern(fields: Fields) -> list[bool]:
    layers = fields.integer("num_hidden_layers", 1, MAX_LAYERS)
    if "layer_types" in fields.data:
        kinds = fields.items("layer_types")
        if any(kind not in ("sliding_attention", "full_attention") for kind in kinds):
            raise UnsupportedModelError(f"{fields.where}: 'layer_types' has a type that is not supported")
        return [kind == "sliding_attention" for kind in kinds]
    name = "sliding_window_pattern" if "sliding_window_pattern" in fields.data else "_sliding_window_pattern"
    period = fields.integer(name, 1) if name in fields.data else 6
    return [(layer + 1) % period != 0 for layer in range(layers)]


def _embedding_scale(fields: Fields) -> float:
    """sqrt(hidden_size), rounded to the type that the checkpoint runs in."""
    scale = np.sqrt(np.float32(fields.integer("hidden_size", 1)))
    dtype = _DTYPES.get(str(fields.data.get("dtype", fields.data.get("torch_dtype"))))
    if dtype == "float16":
        return float(np.float16(scale))
    if dtype == "bfloat16":
        bits = np.float32(scale).view(np.uint32)
        rounded = (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) & np.uint32(0xFFFF0000)
        return float(rounded.view(np.float32))
    return float(scale)


def _llama_fields(fields: Fields) -> dict[str, Any]:
    """transformers' Llama has no window, whatever a config says."""
    feed_forward = FEED_FORWARD_MATRICES if fields.data.get("mlp_bias") is True else ()
    return {"biases": [*_attention_biases(fields), *feed_forward]}


def _mistral_fields(fields: Fields) -> dict[str, Any]:
    """All layers slide, or none."""
    window = fields.optional_integer("sliding_window", 1)
    return {
        "sliding_window": window or 0,
        "layer_is_sliding": [True] * fields.integer("num_hidden_layers", 1, MAX_LAYERS) if window else [],
    }


def _qwen2_fields(fields: Fields) -> dict[str, Any]:
    return {**_qwen_window(fields), "biases": list(ATTENTION_MATRICES[:3])}


def _qwen3_fields(fields: Fields) -> dict[str, Any]:
    return {**_qwen_window(fields), "biases": _attention_biases(fields)}


def _qwen3moe_fields(fields: Fields) -> dict[str, Any]:
    if fields.data.get("use_sliding_window") or fields.data.get("decoder_sparse_step", 1) != 1:
        raise UnsupportedModelError(
            f"{fields.where}: sliding or dense layers are not supported for this architecture", hint=_PLAIN_MODEL_HINT
        )
    experts = "num_local_experts" if "num_local_experts" in fields.data else "num_experts"
    return {
        "biases": _attention_biases(fields),
        "num_experts": fields.integer(experts, 1),
        "num_experts_per_tok": fields.integer("num_experts_per_tok", 1),
        "moe_intermediate_size": fields.integer("moe_intermediate_size", 1),
        "norm_topk_prob": fields.data.get("norm_topk_prob", False) is True,
    }


def _attention_biases(fields: Fields) -> list[str]:
    return list(ATTENTION_MATRICES) if fields.data.get("attention_bias") is True else []


def _qwen_window(fields: Fields) -> dict[str, Any]:
    """The upper layers slide where a config switches the window on, as Qwen's own never do."""
    layers = fields.integer("num_hidden_layers", 1, MAX_LAYERS)
    if "layer_types" in fields.data:
        slides = _layer_pattern(fields)
    else:
        slides = [layer >= fields.integer("max_window_layers") for layer in range(layers)]
    if fields.data.get("use_sliding_window") is not True or fields.data["sliding_window"] is None:
        if "layer_types" in fields.data and any(slides):
            fields.fail("'layer_types' has sliding layers, 'use_sliding_window' is off")
        return {}
    window = fields.integer("sliding_window", 1)
    return {"sliding_window": window, "layer_is_sliding": slides} if any(slides) else {}


_Reader = tuple[Callable[[Fields], dict[str, Any]], str, Mapping[str, Any]]
_BY_CLASS: Mapping[str, _Reader] = MappingProxyType(
    {
        "Gemma3ForCausalLM": (_gemma3_fields, "gemma3", _GEMMA3_DEFAULTS),
        "Gemma3ForConditionalGeneration": (_gemma3_fields, "gemma3", _GEMMA3_DEFAULTS),
        "LlamaForCausalLM": (_llama_fields, "llama", _LLAMA_DEFAULTS),
        "MistralForCausalLM": (_mistral_fields, "llama", _MISTRAL_DEFAULTS),
        "Qwen2ForCausalLM": (_qwen2_fields, "qwen2", _QWEN_DEFAULTS),
        "Qwen3ForCausalLM": (_qwen3_fields, "qwen3", _QWEN3_DEFAULTS),
        "Qwen3MoeForCausalLM": (_qwen3moe_fields, "qwen3moe", _QWEN3MOE_DEFAULTS),
    }
)
