"""Sanity of a model's config before anything trusts it: types, ranges, and what must agree with what.

The engine may rely on every config that passed here. Whether all tensors that an architecture needs are present with
the right shape is for the models to check.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from fastgo.assets.strict_json import Fields
from fastgo.errors import UnsupportedModelError
from fastgo.models.architectures import ARCHITECTURES
from fastgo.models.config import ATTENTION_MATRICES, FEED_FORWARD_MATRICES, ROPE_SCALINGS, ModelConfig, RopeConfig
from fastgo.ops.moe_group import MAX_EXPERTS

ACTIVATIONS = ("silu", "gelu_tanh")
MAX_DIMENSION = 1 << 24
MAX_LAYERS = 1024
MAX_POSITIONS = 1 << 30

_INTEGER_LIMITS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "vocab_size": (1, MAX_DIMENSION),
        "hidden_size": (1, MAX_DIMENSION),
        "intermediate_size": (1, MAX_DIMENSION),
        "num_hidden_layers": (1, MAX_LAYERS),
        "num_attention_heads": (1, 1 << 16),
        "num_key_value_heads": (1, 1 << 16),
        "head_dim": (2, 512),  # what the attention kernels hold
        "max_position_embeddings": (1, MAX_POSITIONS),
        "sliding_window": (0, MAX_POSITIONS),
        "num_experts": (0, MAX_EXPERTS),
        "num_experts_per_tok": (0, MAX_EXPERTS),
        "moe_intermediate_size": (0, MAX_DIMENSION),
    }
)
_PROJECTIONS = (*ATTENTION_MATRICES, *FEED_FORWARD_MATRICES)
_POSITIVE_NUMBERS = ("rms_norm_eps", "query_scale", "embedding_scale")
_FIELD_NAMES = frozenset(field.name for field in dataclasses.fields(ModelConfig))
_ROPE_NAMES = frozenset(field.name for field in dataclasses.fields(RopeConfig))
_LATER_FIELDS: Mapping[str, Any] = MappingProxyType(  # absent from configs of earlier versions
    {"biases": [], "num_experts": 0, "num_experts_per_tok": 0, "moe_intermediate_size": 0, "norm_topk_prob": True}
)


def checked_config(data: Any, where: str) -> ModelConfig:
    """The config that `data` (a dict as `ModelConfig.to_json` makes it, or JSON's form of it) describes.

    Raises:
        InvalidFileError: a field is missing, unknown, of a wrong type, out of range or at odds with another; the
            message starts with `where`.
        UnsupportedModelError: an architecture or activation that is not supported.
    """
    fields = Fields({**_LATER_FIELDS, **data} if isinstance(data, dict) else data, where, _FIELD_NAMES)
    require_supported(fields.text("architecture"), where)
    if fields.text("hidden_activation") not in ACTIVATIONS:
        raise UnsupportedModelError(f"{where}: activation {data['hidden_activation'][:40]!r} is not supported")
    for name, (low, high) in _INTEGER_LIMITS.items():
        fields.integer(name, low, high)
    for name in _POSITIVE_NUMBERS:
        _check_positive(fields, name)
    _check_rope(fields, "rope")
    if fields.data["local_rope"] is not None:
        _check_rope(fields, "local_rope")
    fields.boolean("tie_word_embeddings")
    fields.boolean("norm_topk_prob")
    layers = fields.items("layer_is_sliding", MAX_LAYERS)
    if any(type(layer) is not bool for layer in layers):
        fields.fail("'layer_is_sliding' holds something else than true and false")
    biases = fields.items("biases", len(_PROJECTIONS))
    if not all(isinstance(name, str) and name in _PROJECTIONS for name in biases) or len(set(biases)) != len(biases):
        fields.fail(f"'biases' is {str(biases)[:80]}, expected some of {', '.join(_PROJECTIONS)}")
    _check_agreement(fields, layers)
    return ModelConfig.from_json(fields.data)


def require_supported(architecture: str, where: str) -> None:
    """Raises UnsupportedModelError, which lists what is supported, for any other architecture."""
    if architecture not in ARCHITECTURES:
        raise UnsupportedModelError(
            f"{where}: architecture {architecture[:40]!r} is not supported",
            hint=f"supported architectures: {', '.join(sorted(ARCHITECTURES))}",
        )


def _check_positive(fields: Fields, name: str) -> None:
    if fields.number(name) <= 0:
        fields.fail(f"{name!r} is {fields.data[name]}, expected a positive number")


def _check_factor(fields: Fields, name: str) -> None:
    """A range far beyond what models have, within which no rotary table overflows."""
    if not 1e-6 <= fields.number(name) <= 1e30:
        fields.fail(f"{name!r} is {fields.data[name]}, expected a number from 1e-6 to 1e30")


def _check_rope(fields: Fields, name: str) -> None:
    plain = {field.name: field.default for field in dataclasses.fields(RopeConfig)} | {"divisors": []}
    found = fields.data[name]
    merged = {**plain, **found} if isinstance(found, dict) and "theta" in found else found
    rope = Fields(merged, f"{fields.where}: {name}", _ROPE_NAMES)
    for number in ("theta", "factor", "attention_factor"):
        _check_factor(rope, number)
    scaling = rope.text("scaling", 40)
    if scaling not in ROPE_SCALINGS:
        raise UnsupportedModelError(f"{rope.where}: scaling {scaling!r} is not supported")
    if scaling in ("yarn", "llama3"):
        rope.integer("original_context", 1, MAX_POSITIONS)
        _check_factor(rope, "low")
        _check_factor(rope, "high")
        if rope.data["low"] >= rope.data["high"] or rope.data["theta"] <= 1:
            rope.fail("expected 'low' < 'high' and a 'theta' above 1")
    divisors = rope.items("divisors", MAX_DIMENSION)
    if len(divisors) != (fields.integer("head_dim") // 2 if scaling == "divisors" else 0):
        rope.fail(f"'divisors' has {len(divisors)} entries for heads of {fields.data['head_dim']}")
    for divisor in divisors:
        _check_factor(Fields({"divisor": divisor}, rope.where), "divisor")


def _check_agreement(fields: Fields, layers: list[Any]) -> None:
    data = fields.data
    if data["num_attention_heads"] % data["num_key_value_heads"]:
        fields.fail(
            f"{data['num_attention_heads']} attention heads can't share {data['num_key_value_heads']} key-value heads"
        )
    if data["head_dim"] % 2:
        fields.fail(f"'head_dim' is {data['head_dim']}, expected an even number")
    if (data["architecture"] == "qwen3moe") != (data["num_experts"] > 0):
        fields.fail(f"'num_experts' is {data['num_experts']} for architecture {data['architecture']!r}")
    if data["num_experts"]:
        if not 1 <= data["num_experts_per_tok"] <= data["num_experts"] or not data["moe_intermediate_size"]:
            fields.fail(f"{data['num_experts_per_tok']} of {data['num_experts']} experts can't be")
        if any(name in FEED_FORWARD_MATRICES for name in data["biases"]):
            fields.fail("experts with biases are not supported")
    if layers and len(layers) != data["num_hidden_layers"]:
        fields.fail(f"'layer_is_sliding' has {len(layers)} entries for {data['num_hidden_layers']} layers")
    if any(layers) and not data["sliding_window"]:
        fields.fail("layers slide, 'sliding_window' is 0")
    if data["local_rope"] is not None and data["rope"].get("attention_factor", 1.0) != 1.0:
        fields.fail("a factor on q and k is not supported where sliding layers have a rotary embedding of their own")
