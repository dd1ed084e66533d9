"""One ModelConfig for every architecture, in the names of Hugging Face transformers.

A config is plain data: it is written into a model's manifest and read back from it. Facts that a checkpoint's
metadata lacks (Gemma 3's local rotary base, its layer pattern) are filled in by the architecture's own module.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class RopeConfig:
    """Rotary embedding of one kind of layer: base `theta`, positions divided by `factor` when linear."""

    theta: float
    factor: float = 1.0


@dataclass(frozen=True)
class ModelConfig:
    """Shapes and constants of a decoder-only transformer.

    `sliding_window` is 0 for none. `layer_is_sliding` has one entry a layer. `query_scale` multiplies q·k.
    `embedding_scale` multiplies embedding rows.
    """

    architecture: str  # "gemma3" | "llama" | "qwen3"
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    max_position_embeddings: int
    query_scale: float
    rope: RopeConfig
    local_rope: RopeConfig | None = None
    sliding_window: int = 0
    layer_is_sliding: tuple[bool, ...] = field(default=())
    embedding_scale: float = 1.0
    hidden_activation: str = "silu"  # "silu" | "gelu_tanh"
    tie_word_embeddings: bool = True

    def to_json(self) -> dict[str, Any]:
        """Plain dict for a manifest."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ModelConfig:
        """Inverse of `to_json`. Raises KeyError, TypeError or ValueError on anything unexpected."""
        values = dict(data)
        values["rope"] = RopeConfig(**values["rope"])
        if values.get("local_rope") is not None:
            values["local_rope"] = RopeConfig(**values["local_rope"])
        values["layer_is_sliding"] = tuple(bool(x) for x in values.get("layer_is_sliding", ()))
        return cls(**values)
