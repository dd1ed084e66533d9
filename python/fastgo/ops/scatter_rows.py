"""scatter_rows: writes rows of one tensor to given rows of another, in place."""

from __future__ import annotations

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import Array, ceil_div

_THREADS = 256


def scatter_rows(x: Tensor, rows: Tensor, y: Tensor) -> Tensor:
    """x (count, columns) float32, rows (count,) int32; returns y (y_rows, columns) float32 after y[rows[r]] = x[r].

    A row outside of y is left out; which of several equal rows stays is open. Raises ValueError unless x and y are
    dense and of as many columns.
    """
    if x.shape[1] != y.shape[1] or x.shape[0] != rows.shape[0] or not x.is_contiguous or not y.is_contiguous:
        raise ValueError(f"can't scatter {x.name} {x.shape} by {rows.shape[0]} rows into {y.name} {y.shape}")
    out = x.graph.alias(y)
    # What stays of y is read in effect: its writer must not be taken for dead.
    x.graph.add_node(SCATTER_ROWS, {"x": x, "rows": rows, "y": y}, {"y": out})
    return out


def _lower(node: Node) -> list[KernelCall]:
    count, columns = node.inputs["x"].shape
    arguments = {"columns": columns, "y_rows": node.outputs["y"].shape[0]}
    grid = (ceil_div(columns, _THREADS), count, 1)
    return [KernelCall("scatter_rows", {**node.inputs, **node.outputs}, arguments, grid, (_THREADS, 1, 1))]


def reference(x: Array, rows: Array, y: Array) -> Array:
    result = np.array(y)
    inside = (rows >= 0) & (rows < y.shape[0])
    result[rows[inside]] = x[inside]
    return result


SCATTER_ROWS = Op("scatter_rows", _lower, reference)
