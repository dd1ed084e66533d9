"""dequantize: the weights of a tensor of any format as float32 or bfloat16."""

from __future__ import annotations

from fastgo.assets.quant import matrix_shape
from fastgo.graph.dag import Graph, KernelCall, Node, Op, Tensor
from fastgo.ops.common import SIMD_WIDTH, WEIGHTS_PER_BLOCK, Array, ceil_div, plane_offsets, weight_kernel


def dequantize(graph: Graph, weight: Tensor, dtype: str = "f32") -> Tensor:
    """A weight of any shape -> `dtype`, "f32" or "bf16", of that shape."""
    y = graph.output("dequantize", weight.shape, dtype)
    graph.add_node(DEQUANTIZE, {"weight": weight}, {"y": y})
    return y


def _lower(node: Node) -> list[KernelCall]:
    weight = node.inputs["weight"]
    rows, columns = matrix_shape(weight.shape)
    arguments = {"columns": columns, "planes": plane_offsets(weight)}
    grid = (ceil_div(ceil_div(columns, WEIGHTS_PER_BLOCK), SIMD_WIDTH), rows, 1)
    kernel = weight_kernel(f"dequantize_{node.outputs['y'].dtype}", weight)
    return [KernelCall(kernel, {**node.inputs, **node.outputs}, arguments, grid, (SIMD_WIDTH, 1, 1))]


def reference(weight: Array) -> Array:
    """With what fastgo.assets.quant makes of the planes."""
    return weight


DEQUANTIZE = Op("dequantize", _lower, reference)
