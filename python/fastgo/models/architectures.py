"""The table of architectures: each one's forward pass and which norms its layers have.

A config that passed assets/config_checks.py has an architecture of this table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fastgo.graph.dag import Tensor
from fastgo.models.config import ModelConfig
from fastgo.models.forward import Forward
from fastgo.models.gemma3 import gemma3
from fastgo.models.llama import llama
from fastgo.models.qwen3 import qwen3
from fastgo.models.qwen3moe import qwen3moe


@dataclass(frozen=True)
class Architecture:
    """A forward pass, and the norm weights of a layer that the shapes of the config don't tell."""

    forward: Callable[[Forward], Tensor]
    layer_norms: tuple[str, ...]
    has_head_norm: bool

    def expected_shapes(self, config: ModelConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Every weight that the forward pass reads, by its Hugging Face name, with its shape."""
        hidden, width = config.hidden_size, config.intermediate_size
        queries = config.num_attention_heads * config.head_dim
        keys = config.num_key_value_heads * config.head_dim
        yield "model.embed_tokens.weight", (config.vocab_size, hidden)
        yield "model.norm.weight", (hidden,)
        if not config.tie_word_embeddings:
            yield "lm_head.weight", (config.vocab_size, hidden)
        layer: dict[str, tuple[int, ...]] = {
            "self_attn.q_proj": (queries, hidden),
            "self_attn.k_proj": (keys, hidden),
            "self_attn.v_proj": (keys, hidden),
            "self_attn.o_proj": (hidden, queries),
        }
        if config.num_experts:
            experts, width = config.num_experts, config.moe_intermediate_size
            layer |= {
                "mlp.gate": (experts, hidden),
                "mlp.experts.gate_proj": (experts, width, hidden),
                "mlp.experts.up_proj": (experts, width, hidden),
                "mlp.experts.down_proj": (experts, hidden, width),
            }
        else:
            layer |= {
                "mlp.gate_proj": (width, hidden),
                "mlp.up_proj": (width, hidden),
                "mlp.down_proj": (hidden, width),
            }
        layer |= dict.fromkeys(self.layer_norms, (hidden,))
        if self.has_head_norm:
            layer |= {"self_attn.q_norm": (config.head_dim,), "self_attn.k_norm": (config.head_dim,)}
        for index in range(config.num_hidden_layers):
            for name, shape in layer.items():
                yield f"model.layers.{index}.{name}.weight", shape
            for name in config.biases:
                yield f"model.layers.{index}.{name}.bias", layer[name][:1]


_PRE_NORMS = ("input_layernorm", "post_attention_layernorm")

ARCHITECTURES = {
    "gemma3": Architecture(
        gemma3, (*_PRE_NORMS, "pre_feedforward_layernorm", "post_feedforward_layernorm"), has_head_norm=True
    ),
    "llama": Architecture(llama, _PRE_NORMS, has_head_norm=False),
    "qwen2": Architecture(llama, _PRE_NORMS, has_head_norm=False),
    "qwen3": Architecture(qwen3, _PRE_NORMS, has_head_norm=True),
    "qwen3moe": Architecture(qwen3moe, _PRE_NORMS, has_head_norm=True),
}
