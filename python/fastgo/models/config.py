"""One ModelConfig for every architecture, in the names of Hugging Face transformers.

A config is plain data: it is written into a model's manifest and read back from it. Facts that a checkpoint's
metadata lacks (Gemma 3's local rotary base, its layer pattern) are filled in by the architecture's own module.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

ROPE_SCALINGS = ("linear", "yarn", "llama3", "divisors")
ATTENTION_MATRICES = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
FEED_FORWARD_MATRICES = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")


@dataclass(frozen=True)
class RopeConfig:
    """Rotary embedding of one kind of layer; rope.py turns it into a table of frequencies.

    Attributes:
        theta: the base.
        factor: how many times the original context was stretched; 1 for not at all.
        scaling: which pairs are divided by `factor`: all ("linear"), by their turns within the original context
            ("yarn", "llama3"), or each by its own of `divisors` ("divisors").
        original_context: tokens before the stretch.
        low, high: turns within the original context; pairs that turn less than `low` times are divided by `factor`,
            those above `high` are not.
        attention_factor: multiplies q and k, as YaRN wants.
    """

    theta: float
    factor: float = 1.0
    scaling: str = "linear"
    original_context: int = 0
    low: float = 0.0
    high: float = 0.0
    attention_factor: float = 1.0
    divisors: tuple[float, ...] = ()

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> RopeConfig:
        """From the dict that `asdict` makes of it, or JSON's form of that."""
        return cls(**{**data, "divisors": tuple(data.get("divisors", ()))})


@dataclass(frozen=True)
class ModelConfig:
    """Shapes and constants of a decoder-only transformer.

    `sliding_window` is 0 for none. `layer_is_sliding` has one entry a layer, or none where no layer slides.
    `query_scale` multiplies q·k. `embedding_scale` multiplies embedding rows. `biases` names the projections of a layer
    that add one, such as "self_attn.q_proj". `num_experts` is 0 for a dense model; an expert's feed-forward network is
    `moe_intermediate_size` wide, and with `norm_topk_prob` the weights of the chosen ones add up to 1.
    """

    architecture: str  # a name of architectures.py
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
    biases: tuple[str, ...] = ()
    num_experts: int = 0
    num_experts_per_tok: int = 0
    moe_intermediate_size: int = 0
    norm_topk_prob: bool = True

    @property
    def attention_scale(self) -> float:
        """What multiplies q·k in all: `query_scale`, and the rotary embedding's factor on both of them."""
        return self.query_scale * self.rope.attention_factor**2

    def window(self, layer: int) -> int:
        """How many positions a layer sees, its own included; 0 for all."""
        return self.sliding_window if self.layer_is_sliding and self.layer_is_sliding[layer] else 0

    def to_json(self) -> dict[str, Any]:
        """Plain dict for a manifest."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ModelConfig:
        """Inverse of `to_json`. Raises KeyError, TypeError or ValueError on anything unexpected."""
        values = dict(data)
        values["rope"] = RopeConfig.from_json(values["rope"])
        if values.get("local_rope") is not None:
            values["local_rope"] = RopeConfig.from_json(values["local_rope"])
        values["layer_is_sliding"] = tuple(bool(x) for x in values.get("layer_is_sliding", ()))
        values["biases"] = tuple(values.get("biases", ()))
        return cls(**values)
