"""transpose_2d: the last two dimensions exchanged, as a dense tensor. `copy` does any other order, more slowly."""

from __future__ import annotations

import math

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import Array, ceil_div

_TILE = 32  # TILE and THREAD_ROWS of the shader
_THREAD_ROWS = 8


def transpose_2d(x: Tensor) -> Tensor:
    """(..., rows, columns) -> (..., columns, rows), dense float32."""
    if len(x.shape) < 2 or not x.is_contiguous:
        raise ValueError(f"transpose_2d takes a dense tensor of two or more dimensions, got {x.name} {x.shape}")
    y = x.graph.output("transpose_2d", (*x.shape[:-2], x.shape[-1], x.shape[-2]))
    x.graph.add_node(TRANSPOSE_2D, {"x": x}, {"y": y})
    return y


def _lower(node: Node) -> list[KernelCall]:
    *batch, rows, columns = node.inputs["x"].shape
    grid = (ceil_div(columns, _TILE), ceil_div(rows, _TILE), math.prod(batch))
    arguments = {"rows": rows, "columns": columns}
    return [KernelCall("transpose_2d", {**node.inputs, **node.outputs}, arguments, grid, (_TILE, _THREAD_ROWS, 1))]


def reference(x: Array) -> Array:
    return np.swapaxes(x, -1, -2)


TRANSPOSE_2D = Op("transpose_2d", _lower, reference)
