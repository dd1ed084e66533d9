"""rope_cache: per-head norm of Q and K, rotary embedding, and the write of K and V into the cache.

Su et al. 2021. Of a head the first rotary_dim elements rotate, in the halves layout of GPT-NeoX and transformers (i
pairs with i + rotary_dim / 2) or in the paper's own, interleaved (2i pairs with 2i + 1).
"""

from __future__ import annotations

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor, scale_group
from fastgo.ops import rms_norm
from fastgo.ops.cache_format import INT4_HEAD_MULTIPLE
from fastgo.ops.common import SIMD_WIDTH, Array, ceil_div

_WIDE_SIMDGROUPS = 8  # heads of a threadgroup where several rows are to fill a wide device

_MAX_HEAD_DIM = 512  # MAX_HEAD_DIM of the shader


def rope_cache(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    frequencies: Tensor,
    positions: Tensor,
    sequences: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    *,
    q_weight: Tensor | None = None,
    k_weight: Tensor | None = None,
    eps: float = 0.0,
    is_interleaved: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """q (rows, heads * head_dim), k and v (rows, kv_heads * head_dim) float32; frequencies (rotary_dim / 2,) float32.

    Returns the rotated q and the caches (num_sequences, kv_heads, capacity, head_dim) after the write at `sequences`
    and `positions`, both (rows,) int32.
    With `q_weight` and `k_weight` (head_dim,) each head is RMS-normed first. Raises ValueError for more pairs than a
    head has, heads that are too large, and heads that can't be in an int4 cache.
    """
    graph = q.graph
    if k_cache.shape[3] > _MAX_HEAD_DIM or (k_cache.dtype == "int4" and k_cache.shape[3] % INT4_HEAD_MULTIPLE != 0):
        raise ValueError(f"heads of {k_cache.shape[3]} elements can't be cached in {k_cache.dtype}")
    if 2 * frequencies.shape[0] > k_cache.shape[3]:
        raise ValueError(f"{frequencies.shape[0]} pairs can't rotate in heads of {k_cache.shape[3]} elements")
    inputs = {"q": q, "k": k, "v": v, "frequencies": frequencies, "positions": positions, "sequences": sequences}
    if q_weight is not None and k_weight is not None:
        inputs |= {"q_weight": q_weight, "k_weight": k_weight}
    outputs = {
        "q_out": graph.output("rope_cache", q.shape),
        "k_cache": graph.alias(k_cache),
        "v_cache": graph.alias(v_cache),
    }
    graph.add_node(ROPE_CACHE, inputs, outputs, eps=eps, is_interleaved=is_interleaved)
    return outputs["q_out"], outputs["k_cache"], outputs["v_cache"]


def _lower(node: Node) -> list[KernelCall]:
    num_sequences, kv_heads, capacity, head_dim = node.outputs["k_cache"].shape
    rows = node.inputs["q"].shape[0]
    heads = node.inputs["q"].shape[1] // head_dim
    has_head_norm = "q_weight" in node.inputs
    simdgroups = _WIDE_SIMDGROUPS if node.inputs["q"].graph.parallel_width > 1 and rows > 1 else 1
    buffers: dict[str, Tensor | None] = {"q_weight": None, "k_weight": None, **node.inputs, **node.outputs}
    arguments = {
        "num_sequences": num_sequences,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "rotary_dim": 2 * node.inputs["frequencies"].shape[0],
        "capacity": capacity,
        "eps": node.eps,
    }
    return [
        KernelCall(
            f"rope_cache_{node.outputs['k_cache'].dtype}",
            buffers,
            arguments,
            (ceil_div(heads + 2 * kv_heads, simdgroups), rows, 1),
            (simdgroups * SIMD_WIDTH, 1, 1),
            {"has_head_norm": has_head_norm, "is_interleaved": node.is_interleaved},
        )
    ]


def rotate(x: Array, frequencies: Array, positions: Array, is_interleaved: bool) -> Array:
    """Rotary embedding of x (rows, heads, head_dim)."""
    half = frequencies.size
    a = np.arange(0, 2 * half, 2) if is_interleaved else np.arange(half)
    b = a + (1 if is_interleaved else half)
    angles = positions[:, None, None] * frequencies
    cos, sin = np.cos(angles), np.sin(angles)
    rotated = np.array(x)
    rotated[..., a] = x[..., a] * cos - x[..., b] * sin
    rotated[..., b] = x[..., b] * cos + x[..., a] * sin
    return rotated


def int8_rows(x: Array) -> tuple[Array, Array]:
    """What an int8 cache keeps of the rows x (..., head_dim): integers from -127 to 127, scales (...,) float16.

    A scale is the largest magnitude over 127, rounded up, so that elements are off by half a step at most.
    """
    return _integer_rows(x, 127)


def int4_rows(x: Array) -> tuple[Array, Array]:
    """What an int4 cache keeps of the rows x (..., head_dim): integers from -7 to 7 in int8, scales (..., groups)."""
    integers, scales = _integer_rows(x.reshape(*x.shape[:-1], -1, scale_group(x.shape[-1])), 7)
    return integers.reshape(x.shape), scales


def _integer_rows(x: Array, most: int) -> tuple[Array, Array]:
    steps = np.abs(x).max(axis=-1) / most
    nearest = steps.astype(np.float16)
    scales = np.where(nearest < steps, np.nextafter(nearest, np.float16(np.inf)), nearest)
    inverse = np.divide(1.0, scales, out=np.zeros(scales.shape), where=scales > 0)
    return np.rint(x * inverse[..., None]).astype(np.int8), scales


def reference(
    q: Array,
    k: Array,
    v: Array,
    frequencies: Array,
    positions: Array,
    sequences: Array,
    k_cache: Array,
    v_cache: Array,
    *,
    q_weight: Array | None = None,
    k_weight: Array | None = None,
    eps: float = 0.0,
    is_interleaved: bool = False,
) -> tuple[Array, Array, Array]:
    """The rotated q and the new caches, nothing of them rounded to the caches' format."""
    _, kv_heads, _, head_dim = k_cache.shape
    rows = q.shape[0]
    q_heads, k_heads = q.reshape(rows, -1, head_dim), k.reshape(rows, kv_heads, head_dim)
    if q_weight is not None and k_weight is not None:
        q_heads = rms_norm.reference(q_heads, q_weight, eps=eps)
        k_heads = rms_norm.reference(k_heads, k_weight, eps=eps)
    new_k, new_v = k_cache.copy(), v_cache.copy()
    new_k[sequences, :, positions] = rotate(k_heads, frequencies, positions, is_interleaved)
    new_v[sequences, :, positions] = v.reshape(rows, kv_heads, head_dim)
    rotated = rotate(q_heads, frequencies, positions, is_interleaved)
    return rotated.reshape(q.shape), new_k, new_v


ROPE_CACHE = Op("rope_cache", _lower, reference)
