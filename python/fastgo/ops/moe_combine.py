"""moe_combine: the answers of each token's experts, added up with the router's weights."""

from __future__ import annotations

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import Array, ceil_div
from fastgo.ops.moe_route import Routing

_THREADS = 256


def moe_combine(x: Tensor, routing: Routing) -> Tensor:
    """x (rows, top_k, columns) float32 -> (rows, columns) float32."""
    rows, top_k, columns = x.shape
    if routing.weights.shape != (rows, top_k) or not x.is_contiguous:
        raise ValueError(f"can't combine {x.shape} with weights {routing.weights.shape}")
    y = x.graph.output("moe_combine", (rows, columns))
    x.graph.add_node(MOE_COMBINE, {"x": x, "weights": routing.weights}, {"y": y})
    return y


def _lower(node: Node) -> list[KernelCall]:
    rows, top_k, columns = node.inputs["x"].shape
    grid = (ceil_div(columns, _THREADS), rows, 1)
    arguments = {"top_k": top_k, "columns": columns}
    return [KernelCall("moe_combine", {**node.inputs, **node.outputs}, arguments, grid, (_THREADS, 1, 1))]


def reference(x: Array, weights: Array) -> Array:
    return np.asarray(np.einsum("rsc,rs->rc", x, weights))


MOE_COMBINE = Op("moe_combine", _lower, reference)
