"""glu: act(gate) * up, the gate of a gated linear unit. Shazeer 2020."""

from __future__ import annotations

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import ACTIVATIONS, ELEMENTWISE_THREADS, Array, activate, elementwise_grid


def glu(gate: Tensor, up: Tensor, *, activation: str) -> Tensor:
    """Two (rows, columns) float32 -> the same shape. `activation`: one of ACTIVATIONS."""
    if gate.shape != up.shape or not gate.is_contiguous or not up.is_contiguous:
        raise ValueError(f"gate {gate.shape} and up {up.shape} must be dense and of one shape")
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation}, expected one of {sorted(ACTIVATIONS)}")
    y = gate.graph.output("glu", gate.shape)
    gate.graph.add_node(GLU, {"gate": gate, "up": up}, {"y": y}, activation=activation)
    return y


def _lower(node: Node) -> list[KernelCall]:
    count = node.outputs["y"].size
    arguments = {"count": count, "activation": ACTIVATIONS[node.activation]}
    buffers, threads = {**node.inputs, **node.outputs}, (ELEMENTWISE_THREADS, 1, 1)
    return [KernelCall("glu", buffers, arguments, elementwise_grid(count), threads)]


def reference(gate: Array, up: Array, *, activation: str) -> Array:
    return activate(activation, gate) * up


GLU = Op("glu", _lower, reference)
