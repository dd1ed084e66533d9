"""matmul_group: the products of many rows with three weights, each with a bias of its own, in one launch.

Queries, keys and values of a layer, whose widths differ. Made by the fusion pass of the same name, for wide devices.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import ACTIVATIONS, Array, bfloat_input, ceil_div, plane_offsets, weight_kernel
from fastgo.ops.matmul import MANY_ROWS, many_side

_NAMES = ("first", "second", "third")


def suits(products: Sequence[Node]) -> bool:
    """Whether these products of one input may be one launch."""
    if len(products) != len(_NAMES):
        return False
    x, weight = products[0].inputs["x"], products[0].inputs["weight"]
    same = all(node.inputs["x"] is x and node.inputs["weight"].dtype == weight.dtype for node in products)
    is_plain = all(node.activation == "none" for node in products)
    biases = {"bias" in node.inputs for node in products}
    is_many = x.graph.parallel_width > 1 and x.shape[0] >= MANY_ROWS and weight.dtype != "f32"
    return same and is_plain and len(biases) == 1 and is_many


def join(products: Sequence[Node]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Inputs and outputs of the one node for these products."""
    inputs, outputs = {"x": products[0].inputs["x"]}, {}
    for name, product in zip(_NAMES, products, strict=True):
        inputs[name], outputs[f"y_{name}"] = product.inputs["weight"], product.outputs["y"]
        if "bias" in product.inputs:
            inputs[f"bias_{name}"] = product.inputs["bias"]
    return inputs, outputs


def _lower(node: Node) -> list[KernelCall]:
    weights = [node.inputs[name] for name in _NAMES]
    rows, columns = node.inputs["x"].shape
    side = many_side(rows, sum(weight.shape[0] for weight in weights))
    tiles = sum(ceil_div(weight.shape[0], side) for weight in weights)
    biases: dict[str, Tensor | None] = {f"bias_{name}": node.inputs.get(f"bias_{name}") for name in _NAMES}
    arguments = {
        "rows": rows,
        "columns": columns,
        "outputs": tuple(weight.shape[0] for weight in weights),
        "planes": sum((plane_offsets(weight) for weight in weights), ()),
    }
    return [
        KernelCall(
            f"{weight_kernel('matmul_group', weights[0])}_r{side}",
            {**biases, **node.inputs, **node.outputs},
            arguments,
            (ceil_div(rows, side), tiles, 1),
            (2 * side, 1, 1),
            {"has_bias": "bias_first" in node.inputs, "output_activation": ACTIVATIONS["none"], **bfloat_input(node)},
        )
    ]


def reference(
    x: Array,
    first: Array,
    second: Array,
    third: Array,
    bias_first: Array | float = 0.0,
    bias_second: Array | float = 0.0,
    bias_third: Array | float = 0.0,
) -> tuple[Array, ...]:
    """The three products, with dequantised weights."""
    biases = (bias_first, bias_second, bias_third)
    return tuple(np.asarray(x @ w.T + b) for w, b in zip((first, second, third), biases, strict=True))


MATMUL_GROUP = Op("matmul_group", _lower, reference)
