"""ModelConfig from the metadata of a GGUF file, architecture by architecture.

What GGUF leaves out (Gemma 3's local rotary base and layer pattern) is filled in here; what the engine can't do
(partial rotary embeddings, soft caps) is refused here, by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np

from fastgo.assets.config_checks import MAX_LAYERS, checked_config, require_supported
from fastgo.assets.gguf import GgufTensor
from fastgo.assets.gguf_names import BIASED, ROPE_DIVISORS
from fastgo.errors import InvalidFileError, UnsupportedModelError
from fastgo.models.config import ModelConfig
from fastgo.ops.rope_table import yarn_attention_factor

GEMMA3_LOCAL_THETA = 10_000.0
GEMMA3_GLOBAL_LAYER_PERIOD = 6
GEMMA3_27B_HIDDEN_SIZE = 5376
GEMMA3_27B_QUERY_PRE_ATTN_SCALAR = 168.0
_REFUSED_IF_POSITIVE = ("attn_logit_softcapping", "final_logit_softcapping", "rope.scale_linear")
_PLAIN_MODEL_HINT = "get a model of a plain dense architecture"


def config_from_gguf(metadata: Mapping[str, Any], tensors: Mapping[str, GgufTensor], where: str) -> ModelConfig:
    """The config of a GGUF model; messages start with `where`.

    Raises:
        InvalidFileError: a key is missing, of a wrong type, or out of range.
        UnsupportedModelError: an architecture, or a feature of one, that is not supported.
    """
    keys = _Keys(metadata, "", where)
    architecture = keys.text("general.architecture")
    require_supported(architecture, where)
    keys = _Keys(metadata, f"{architecture}.", where)
    _refuse_unsupported(keys, architecture)
    data = _common_fields(keys, tensors, where) | {"architecture": architecture} | _BY_ARCHITECTURE[architecture](keys)
    if ROPE_DIVISORS in tensors:
        data["rope"] = _divided_rope(data["rope"], tensors[ROPE_DIVISORS], data["head_dim"], where)
    head_dim = max(data["head_dim"], 1)  # the check below refuses others
    data.setdefault("query_scale", keys.number("attention.scale", 0.0) or head_dim**-0.5)
    return checked_config(data, where)


class _Keys:
    """Typed access to metadata keys that share a prefix."""

    def __init__(self, metadata: Mapping[str, Any], prefix: str, where: str) -> None:
        self.metadata = metadata
        self.prefix = prefix
        self.where = where

    def get(self, name: str) -> Any:
        return self.metadata.get(self.prefix + name)

    def text(self, name: str, default: str | None = None) -> str:
        value = self._value(name, default)
        if not isinstance(value, str):
            self._wrong(name, value, "text")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """A non-negative integer; one for each layer if all are the same."""
        value = self._value(name, default)
        if isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.size and (value == value[0]).all():
            value = int(value[0])
        if isinstance(value, np.ndarray):
            raise UnsupportedModelError(
                f"{self.where}: {self.prefix}{name} differs from layer to layer, which is not supported",
                hint=_PLAIN_MODEL_HINT,
            )
        if type(value) is not int or value < 0:
            self._wrong(name, value, "an integer that is not negative")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A float32 as the shortest decimal that stands for it: 1e-06, not 9.999999974752427e-07."""
        value = self._value(name, default)
        if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > np.finfo(np.float32).max:
            self._wrong(name, value, "a finite number")
        return float(str(np.float32(value)))

    def _value(self, name: str, default: Any) -> Any:
        value = self.get(name)
        if value is None and default is None:
            raise InvalidFileError(f"{self.where}: metadata key {self.prefix}{name} is missing")
        return default if value is None else value

    def _wrong(self, name: str, value: Any, expected: str) -> NoReturn:
        raise InvalidFileError(f"{self.where}: {self.prefix}{name} is {str(value)[:40]!r}, expected {expected}")


def _refuse_unsupported(keys: _Keys, architecture: str) -> None:
    for name in (*_REFUSED_IF_POSITIVE, *(() if architecture == "qwen3moe" else ("expert_count",))):
        if keys.number(name, 0.0) > 0:
            raise UnsupportedModelError(
                f"{keys.where}: {keys.prefix}{name} is {keys.get(name)}, which is not supported",
                hint=_PLAIN_MODEL_HINT,
            )
    scaling = keys.text("rope.scaling.type", "none")
    if scaling not in ("none", "linear", "yarn"):
        raise UnsupportedModelError(
            f"{keys.where}: rope scaling {scaling[:40]!r} is not supported, only 'linear' and 'yarn' are",
            hint="get this model without scaling of its context",
        )


