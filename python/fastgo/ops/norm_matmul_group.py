"""norm_matmul_group: for one row, a residual add, its RMSNorm, and three products with their biases in one kernel.

Queries, keys and values of a layer. Made by the fusion pass `norm_matmul`, for wide devices only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastgo.assets import quant
from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops import rms_norm, vector_tuning
from fastgo.ops.common import ACTIVATIONS, SIMD_WIDTH, WEIGHTS_PER_BLOCK, Array, ceil_div, plane_offsets
from fastgo.ops.vector_cuts import Cut

_NAMES = ("first", "second", "third")
_COLUMNS_A_THREAD = 16


def suits(weight: Tensor) -> bool:
    """Whether one row's norm and products with this weight may be one kernel."""
    columns, width = weight.shape[1], weight.graph.parallel_width
    format = quant.get_format(weight.dtype).kernel
    fits = columns % WEIGHTS_PER_BLOCK == 0 and columns <= vector_tuning.MOST_FUSED_COLUMNS
    return vector_tuning.fuses_rows(format, width) and fits


def norm_call(
    kernel: str, node: Node, weight: Tensor, outputs: int, cut: Cut, arguments: Mapping[str, Any]
) -> KernelCall:
    """The call of a kernel that norms a row first; `outputs` are whole tiles."""
    columns = weight.shape[1]
    simdgroups = cut.simdgroups
    while simdgroups * SIMD_WIDTH * _COLUMNS_A_THREAD < columns:
        simdgroups *= 2
    optional: dict[str, Tensor | None] = {"branch": None, "post_weight": None, "stream": None}
    constants = {"tile_columns": columns, "tile_parts": cut.parts, "tile_simdgroups": simdgroups}
    flags = {"has_branch": "branch" in node.inputs, "has_post_norm": "post_weight" in node.inputs}
    return KernelCall(
        vector_tuning.fused_kernel(kernel, quant.get_format(weight.dtype).kernel, cut),
        {**optional, **node.inputs, **node.outputs},
        {"eps": node.eps, **arguments},
        (ceil_div(outputs // cut.outputs, simdgroups // cut.parts), 1, 1),
        (simdgroups * SIMD_WIDTH, 1, 1),
        {**constants, **flags},
    )


def _lower(node: Node) -> list[KernelCall]:
    weights = [node.inputs[name] for name in _NAMES]
    columns, width = weights[0].shape[1], weights[0].graph.parallel_width
    format, outputs = quant.get_format(weights[0].dtype).kernel, sum(weight.shape[0] for weight in weights)
    cut = vector_tuning.cut("norm_matmul_group", format, outputs, columns, width)
    outputs = sum(ceil_div(weight.shape[0], cut.outputs) * cut.outputs for weight in weights)
    planes = sum((plane_offsets(weight) for weight in weights), ())
    arguments = {"outputs": tuple(weight.shape[0] for weight in weights), "planes": planes}
    call = norm_call("norm_matmul_group", node, weights[0], outputs, cut, arguments)
    biases = {f"bias_{name}": node.inputs.get(f"bias_{name}") for name in _NAMES}
    constants = {"has_bias": "bias_first" in node.inputs, "output_activation": ACTIVATIONS["none"]}
    return [replace(call, buffers={**call.buffers, **biases}, constants={**call.constants, **constants})]


def normed_row(
    x: Array, weight: Array, branch: Array | None, post_weight: Array | None, eps: float
) -> tuple[Array, Array]:
    """The residual stream after the branch, and its norm."""
    if branch is not None:
        x = x + (branch if post_weight is None else rms_norm.reference(branch, post_weight, eps=eps))
    return x, rms_norm.reference(x, weight, eps=eps)


def reference(
    x: Array,
    weight: Array,
    first: Array,
    second: Array,
    third: Array,
    branch: Array | None = None,
    post_weight: Array | None = None,
    bias_first: Array | float = 0.0,
    bias_second: Array | float = 0.0,
    bias_third: Array | float = 0.0,
    *,
    eps: float,
) -> tuple[Array, ...]:
    """The new x and the three products, with dequantised weights."""
    stream, y = normed_row(x, weight, branch, post_weight, eps)
    return stream, y @ first.T + bias_first, y @ second.T + bias_second, y @ third.T + bias_third


NORM_MATMUL_GROUP = Op("norm_matmul_group", _lower, reference)
