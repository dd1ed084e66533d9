"""bias_add: x + bias, the same bias for every row; a projection adds its own in the kernel of its product."""

from __future__ import annotations

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import Array, ceil_div

_THREADS = 256


def bias_add(x: Tensor, bias: Tensor) -> Tensor:
    """(rows, columns), (columns,) -> (rows, columns), all float32. Raises ValueError unless x is dense and they fit."""
    if x.shape[1:] != bias.shape or not x.is_contiguous or not bias.is_contiguous:
        raise ValueError(f"can't add {bias.name} {bias.shape} to the rows of {x.name} {x.shape}; both must be dense")
    y = x.graph.output("bias_add", x.shape)
    x.graph.add_node(BIAS_ADD, {"x": x, "bias": bias}, {"y": y})
    return y


def _lower(node: Node) -> list[KernelCall]:
    rows, columns = node.inputs["x"].shape
    grid = (ceil_div(columns, _THREADS), rows, 1)
    return [KernelCall("bias_add", {**node.inputs, **node.outputs}, {"columns": columns}, grid, (_THREADS, 1, 1))]


def reference(x: Array, bias: Array) -> Array:
    return x + bias


BIAS_ADD = Op("bias_add", _lower, reference)
