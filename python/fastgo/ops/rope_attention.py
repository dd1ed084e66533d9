"""rope_attention: rope_cache and attention of one row in one stage. Made by the fusion pass of the same name."""

from __future__ import annotations

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops import attention, rope_cache
from fastgo.ops.common import SIMD_WIDTH, Array

HEAD_DIMS = (64, 128, 256)  # the shader's instantiations
DTYPES = ("f32", "f16")  # of the caches
_SIMDGROUPS = 4  # SIMDGROUPS of the shader


def _lower(node: Node) -> list[KernelCall]:
    k_cache = node.outputs["k_cache"]
    num_sequences, kv_heads, capacity, head_dim = k_cache.shape
    heads = node.inputs["q"].shape[1] // head_dim
    buffers: dict[str, Tensor | None] = {"q_weight": None, "k_weight": None, **node.inputs, **node.outputs}
    arguments = {
        "num_sequences": num_sequences,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": head_dim,
        "capacity": capacity,
        "window": node.window,
        "scale": node.scale,
        "eps": node.eps,
    }
    kernel, constants = f"rope_attention_{k_cache.dtype}_d{head_dim}", {"has_head_norm": "q_weight" in node.inputs}
    return [KernelCall(kernel, buffers, arguments, (heads, 1, 1), (_SIMDGROUPS * SIMD_WIDTH, 1, 1), constants)]


def reference(
    q: Array,
    k: Array,
    v: Array,
    frequencies: Array,
    positions: Array,
    sequences: Array,
    k_cache: Array,
    v_cache: Array,
    q_weight: Array | None = None,
    k_weight: Array | None = None,
    *,
    scale: float,
    window: int,
    eps: float,
) -> tuple[Array, Array, Array]:
    """The new caches, and y like q."""
    rotated, keys, values = rope_cache.reference(
        q, k, v, frequencies, positions, sequences, k_cache, v_cache, q_weight=q_weight, k_weight=k_weight, eps=eps
    )
    y = attention.reference(rotated, keys, values, positions, sequences, scale=scale, window=window)
    return keys, values, y


ROPE_ATTENTION = Op("rope_attention", _lower, reference)
