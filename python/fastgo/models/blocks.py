"""The two branches of a decoder layer that all architectures share: grouped-query attention and gated feed-forward."""

from __future__ import annotations

from fastgo.graph.dag import Tensor
from fastgo.models.forward import Forward
from fastgo.ops.attention import attention
from fastgo.ops.glu import glu
from fastgo.ops.matmul import matmul
from fastgo.ops.moe_combine import moe_combine
from fastgo.ops.moe_matmul import moe_matmul
from fastgo.ops.moe_route import moe_route
from fastgo.ops.rope_cache import rope_cache


def grouped_query_attention(
    forward: Forward, layer: int, x: Tensor, *, rope: Tensor, has_head_norm: bool = False
) -> Tensor:
    """x (rows, hidden_size), already normed -> (rows that are read later, hidden_size). Ainslie et al. 2023.

    `has_head_norm`: q and k heads are RMS-normed before the rotary embedding.
    """
    config = forward.config
    q, k, v = forward.project_all(layer, ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), x)
    q, keys, values = rope_cache(
        q,
        k,
        v,
        rope,
        forward.positions,
        forward.sequences,
        forward.cache[layer].keys,
        forward.cache[layer].values,
        q_weight=forward.layer_weight(layer, "self_attn.q_norm") if has_head_norm else None,
        k_weight=forward.layer_weight(layer, "self_attn.k_norm") if has_head_norm else None,
        eps=config.rms_norm_eps,
    )
    scale, window = config.attention_scale, config.window(layer)
    q, positions, sequences = (
        forward.read_later(layer, tensor) for tensor in (q, forward.positions, forward.sequences)
    )
    attended = attention(q, keys, values, positions, sequences, scale=scale, window=window)
    return forward.project(layer, "self_attn.o_proj", attended)


def gated_feed_forward(forward: Forward, layer: int, x: Tensor) -> Tensor:
    """x (rows, hidden_size), already normed -> (rows, hidden_size). Shazeer 2020."""
    gate, up = forward.project_all(layer, ("mlp.gate_proj", "mlp.up_proj"), x)
    hidden = glu(gate, up, activation=forward.config.hidden_activation)
    return forward.project(layer, "mlp.down_proj", hidden)


def mixture_of_experts(forward: Forward, layer: int, x: Tensor) -> Tensor:
    """x (rows, hidden_size), already normed -> (rows, hidden_size). Shazeer et al. 2017.

    A token's feed-forward network is the sum of those of its best experts, weighted by the router's softmax.
    """
    config = forward.config
    router = matmul(x, forward.layer_weight(layer, "mlp.gate"))
    routing = moe_route(router, top_k=config.num_experts_per_tok, normalise=config.norm_topk_prob)
    gate = moe_matmul(x, forward.layer_weight(layer, "mlp.experts.gate_proj"), routing)
    up = moe_matmul(x, forward.layer_weight(layer, "mlp.experts.up_proj"), routing)
    hidden = glu(gate, up, activation=config.hidden_activation)
    return moe_combine(moe_matmul(hidden, forward.layer_weight(layer, "mlp.experts.down_proj"), routing), routing)
