"""attention_split: attention with every variant, split over the context; attention_combine merges the parts.

Many rows on wide devices are not split but go in tiles of rows (attention_tile), with the same variants.

Soft cap (Gemma 2), sinks (gpt-oss), bidirectional blocks (Gemma 3's image tokens), log-sum-exp. Query heads that share
a key head read each key and value once.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fastgo.graph.dag import Graph, KernelCall, Node, Op, Tensor
from fastgo.ops import attention_tile
from fastgo.ops.common import SIMD_WIDTH, WEIGHTS_PER_BLOCK, Array, ceil_div

_HEAD_DIM_STEPS = (64, 128, 192, 256, 512)  # the shader's instantiations; a head uses the next larger one
_TILE_HEADS = 4  # query heads of a simdgroup, where a key head has several
_MAX_SPLITS = 32
_MATRIX_ROWS, _MATRIX_POSITIONS = 16, 16  # query heads and positions of attention_split_tile's matrices
_MATRIX_HEAD_DIMS, _MATRIX_DTYPES = (64, 128), ("f16", "bf16")
_MATRIX_SPLITS = 8
_PART, _WIDE_PART = 64, 32  # positions that are worth a part of their own; on wide devices


def attention_split(
    q: Tensor,
    k_cache: Tensor,
    v_cache: Tensor,
    positions: Tensor,
    sequences: Tensor,
    *,
    scale: float,
    window: int,
    soft_cap: float = 0.0,
    sinks: Tensor | None = None,
    blocks: Tensor | None = None,
    splits: int | None = None,
    may_round: bool = False,
) -> tuple[Tensor, Tensor]:
    """q (rows, heads * head_dim) float32, caches (num_sequences, kv_heads, capacity, head_dim) of any cache format.

    Returns y like q, and the log-sum-exp of the scores (rows, heads) float32. Row r sees the positions (positions[r] -
    window, positions[r]] of sequence sequences[r], window 0: all from the start, and those of blocks[r] = [begin, end)
    (rows, 2) int32, which holds its own position or is empty. `soft_cap` 0 is none. `sinks` (heads,) float32.
    `splits`: into how many parts the context is cut, by default as many as fit the capacity or window, or as
    `attention_tile` has it. `may_round`: queries and weights may be rounded to the caches' type, at most 16 rows, for
    matrix units.
    Raises ValueError for a head_dim that there is no kernel for.
    """
    head_dim, rows = k_cache.shape[3], q.shape[0]
    heads = q.shape[1] // head_dim
    if head_dim > _HEAD_DIM_STEPS[-1]:
        raise ValueError(f"head_dim {head_dim} is larger than attention_split's {_HEAD_DIM_STEPS[-1]}")
    inputs = {"q": q, "k_cache": k_cache, "v_cache": v_cache, "positions": positions, "sequences": sequences}
    inputs |= {name: tensor for name, tensor in (("sinks", sinks), ("blocks", blocks)) if tensor is not None}
    if splits is None and attention_tile.suits(q, k_cache):
        outputs = {"log_sum_exp": q.graph.output("attention_log_sum_exp", (rows, heads))}
        outputs["y"] = q.graph.output("attention", q.shape)
        q.graph.add_node(ATTENTION_SPLIT, inputs, outputs, scale=scale, window=window, soft_cap=soft_cap)
        return outputs["y"], outputs["log_sum_exp"]
    on_matrices = may_round and _fits_matrices(k_cache, soft_cap, blocks)
    if splits is None:
        span = min(k_cache.shape[2], window) if window and blocks is None else k_cache.shape[2]
        splits = min(_MAX_SPLITS, ceil_div(span, _WIDE_PART if q.graph.parallel_width > 1 else _PART))
        if on_matrices:
            splits = min(_MATRIX_SPLITS, ceil_div(span, _MATRIX_POSITIONS))
    outputs = {**part_outputs(q.graph, rows, heads, splits, head_dim), "y": q.graph.output("attention", q.shape)}
    q.graph.add_node(
        ATTENTION_SPLIT, inputs, outputs, scale=scale, window=window, soft_cap=soft_cap, on_matrices=on_matrices
    )
    return outputs["y"], outputs["log_sum_exp"]


def _fits_matrices(k_cache: Tensor, soft_cap: float, blocks: Tensor | None) -> bool:
    """Whether attention_split_tile can do it."""
    is_plain = soft_cap == 0.0 and blocks is None
    fits = k_cache.shape[3] in _MATRIX_HEAD_DIMS and k_cache.dtype in _MATRIX_DTYPES
    return k_cache.graph.parallel_width > 1 and is_plain and fits


def part_outputs(graph: Graph, rows: int, heads: int, splits: int, head_dim: int) -> dict[str, Tensor]:
    """What the parts leave for attention_combine, and what it leaves besides y."""
    return {
        "partial": graph.output("attention_partial", (rows, heads, splits, head_dim)),
        "bests": graph.output("attention_bests", (rows, heads, splits)),
        "totals": graph.output("attention_totals", (rows, heads, splits)),
        "log_sum_exp": graph.output("attention_log_sum_exp", (rows, heads)),
    }


def _part_call(
    node: Node,
    kernel: str,
    heads: int,
    arguments: dict[str, int | float],
    constants: dict[str, bool | int | float],
) -> KernelCall:
    """The call for all parts; `heads` of a key head's queries go in a simdgroup. `arguments`: of this form only."""
    num_sequences, kv_heads, capacity, _ = node.inputs["k_cache"].shape
    rows, all_heads, splits, _ = node.outputs["partial"].shape
    reads = {name: node.inputs[name] for name in ("q", "k_cache", "v_cache", "positions", "sequences")}
    parts = {name: node.outputs[name] for name in ("partial", "bests", "totals")}
    return KernelCall(
        kernel,
        {**reads, **parts},
        {
            "num_sequences": num_sequences,
            "heads": all_heads,
            "kv_heads": kv_heads,
            "capacity": capacity,
            "window": node.window,
            "splits": splits,
            "scale": node.scale,
            **arguments,
        },
        (kv_heads * ceil_div(all_heads // kv_heads, heads), rows, splits),
        (SIMD_WIDTH, 1, 1),
        constants,
    )


def _lower(node: Node) -> list[KernelCall]:
    if "partial" not in node.outputs:
        return [attention_tile.tile_call(node, node.soft_cap)]
    k_cache = node.inputs["k_cache"]
    head_dim = k_cache.shape[3]
    rows, heads = node.outputs["partial"].shape[:2]
    if node.on_matrices:
        kernel = f"attention_split_tile_{k_cache.dtype}_d{head_dim}"
        call = _part_call(node, kernel, _MATRIX_ROWS, {}, {"pass_rows": rows})
    else:
        step = next(s for s in _HEAD_DIM_STEPS if s >= head_dim)
        together = 1 if heads == k_cache.shape[1] else _TILE_HEADS
        kernel = f"attention_split_{k_cache.dtype}_d{step}_h{together}"
        arguments = {"head_dim": head_dim, "soft_cap": node.soft_cap}
        call = _part_call(node, kernel, together, arguments, {"has_blocks": "blocks" in node.inputs})
        call = replace(call, buffers={**call.buffers, "blocks": node.inputs.get("blocks")})
    return [call, combine_call(node, node.inputs.get("sinks"))]


def has_whole_chunks(node: Node) -> bool:
    """Whether attention_combine makes it, and may round it for products: a head is whole chunks of 32 elements."""
    return "partial" in node.outputs and node.inputs["k_cache"].shape[3] % WEIGHTS_PER_BLOCK == 0


def combine_call(node: Node, sinks: Tensor | None = None) -> KernelCall:
    """attention_combine over a node's outputs `partial`, `bests` and `totals`."""
    rows, heads, splits, head_dim = node.outputs["partial"].shape
    parts = {name: node.outputs[name] for name in ("partial", "bests", "totals", "log_sum_exp")}
    whole = {name: node.outputs.get(name) for name in ("y", "rounded")}
    simdgroups = ceil_div(head_dim, SIMD_WIDTH) if parts["partial"].graph.parallel_width > 1 else 1
    return KernelCall(
        "attention_combine",
        {**parts, **whole, "sinks": sinks},
        {"heads": heads, "head_dim": head_dim, "splits": splits},
        (heads, rows, 1),
        (simdgroups * SIMD_WIDTH, 1, 1),
        {"has_sinks": sinks is not None, "rounds_output": whole["rounded"] is not None},
    )


def reference(
    q: Array,
    k_cache: Array,
    v_cache: Array,
    positions: Array,
    sequences: Array,
    sinks: Array | None = None,
    blocks: Array | None = None,
    *,
    scale: float,
    window: int,
    soft_cap: float = 0.0,
) -> tuple[Array, Array]:
    """The naive form: all scores, masked, in one softmax. Returns y and the log-sum-exp."""
    _, kv_heads, capacity, head_dim = k_cache.shape
    heads = q.reshape(q.shape[0], -1, head_dim)
    group = heads.shape[1] // kv_heads
    keys, values = (np.repeat(cache[sequences], group, axis=1) for cache in (k_cache, v_cache))
    scores = np.einsum("rhd,rhcd->rhc", heads, keys) * scale
    if soft_cap:
        scores = soft_cap * np.tanh(scores / soft_cap)
    cached, own = np.arange(capacity)[None, :], positions[:, None]
    visible = cached <= own
    if window:
        visible &= cached > own - window
    if blocks is not None:
        visible |= (cached >= blocks[:, :1]) & (cached < blocks[:, 1:])
    scores = np.where(visible[:, None, :], scores, -np.inf)
    if sinks is not None:
        scores = np.concatenate([scores, np.broadcast_to(sinks[None, :, None], (*scores.shape[:2], 1))], axis=-1)
    best = scores.max(axis=-1, keepdims=True)
    weights = np.exp(scores - best)
    total = weights.sum(axis=-1, keepdims=True)
    y = np.einsum("rhc,rhcd->rhd", (weights / total)[..., :capacity], np.nan_to_num(values))
    return np.asarray(y.reshape(q.shape)), np.asarray((best + np.log(total))[..., 0])


ATTENTION_SPLIT = Op("attention_split", _lower, reference)
