"""Rows of inputs rounded once for products of a few rows on wide devices: round_rows, and norm_round with a norm first.

A rounded tensor is (eights of rows, chunks of 32 columns, bytes of a chunk) u8, see shaders/include/rounded_rows.h:
integers of 16 bits with a scale for each row of a chunk.
"""

from __future__ import annotations

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops import add_rms_norm, rms_norm, sandwich_norm
from fastgo.ops.common import SIMD_WIDTH, WEIGHTS_PER_BLOCK, Array, ceil_div

ROWS = 8  # ROUNDED_ROWS of the shaders: weights are read once for so many
_CHUNK_NBYTES = 576  # ROUNDED_VECTORS of 16 bytes
_MOST_NORM_COLUMNS = 8192  # of norm_round: eight for each of 1024 threads
_NORM_COLUMNS_A_THREAD = 4


def rounded_output(x: Tensor) -> Tensor:
    """What takes the rounded form of x (rows, columns); columns are a multiple of 32."""
    rows, columns = x.shape
    return x.graph.output("rounded", (ceil_div(rows, ROWS), columns // WEIGHTS_PER_BLOCK, _CHUNK_NBYTES), "u8")


def round_rows(x: Tensor) -> Tensor:
    """The rounded form of x (rows, columns) float32; of one x it is made once."""
    for node in reversed(x.graph.nodes):
        if node.op is ROUND_ROWS and node.inputs["x"] is x:
            return node.outputs["rounded"]
    rounded = rounded_output(x)
    x.graph.add_node(ROUND_ROWS, {"x": x}, {"rounded": rounded})
    return rounded


def _lower(node: Node) -> list[KernelCall]:
    rows, columns = node.inputs["x"].shape
    buffers = {**node.inputs, **node.outputs}
    grid = (columns // WEIGHTS_PER_BLOCK, rows, 1)
    return [KernelCall("round_rows", buffers, {"columns": columns}, grid, (SIMD_WIDTH, 1, 1))]


def reference(x: Array) -> Array:
    """The inputs themselves: rounding is no more than an error of them."""
    return x


ROUND_ROWS = Op("round_rows", _lower, reference)


def may_norm(x: Tensor) -> bool:
    """Whether norm_round takes rows like those of x."""
    return x.shape[1] <= _MOST_NORM_COLUMNS


def _lower_norm(node: Node) -> list[KernelCall]:
    rows, columns = node.inputs["x"].shape
    threads = SIMD_WIDTH * min(32, ceil_div(columns, SIMD_WIDTH * _NORM_COLUMNS_A_THREAD))
    optional: dict[str, Tensor | None] = {"branch": None, "post_weight": None, "stream": None}
    constants = {
        "has_branch": "branch" in node.inputs,
        "has_post_norm": "post_weight" in node.inputs,
        "norm_columns": columns,
        "norm_threads": threads,
    }
    buffers = {**optional, **node.inputs, **node.outputs}
    return [KernelCall("norm_round", buffers, {"eps": node.eps}, (rows, 1, 1), (threads, 1, 1), constants)]


def norm_reference(
    x: Array, weight: Array, branch: Array | None = None, post_weight: Array | None = None, *, eps: float
) -> tuple[Array, Array]:
    """The stream and what is rounded."""
    if branch is None:
        return x, rms_norm.reference(x, weight, eps=eps)
    if post_weight is None:
        return add_rms_norm.reference(x, branch, weight, eps=eps)
    return sandwich_norm.reference(x, branch, post_weight, weight, eps=eps)


NORM_ROUND = Op("norm_round", _lower_norm, norm_reference)
