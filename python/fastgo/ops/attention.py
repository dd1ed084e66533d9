"""attention: causal scaled dot-product attention over the KV cache, with grouped heads and a sliding window."""

from __future__ import annotations

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.attention_split import attention_split
from fastgo.ops.common import SIMD_WIDTH, Array, ceil_div

_SIMDGROUPS = 4  # SIMDGROUPS of the shader
_TILE_ROWS, _TILE_THREADS = 64, 128  # of attention_tile
_TILE_HEAD_DIMS = (64, 128, 256)
_TILE_DTYPES = ("f16", "bf16")
_FEWEST_TILE_ROWS = 17
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
    is_split = q.graph.parallel_width > 1 and 1 < rows < _FEWEST_TILE_ROWS
    if head_dim > _HEAD_DIM_STEPS[-1] or is_split:
        return attention_split(q, k_cache, v_cache, positions, sequences, scale=scale, window=window)[0]
    y = q.graph.output("attention", q.shape)
    inputs = {"q": q, "k_cache": k_cache, "v_cache": v_cache, "positions": positions, "sequences": sequences}
    q.graph.add_node(ATTENTION, inputs, {"y": y}, scale=scale, window=window)
    return y


def _tile_call(node: Node) -> KernelCall | None:
    """The call of the form on matrix units, where the device is wide and rows, cache and heads suit it."""
    q, k_cache = node.inputs["q"], node.inputs["k_cache"]
    num_sequences, kv_heads, capacity, head_dim = k_cache.shape
    rows, width = q.shape
    if q.graph.parallel_width == 1 or rows < _FEWEST_TILE_ROWS:
        return None
    if k_cache.dtype not in _TILE_DTYPES or head_dim not in _TILE_HEAD_DIMS:
        return None
    arguments = {
        "rows": rows,
        "num_sequences": num_sequences,
        "heads": width // head_dim,
        "kv_heads": kv_heads,
        "capacity": capacity,
        "window": node.window,
        "scale": node.scale,
    }
    return KernelCall(
        f"attention_tile_{k_cache.dtype}_d{head_dim}",
        {**node.inputs, **node.outputs},
        arguments,
        (width // head_dim, ceil_div(rows, _TILE_ROWS), 1),
        (_TILE_THREADS, 1, 1),
    )


def _lower(node: Node) -> list[KernelCall]:
    if (tile := _tile_call(node)) is not None:
        return [tile]
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
