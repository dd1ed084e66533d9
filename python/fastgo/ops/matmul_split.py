"""matmul_split: matmul of many rows and few outputs, its columns shared out among threadgroups; matmul_sum adds up.

Made of a matmul by the pass of the same name, for wide devices only.
"""

from __future__ import annotations

from fastgo.graph.dag import KernelCall, Node, Op
from fastgo.ops.common import WEIGHTS_PER_BLOCK, bfloat_input, ceil_div, finish, plane_offsets, weight_kernel
from fastgo.ops.matmul import MANY_ROWS, reference

_SIDE = 64  # rows and outputs of a threadgroup
_MOST_PARTS = 8
_PART_COLUMNS = 256  # that are worth a part of their own; with so many parts none of them is empty
_SUM_THREADS = 256


def parts_of(product: Node) -> int:
    """Into how many parts to cut a matmul's columns: as many as keep all cores busy, 1 where its tiles do so."""
    weight, (rows, columns) = product.inputs["weight"], product.inputs["x"].shape
    if rows < MANY_ROWS or weight.dtype == "f32":
        return 1
    tiles = ceil_div(rows, _SIDE) * ceil_div(weight.shape[0], _SIDE)
    return max(1, min(weight.graph.parallel_width // tiles, _MOST_PARTS, columns // _PART_COLUMNS))


def split(product: Node, parts: int) -> Node:
    """The node that takes a matmul's place."""
    y = product.outputs["y"]
    partial = y.graph.output("matmul_partial", (parts, *y.shape))
    return Node(MATMUL_SPLIT, product.inputs, {"y": y, "partial": partial}, product.attributes)


def _lower(node: Node) -> list[KernelCall]:
    weight, partial, y = node.inputs["weight"], node.outputs["partial"], node.outputs["y"]
    (rows, columns), outputs, parts = node.inputs["x"].shape, weight.shape[0], partial.shape[0]
    arguments = {
        "rows": rows,
        "outputs": outputs,
        "columns": columns,
        "part_columns": ceil_div(ceil_div(columns, parts), WEIGHTS_PER_BLOCK) * WEIGHTS_PER_BLOCK,
        "planes": plane_offsets(weight),
    }
    buffers, constants = finish(node)
    return [
        KernelCall(
            weight_kernel("matmul_split", weight),
            {"weight": weight, "x": node.inputs["x"], "partial": partial},
            arguments,
            (ceil_div(rows, _SIDE), ceil_div(outputs, _SIDE), parts),
            (2 * _SIDE, 1, 1),
            bfloat_input(node),
        ),
        KernelCall(
            "matmul_sum",
            {"partial": partial, "y": y, **buffers},
            {"rows": rows, "outputs": outputs, "parts": parts},
            (ceil_div(outputs, _SUM_THREADS), rows, 1),
            (_SUM_THREADS, 1, 1),
            constants,
        ),
    ]


MATMUL_SPLIT = Op("matmul_split", _lower, reference)
