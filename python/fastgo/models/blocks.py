"""The two branches of a decoder layer that all architectures share: grouped-query attention and gated feed-forward."""

from __future__ import annotations

from fastgo.graph.dag import Tensor
from fastgo.models.forward import Forward
from fastgo.ops.attention import attention
from fastgo.ops.glu import glu
from fastgo.ops.matmul import matmul
from fastgo.ops.rope_cache import rope_cache


def grouped_query_attention(
    forward: Forward, layer: int, x: Tensor, *, rope: Tensor, window: int = 0, has_head_norm: bool = False
) -> Tensor:
    """x (rows, hidden_size), already normed -> (rows, hidden_size). Ainslie et al. 2023.

    `has_head_norm`: q and k heads are RMS-normed before the rotary embedding. `window` 0: all earlier positions.
    """
    q, keys, values = rope_cache(
        matmul(x, forward.layer_weight(layer, "self_attn.q_proj")),
        matmul(x, forward.layer_weight(layer, "self_attn.k_proj")),
        matmul(x, forward.layer_weight(layer, "self_attn.v_proj")),
        rope,
        forward.positions,
        forward.sequences,
        forward.cache[layer].keys,
        forward.cache[layer].values,
        q_weight=forward.layer_weight(layer, "self_attn.q_norm") if has_head_norm else None,
        k_weight=forward.layer_weight(layer, "self_attn.k_norm") if has_head_norm else None,
        eps=forward.config.rms_norm_eps,
    )
    scale = forward.config.query_scale
    attended = attention(q, keys, values, forward.positions, forward.sequences, scale=scale, window=window)
    return matmul(attended, forward.layer_weight(layer, "self_attn.o_proj"))


def gated_feed_forward(forward: Forward, layer: int, x: Tensor) -> Tensor:
    """x (rows, hidden_size), already normed -> (rows, hidden_size). Shazeer 2020."""
    gate = matmul(x, forward.layer_weight(layer, "mlp.gate_proj"))
    up = matmul(x, forward.layer_weight(layer, "mlp.up_proj"))
    hidden = glu(gate, up, activation=forward.config.hidden_activation)
    return matmul(hidden, forward.layer_weight(layer, "mlp.down_proj"))
