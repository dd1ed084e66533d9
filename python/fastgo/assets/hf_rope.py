"""Rotary parameters of a Hugging Face config.json, in the old spelling (rope_scaling) and the new (rope_parameters).

Source: transformers' modeling_rope_utils.py. Scalings that the engine can't do are refused here, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from fastgo.assets.strict_json import Fields
from fastgo.errors import UnsupportedModelError
from fastgo.ops.rope_table import yarn_attention_factor


def rope_from_hf(fields: Fields, layer_type: str, theta_name: str) -> dict[str, Any]:
    """A RopeConfig's fields for one type of layer. Raises InvalidFileError, UnsupportedModelError."""
    theta = fields.number(theta_name)
    is_old = "rope_parameters" not in fields.data
    scaling = fields.data.get("rope_scaling") or {} if is_old else fields.data["rope_parameters"]
    if isinstance(scaling, dict) and isinstance(scaling.get(layer_type), dict):
        scaling = scaling[layer_type]
    elif is_old and layer_type == "sliding_attention":
        scaling = {}
    rope = Fields(scaling, f"{fields.where}: rotary parameters")
    if rope.data.get("partial_rotary_factor", fields.data.get("partial_rotary_factor", 1)) != 1:
        raise UnsupportedModelError(f"{fields.where}: a partial rotary embedding is not supported")
    kind = rope.data.get("rope_type", rope.data.get("type", "default"))
    if not isinstance(kind, str) or kind not in _SCALINGS:
        raise UnsupportedModelError(
            f"{fields.where}: rope scaling {str(kind)[:40]!r} is not supported, only {', '.join(_SCALINGS)} are",
            hint="get this model without scaling of its context",
        )
    if rope.data.get("rope_theta") is not None:
        theta = rope.number("rope_theta")
    return {"theta": theta, **_SCALINGS[kind](rope, fields.data.get("max_position_embeddings"))}


def _linear(rope: Fields, _: Any) -> dict[str, Any]:
    return {"factor": rope.number("factor")}


def _llama3(rope: Fields, context: Any) -> dict[str, Any]:
    return {
        "scaling": "llama3",
        "factor": rope.number("factor"),
        "original_context": _original_context(rope, context),
        "low": rope.number("low_freq_factor"),
        "high": rope.number("high_freq_factor"),
    }


def _yarn(rope: Fields, context: Any) -> dict[str, Any]:
    if rope.data.get("truncate", True) is not True:
        raise UnsupportedModelError(f"{rope.where}: YaRN with 'truncate' off is not supported")
    factor = rope.number("factor")
    return {
        "scaling": "yarn",
        "factor": factor,
        "original_context": _original_context(rope, context),
        "low": _number_or(rope, "beta_slow", 1.0),
        "high": _number_or(rope, "beta_fast", 32.0),
        "attention_factor": rope.number("attention_factor")
        if rope.data.get("attention_factor") is not None
        else yarn_attention_factor(factor, _number_or(rope, "mscale", 0.0), _number_or(rope, "mscale_all_dim", 0.0)),
    }


def _original_context(rope: Fields, context: Any) -> int:
    name = "original_max_position_embeddings"
    return Fields({name: context, **rope.data}, rope.where).integer(name, 1)


def _number_or(rope: Fields, name: str, default: float) -> float:
    return rope.number(name) if rope.data.get(name) else default


_SCALINGS: Mapping[str, Callable[[Fields, Any], dict[str, Any]]] = MappingProxyType(
    {"default": lambda *_: {}, "linear": _linear, "llama3": _llama3, "yarn": _yarn}
)
