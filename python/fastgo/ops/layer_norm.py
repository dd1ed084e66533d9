"""layer_norm: (x - mean) / sqrt(variance + eps) * weight + bias, row by row. Ba, Kiros and Hinton 2016."""

from __future__ import annotations

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import Array
from fastgo.ops.rms_norm import norm_threads


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, eps: float) -> Tensor:
    """(rows, columns), (columns,), (columns,) -> (rows, columns), all float32."""
    y = x.graph.output("layer_norm", x.shape)
    inputs = {"x": x, "weight": weight}
    x.graph.add_node(LAYER_NORM, inputs if bias is None else {**inputs, "bias": bias}, {"y": y}, eps=eps)
    return y


def _lower(node: Node) -> list[KernelCall]:
    rows, columns = node.inputs["x"].shape
    buffers = {"bias": None, **node.inputs, **node.outputs}
    arguments = {"columns": columns, "eps": node.eps}
    constants = {"has_bias": "bias" in node.inputs}
    return [KernelCall("layer_norm", buffers, arguments, (rows, 1, 1), (norm_threads(columns), 1, 1), constants)]


def reference(x: Array, weight: Array, bias: Array | None = None, *, eps: float) -> Array:
    centred = x - np.mean(x, axis=-1, keepdims=True)
    scaled = centred / np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + eps) * weight
    return np.asarray(scaled if bias is None else scaled + bias)


LAYER_NORM = Op("layer_norm", _lower, reference)