def _common_fields(keys: _Keys, tensors: Mapping[str, GgufTensor], where: str) -> dict[str, Any]:
    embedding = tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise InvalidFileError(f"{where} has no matrix token_embd.weight")
    hidden_size, heads = keys.integer("embedding_length"), keys.integer("attention.head_count")
    if not heads:
        raise InvalidFileError(f"{where}: {keys.prefix}attention.head_count is 0")
    head_dim = keys.integer("attention.key_length", hidden_size // heads)
    for name in ("attention.value_length", "rope.dimension_count"):
        if keys.integer(name, head_dim) != head_dim:
            raise UnsupportedModelError(
                f"{where}: {keys.prefix}{name} is {keys.get(name)}, only the head size, {head_dim}, is supported"
            )
    return {
        "vocab_size": embedding.shape[0],
        "hidden_size": hidden_size,
        "intermediate_size": keys.integer("feed_forward_length"),
        "num_hidden_layers": keys.integer("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": keys.integer("attention.head_count_kv", heads),
        "head_dim": head_dim,
        "rms_norm_eps": keys.number("attention.layer_norm_rms_epsilon"),
        "max_position_embeddings": keys.integer("context_length"),
        "local_rope": None,
        "sliding_window": 0,
        "layer_is_sliding": [],
        "embedding_scale": 1.0,
        "hidden_activation": "silu",
        "tie_word_embeddings": "output.weight" not in tensors,
        "biases": [name for stored, name in BIASED.items() if f"blk.0.{stored}.bias" in tensors],
    }


def _rope(keys: _Keys, default_theta: float) -> dict[str, Any]:
    scaling = keys.text("rope.scaling.type", "none")
    rope: dict[str, Any] = {"theta": keys.number("rope.freq_base", default_theta)}
    if scaling == "none":
        return rope
    factor = keys.number("rope.scaling.factor", 1.0)
    if scaling == "linear":
        return rope | {"factor": factor}
    return rope | {
        "scaling": "yarn",
        "factor": factor,
        "original_context": keys.integer("rope.scaling.original_context_length", keys.integer("context_length")),
        "low": keys.number("rope.scaling.yarn_beta_slow", 1.0),
        "high": keys.number("rope.scaling.yarn_beta_fast", 32.0),
        "attention_factor": keys.number("rope.scaling.attn_factor", 1.0)
        * keys.number("rope.scaling.yarn_attn_factor", 1.0)
        * yarn_attention_factor(factor),
    }


def _divided_rope(rope: dict[str, Any], tensor: GgufTensor, head_dim: int, where: str) -> dict[str, Any]:
    """Llama 3's stretched rotary embedding: a divisor for each pair of a head, which GGUF carries as a tensor."""
    if tensor.format.name != "f32" or tensor.shape != (head_dim // 2,):
        raise InvalidFileError(
            f"{where}: {ROPE_DIVISORS} is {tensor.format.name} {tensor.shape}, expected f32 for heads of {head_dim}"
        )
    if len(rope) > 1:
        raise UnsupportedModelError(f"{where}: {ROPE_DIVISORS} together with another rope scaling is not supported")
    divisors = np.frombuffer(tensor.raw.tobytes(), "<f4")
    return rope | {"scaling": "divisors", "divisors": [float(divisor) for divisor in divisors]}


def _gemma3_fields(keys: _Keys) -> dict[str, Any]:
    hidden_size = keys.integer("embedding_length")
    fields = {
        "rope": _rope(keys, 1_000_000.0),
        "local_rope": {"theta": keys.number("rope.freq_base_swa", GEMMA3_LOCAL_THETA), "factor": 1.0},
        "sliding_window": keys.integer("attention.sliding_window"),
        "layer_is_sliding": _gemma3_layer_pattern(keys),
        "embedding_scale": float(np.sqrt(np.float32(hidden_size))),
        "hidden_activation": "gelu_tanh",
    }
    if hidden_size == GEMMA3_27B_HIDDEN_SIZE:
        fields["query_scale"] = GEMMA3_27B_QUERY_PRE_ATTN_SCALAR**-0.5
    return fields


def _gemma3_layer_pattern(keys: _Keys) -> list[bool]:
    """True for each layer that slides: from the file if it says (a period or a list), else all but every sixth."""
    layers = keys.integer("block_count")
    name = "attention.sliding_window_pattern"
    stored = keys.get(name)
    if isinstance(stored, np.ndarray) and stored.dtype == np.bool_:
        return [bool(slides) for slides in stored]
    period = keys.integer(name, GEMMA3_GLOBAL_LAYER_PERIOD)
    if not period:
        raise InvalidFileError(f"{keys.where}: {keys.prefix}{name} is 0")
    return [(layer + 1) % period != 0 for layer in range(min(layers, MAX_LAYERS))]


def _llama_fields(keys: _Keys) -> dict[str, Any]:
    """With a window, as Mistral has, in all layers."""
    window = keys.integer("attention.sliding_window", 0)
    return {
        "rope": _rope(keys, 10_000.0),
        "sliding_window": window,
        "layer_is_sliding": [True] * min(keys.integer("block_count"), MAX_LAYERS) if window else [],
    }


def _qwen_fields(keys: _Keys) -> dict[str, Any]:
    return {"rope": _rope(keys, 1_000_000.0)}


def _qwen3moe_fields(keys: _Keys) -> dict[str, Any]:
    return _qwen_fields(keys) | {
        "num_experts": keys.integer("expert_count"),
        "num_experts_per_tok": keys.integer("expert_used_count"),
        "moe_intermediate_size": keys.integer("expert_feed_forward_length"),
        "norm_topk_prob": True,
    }


_BY_ARCHITECTURE: Mapping[str, Callable[[_Keys], dict[str, Any]]] = MappingProxyType(
    {
        "gemma3": _gemma3_fields,
        "llama": _llama_fields,
        "qwen2": _qwen_fields,
        "qwen3": _qwen_fields,
        "qwen3moe": _qwen3moe_fields,
    }
)
