"""norm_matmul_glu: for one row, a residual add, its RMSNorm, and act(y Wgateᵀ) * (y Wupᵀ) of the norm y in one kernel.

Made by the fusion pass `norm_matmul`, for wide devices only.
"""

from __future__ import annotations

import numpy as np

from fastgo.assets import quant
from fastgo.graph.dag import KernelCall, Node, Op
from fastgo.ops import vector_tuning
from fastgo.ops.common import ACTIVATIONS, Array, activate, ceil_div, plane_offsets
from fastgo.ops.norm_matmul_group import norm_call, normed_row


def _lower(node: Node) -> list[KernelCall]:
    gate, up = node.inputs["gate"], node.inputs["up"]
    outputs, columns = gate.shape
    format, width = quant.get_format(gate.dtype).kernel, gate.graph.parallel_width
    cut = vector_tuning.cut("norm_matmul_glu", format, outputs, columns, width)
    arguments = {
        "outputs": outputs,
        "gate_planes": plane_offsets(gate),
        "up_planes": plane_offsets(up),
        "activation": ACTIVATIONS[node.activation],
    }
    whole = ceil_div(outputs, cut.outputs) * cut.outputs
    return [norm_call("norm_matmul_glu", node, gate, whole, cut, arguments)]


def reference(
    x: Array,
    weight: Array,
    gate: Array,
    up: Array,
    branch: Array | None = None,
    post_weight: Array | None = None,
    *,
    eps: float,
    activation: str,
) -> tuple[Array, Array]:
    """The new x and the product, with dequantised weights."""
    stream, y = normed_row(x, weight, branch, post_weight, eps)
    return stream, np.asarray(activate(activation, y @ gate.T) * (y @ up.T))


NORM_MATMUL_GLU = Op("norm_matmul_glu", _lower, reference)
