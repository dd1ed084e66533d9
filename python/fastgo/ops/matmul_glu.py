"""matmul_glu: act(x Wgateᵀ) * (x Wupᵀ) in one kernel. Made by the fusion pass of the same name."""

from __future__ import annotations

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op
from fastgo.ops.common import ACTIVATIONS, Array, activate, bfloat_output, plane_offsets, weight_kernel
from fastgo.ops.matmul import Tile, in_all_forms, tiled_call, vector_call

_VECTOR = Tile(rows=1, outputs=2, simdgroups=2)
_BATCH = Tile(rows=8, outputs=1, simdgroups=4)


def _lower(node: Node) -> list[KernelCall]:
    gate, up = node.inputs["gate"], node.inputs["up"]
    arguments: dict[str, object] = {
        "gate_planes": plane_offsets(gate),
        "up_planes": plane_offsets(up),
        "activation": ACTIVATIONS[node.activation],
    }
    call = vector_call("matmul_glu_vector", node, gate, arguments)
    if call is not None:
        return [call]
    call = tiled_call(weight_kernel("matmul_glu", gate), node, gate.shape[0], _VECTOR, _BATCH, arguments, parts=2)
    return [in_all_forms(call, bfloat_output(node))]


def reference(x: Array, gate: Array, up: Array, *, activation: str) -> Array:
    """With dequantised weights."""
    return np.asarray(activate(activation, x @ gate.T) * (x @ up.T))


MATMUL_GLU = Op("matmul_glu", _lower, reference)
