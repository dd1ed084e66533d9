"""exact_head: the largest logits of an 8-bit output head, exactly, mostly from half of its bytes.

Rows that can't be among the `wanted` largest get NOT_FINISHED; the logits of all others have the bits that `matmul`
gives. docs/exact_head.md tells how.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastgo.assets import head_index
from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import SIMD_WIDTH, Array, ceil_div, plane_offsets

NOT_FINISHED = -3.0e38  # HEAD_NOT_FINISHED of shaders/include/head_args.h
GROUP = 256  # HEAD_GROUP: rows of which one is a candidate for the threshold
_THREADS = (8 * SIMD_WIDTH, 1, 1)
_REACH_VALUES = 2


@dataclass(frozen=True)
class IndexTensors:
    """assets/head_index.py's arrays as tensors of a graph."""

    tiles: Tensor
    basis: Tensor
    norms: Tensor


def exact_head(x: Tensor, weight: Tensor, index: IndexTensors, wanted: Tensor) -> Tensor:
    """(1, columns) float32, (vocab_size, columns) q8_0 -> (1, vocab_size) float32.

    `wanted` (1,) uint32 is how many of the largest logits are needed; 0, or more than one for each GROUP rows: all.
    Raises ValueError for other formats and shapes.
    """
    vocab_size, columns = weight.shape
    directions = index.basis.shape[0]
    fits = index.tiles.shape == (head_index.tiles_nbytes(vocab_size, columns, directions),) and columns % 64 == 0
    if x.shape != (1, columns) or weight.dtype != "q8_0" or not fits:
        raise ValueError(f"no exact head of {x.name} {x.shape} with {weight.name} {weight.shape} {weight.dtype}")
    graph, groups = x.graph, ceil_div(vocab_size, GROUP)
    outputs = {
        "projection": graph.output("head_projection", (directions + _REACH_VALUES,)),
        "upper": graph.output("head_upper", (groups * GROUP,)),
        "scores": graph.output("head_scores", (groups,)),
        "ids": graph.output("head_ids", (groups,), "u32"),
        "threshold": graph.output("head_threshold", (1,)),
        "logits": graph.output("logits", (1, vocab_size)),
    }
    inputs = {"x": x, "weight": weight, "wanted": wanted, **vars(index)}
    graph.add_node(EXACT_HEAD, inputs, outputs)
    return outputs["logits"]


def _lower(node: Node) -> list[KernelCall]:
    weight = node.inputs["weight"]
    vocab_size, columns = weight.shape
    groups = ceil_div(vocab_size, GROUP)
    arguments = {
        "vocab_size": vocab_size,
        "columns": columns,
        "directions": node.inputs["basis"].shape[0],
        "groups": groups,
        "planes": plane_offsets(weight),
    }
    tensors = {**node.inputs, **node.outputs}
    buffers = {
        "head_project": ("basis", "norms", "x", "projection"),
        "head_high": ("wanted", "tiles", "x", "projection", "upper", "scores", "ids"),
        "head_threshold": ("wanted", "weight", "x", "scores", "ids", "threshold"),
        "head_finish": ("weight", "x", "upper", "threshold", "logits"),
    }
    is_by_group = {"head_high", "head_finish"}
    return [
        KernelCall(
            kernel, {n: tensors[n] for n in names}, arguments, (groups if kernel in is_by_group else 1, 1, 1), _THREADS
        )
        for kernel, names in buffers.items()
    ]


def reference(x: Array, weight: Array, wanted: int) -> Array:
    """With the dequantised weight; only the `wanted` largest (0: all) are kept."""
    logits = np.asarray(x @ weight.T)
    if wanted:
        logits[logits < np.sort(logits, axis=1)[:, -wanted, None]] = NOT_FINISHED
    return logits


EXACT_HEAD = Op("exact_head", _lower, reference)
