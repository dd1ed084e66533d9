"""copy: a dense copy of a strided view (transpose, slice, broadcast), up to four dimensions."""

from __future__ import annotations

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.add import MAX_DIMENSIONS, THREADS, padded
from fastgo.ops.common import Array, ceil_div


def copy(x: Tensor) -> Tensor:
    """A float32 view -> a dense tensor of the same shape."""
    if len(x.shape) > MAX_DIMENSIONS:
        raise ValueError(f"copy takes at most {MAX_DIMENSIONS} dimensions, got {x.shape}")
    y = x.graph.output("copy", x.shape)
    x.graph.add_node(COPY, {"x": x}, {"y": y})
    return y


def copy_calls(node: Node) -> list[KernelCall]:
    """The kernel that copies a node's input `x` to its output `y`."""
    y = node.outputs["y"]
    arguments = {"count": y.size, "shape": padded(y.shape, 1), "strides": padded(node.inputs["x"].strides, 0)}
    grid = (ceil_div(y.size, THREADS), 1, 1)
    return [KernelCall("copy", {**node.inputs, "y": y}, arguments, grid, (THREADS, 1, 1))]


def reference(x: Array) -> Array:
    return np.array(x)


COPY = Op("copy", copy_calls, reference)
