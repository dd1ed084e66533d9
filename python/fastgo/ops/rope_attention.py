"""rope_attention: rope_cache and attention of one row in one stage. Made by the fusion pass of the same name."""

from __future__ import annotations

from fastgo.graph.dag import Graph, KernelCall, Node, Op, Tensor
from fastgo.ops import attention, rope_cache
from fastgo.ops.attention_split import combine_call, part_outputs
from fastgo.ops.common import SIMD_WIDTH, Array, ceil_div

HEAD_DIMS = (64, 128, 256)  # the shader's instantiations
_DTYPES = ("f32", "f16", "bf16", "int8", "int4")  # of the caches
_SIMDGROUPS = 4  # SIMDGROUPS of the shader
_SPLIT_SIMDGROUPS = 16  # SIMDGROUPS of rope_attention_split
_MAX_SPLITS, _PART = 16, 64  # parts of the context, and positions that are worth one: all simdgroups take four


def has_kernel(k_cache: Tensor) -> bool:
    """Whether there is a kernel for this cache."""
    return k_cache.dtype in _DTYPES and k_cache.shape[3] in HEAD_DIMS


def split_outputs(graph: Graph, heads: int, head_dim: int, span: int) -> dict[str, Tensor]:
    """What the form for wide devices writes besides the caches and y, which it may leave to combine_matmul.

    `span`: how many positions a row sees at most.
    """
    if graph.parallel_width == 1:
        return {}
    splits = max(1, min(_MAX_SPLITS, graph.parallel_width // heads, ceil_div(span, _PART)))
    return part_outputs(graph, 1, heads, splits, head_dim)


def _lower_split(node: Node, arguments: dict[str, object], constants: dict[str, bool]) -> list[KernelCall]:
    k_cache = node.outputs["k_cache"]
    _, heads, splits, head_dim = node.outputs["partial"].shape
    written = {name: node.outputs[name] for name in ("k_cache", "v_cache", "partial", "bests", "totals")}
    buffers: dict[str, Tensor | None] = {"q_weight": None, "k_weight": None, **node.inputs, **written}
    kernel, threads = f"rope_attention_split_{k_cache.dtype}_d{head_dim}", (_SPLIT_SIMDGROUPS * SIMD_WIDTH, 1, 1)
    call = KernelCall(kernel, buffers, {**arguments, "splits": splits}, (heads, splits, 1), threads, constants)
    return [call, combine_call(node)] if "y" in node.outputs else [call]


def _lower(node: Node) -> list[KernelCall]:
    k_cache = node.outputs["k_cache"]
    num_sequences, kv_heads, capacity, head_dim = k_cache.shape
    heads = node.inputs["q"].shape[1] // head_dim
    buffers: dict[str, Tensor | None] = {"q_weight": None, "k_weight": None, **node.inputs, **node.outputs}
    arguments: dict[str, object] = {
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
    if "partial" in node.outputs:
        return _lower_split(node, arguments, constants)
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
