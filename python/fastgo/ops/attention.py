"""attention: causal scaled dot-product attention over the KV cache, with grouped heads and a sliding window."""

from __future__ import annotations

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops import attention_tile
from fastgo.ops.attention_split import attention_split
from fastgo.ops.common import SIMD_WIDTH, Array, bfloat_output

_SIMDGROUPS = 4  # SIMDGROUPS of the shader
_HEAD_DIM_STEPS = (32, 64, 128, 256)  # the shader's instantiations; a head uses the next larger one


def attention(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, positions: Tensor, sequences: Tensor, *, scale: float, window: int
) -> Tensor:
    """q (rows, heads * head_dim) float32, caches (num_sequences, kv_heads, capacity, head_dim) -> like q.

    Larger heads go to attention_split, which has every other variant too, and so do a few rows on wide devices.
    Row r sees the positions (positions[r] - window, positions[r]] of sequence sequences[r]; window 0 means all from the
    start.
    """
    head_dim, rows = k_cache.shape[3], q.shape[0]
    is_split = q.graph.parallel_width > 1 and 1 < rows < attention_tile.FEWEST_ROWS
    if head_dim > _HEAD_DIM_STEPS[-1] or is_split:
        cached = (k_cache, v_cache, positions, sequences)
        return attention_split(q, *cached, scale=scale, window=window, may_round=is_split)[0]
    y = q.graph.output("attention", q.shape)
    inputs = {"q": q, "k_cache": k_cache, "v_cache": v_cache, "positions": positions, "sequences": sequences}
    q.graph.add_node(ATTENTION, inputs, {"y": y}, scale=scale, window=window)
    return y


def _lower(node: Node) -> list[KernelCall]:
    if attention_tile.suits(node.inputs["q"], node.inputs["k_cache"]):
        return [attention_tile.tile_call(node)]
    k_cache = node.inputs["k_cache"]
    num_sequences, kv_heads, capacity, head_dim = k_cache.shape
    rows, width = node.inputs["q"].shape
    heads = width // head_dim
    step = next(s for s in _HEAD_DIM_STEPS if s >= head_dim)
    arguments = {
        "num_sequences": num_sequences,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "capacity": capacity,
        "window": node.window,
        "scale": node.scale,
    }
    return [
        KernelCall(
            f"attention_{k_cache.dtype}_d{step}",
            {**node.inputs, **node.outputs},
            arguments,
            (heads, rows, 1),
            (_SIMDGROUPS * SIMD_WIDTH, 1, 1),
            bfloat_output(node),
        )
    ]


def reference(
    q: Array, k_cache: Array, v_cache: Array, positions: Array, sequences: Array, *, scale: float, window: int
) -> Array:
    _, kv_heads, capacity, head_dim = k_cache.shape
    rows = q.shape[0]
    heads = q.reshape(rows, -1, head_dim)
    group = heads.shape[1] // kv_heads
    keys, values = (np.repeat(cache[sequences], group, axis=1) for cache in (k_cache, v_cache))
    scores = np.einsum("rhd,rhcd->rhc", heads, keys) * scale
    cache_positions = np.arange(capacity)
    visible = cache_positions[None, :] <= positions[:, None]
    if window:
        visible &= cache_positions[None, :] > positions[:, None] - window
    scores = np.where(visible[:, None, :], scores, -np.inf)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.asarray(np.einsum("rhc,rhcd->rhd", weights, values).reshape(q.shape))


ATTENTION = Op("attention", _lower, reference)
