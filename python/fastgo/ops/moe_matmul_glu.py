"""moe_matmul_glu: act(x Wgateᵀ) * (x Wupᵀ) with each token's experts. Made by the fusion pass matmul_glu."""

from __future__ import annotations

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op
from fastgo.ops import moe_matmul
from fastgo.ops.common import ACTIVATIONS, Array, activate, plane_offsets
from fastgo.ops.matmul import Tile

_VECTOR = Tile(rows=1, outputs=2, simdgroups=2)
_GROUPED = Tile(rows=8, outputs=1, simdgroups=4)


def _lower(node: Node) -> list[KernelCall]:
    gate, up = node.inputs["gate"], node.inputs["up"]
    arguments: dict[str, object] = {
        "gate_planes": plane_offsets(gate),
        "up_planes": plane_offsets(up),
        "activation": ACTIVATIONS[node.activation],
    }
    return [moe_matmul.moe_call("moe_matmul_glu", node, gate, _VECTOR, _GROUPED, arguments, parts=2)]


def reference(x: Array, gate: Array, up: Array, experts: Array, *, activation: str) -> Array:
    """With dequantised weights; shapes as in `moe_matmul`."""
    gates = moe_matmul.reference(x, gate, experts)
    return np.asarray(activate(activation, gates) * moe_matmul.reference(x, up, experts))


MOE_MATMUL_GLU = Op("moe_matmul_glu", _lower, reference)
