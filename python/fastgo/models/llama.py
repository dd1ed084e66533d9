"""Llama-family models: Llama 2 and 3, SmolLM, Mistral, Qwen 2.5. Touvron et al. 2023; transformers' modeling_llama.py.

Pre-norm layers, grouped-query attention with rotary embedding, SiLU-gated feed-forward. What sets the members apart is
in the config: Mistral's sliding window, Qwen 2.5's biases of q, k and v, Llama 3's stretched rotary embedding.
"""

from __future__ import annotations

from collections.abc import Callable

from fastgo.graph.dag import Tensor
from fastgo.models.blocks import gated_feed_forward, grouped_query_attention
from fastgo.models.forward import Forward
from fastgo.ops.add import add
from fastgo.ops.embed import embed
from fastgo.ops.rms_norm import rms_norm


def llama(
    forward: Forward,
    *,
    has_head_norm: bool = False,
    feed_forward: Callable[[Forward, int, Tensor], Tensor] = gated_feed_forward,
) -> Tensor:
    """Logits (len(output_rows), vocab_size) float32. `has_head_norm` and another `feed_forward` are Qwen 3's."""
    config, eps = forward.config, forward.config.rms_norm_eps
    x = embed(forward.weight("model.embed_tokens.weight"), forward.tokens)
    for layer in range(config.num_hidden_layers):
        h = rms_norm(x, forward.layer_weight(layer, "input_layernorm"), eps=eps)
        h = grouped_query_attention(forward, layer, h, rope=forward.rope, has_head_norm=has_head_norm)
        x = add(forward.read_later(layer, x), h)

        h = rms_norm(x, forward.layer_weight(layer, "post_attention_layernorm"), eps=eps)
        x = add(x, feed_forward(forward, layer, h))
    x = rms_norm(x, forward.weight("model.norm.weight"), eps=eps)
    return forward.logits(x)
