"""Gemma 3 text models. Gemma Team 2025, "Gemma 3 Technical Report"; transformers' modular_gemma3.py.

Four norms a layer (before and after each branch), RMSNorm of q and k heads, five sliding-window layers with the local
rotary base for each global one, GELU-gated feed-forward, embeddings scaled by sqrt(hidden_size).
"""

from __future__ import annotations

from fastgo.graph.dag import Tensor
from fastgo.models.blocks import gated_feed_forward, grouped_query_attention
from fastgo.models.forward import Forward
from fastgo.ops.add import add
from fastgo.ops.embed import embed
from fastgo.ops.rms_norm import rms_norm


def gemma3(forward: Forward) -> Tensor:
    """Logits (len(output_rows), vocab_size) float32."""
    config, eps = forward.config, forward.config.rms_norm_eps
    x = embed(forward.weight("model.embed_tokens.weight"), forward.tokens, scale=config.embedding_scale)
    for layer in range(config.num_hidden_layers):
        is_local = config.layer_is_sliding[layer]
        rope = forward.local_rope if is_local and forward.local_rope is not None else forward.rope

        h = rms_norm(x, forward.layer_weight(layer, "input_layernorm"), eps=eps)
        h = grouped_query_attention(forward, layer, h, rope=rope, has_head_norm=True)
        h = rms_norm(h, forward.layer_weight(layer, "post_attention_layernorm"), eps=eps)
        x = add(forward.read_later(layer, x), h)

        h = rms_norm(x, forward.layer_weight(layer, "pre_feedforward_layernorm"), eps=eps)
        h = gated_feed_forward(forward, layer, h)
        x = add(x, rms_norm(h, forward.layer_weight(layer, "post_feedforward_layernorm"), eps=eps))
    x = rms_norm(x, forward.weight("model.norm.weight"), eps=eps)
    return forward.logits(x)
