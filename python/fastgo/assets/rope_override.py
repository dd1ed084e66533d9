"""Another rotary base or scaling for a model, as a user asks for it when converting: its config only, no weights.

Scalings are read as a config.json has them, by hf_rope.py. What the user leaves out comes from the model or, for
llama3, from Llama 3.1's own config.

Units: context in tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from fastgo.assets.config_checks import MAX_POSITIONS, checked_config
from fastgo.assets.hf_rope import rope_from_hf
from fastgo.assets.strict_json import Fields, parse_object
from fastgo.errors import FastgoError, UsageError
from fastgo.models.config import ModelConfig, RopeConfig

NAMES = ("none", "linear", "yarn", "llama3")
_DEFAULTS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {"llama3": {"low_freq_factor": 1.0, "high_freq_factor": 4.0}}
)
_HINT = 'for example yarn:4, none, or {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 32768}'


def parse_scaling(text: str) -> dict[str, Any]:
    """The rope_scaling of a config.json from NAME:FACTOR, "none" or the JSON itself. Raises UsageError."""
    if text.lstrip().startswith("{"):
        try:
            return parse_object(text.encode(errors="replace"), "--rope-scaling")
        except FastgoError as error:
            raise UsageError(error.message, hint=_HINT) from None
    name, _, factor = text.partition(":")
    if name in NAMES:
        if name == "none" and not factor:
            return {"rope_type": "default"}
        try:
            return {"rope_type": name, **_DEFAULTS.get(name, {}), "factor": float(factor)}
        except ValueError:
            pass
    raise UsageError(
        f"--rope-scaling: expected NAME:FACTOR with a name of {', '.join(NAMES)}, or JSON, found {text[:60]!r}",
        hint=_HINT,
    )


def with_rope(config: ModelConfig, base: float | None = None, scaling: str | None = None) -> ModelConfig:
    """The config with another rotary base, another scaling, or both; layers that slide keep theirs where it differs.

    A scaling takes the place of the one that is there, and the context grows to the original one times its factor.

    Raises UsageError for what can't be.
    """
    if base is None and scaling is None:
        return config
    rope, context = config.rope, config.max_position_embeddings
    try:
        if base is not None:
            rope = replace(rope, theta=base)
        if scaling is not None:
            original = rope.original_context or context
            facts = {
                "rope_theta": rope.theta,
                "rope_scaling": parse_scaling(scaling),
                "max_position_embeddings": original,
            }
            rope = RopeConfig.from_json(rope_from_hf(Fields(facts, "--rope-scaling"), "full_attention", "rope_theta"))
            context = max(context, min(int((rope.original_context or original) * rope.factor), MAX_POSITIONS))
        changed = replace(config, rope=rope, max_position_embeddings=context)
        return checked_config(json.loads(json.dumps(changed.to_json())), "the new rotary embedding")
    except UsageError:
        raise
    except FastgoError as error:
        raise UsageError(error.message, hint=_HINT) from None
