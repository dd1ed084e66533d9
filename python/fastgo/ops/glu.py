"""glu: act(gate) * up, the gate of a gated linear unit. Shazeer 2020."""

from __future__ import annotations

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import ACTIVATIONS, ELEMENTWISE_THREADS, Array, activate, elementwise_grid


def glu(gate: Tensor, up: Tensor, *, activation: str) -> Tensor:
    """Two (rows, columns), both float32 or bfloat16 -> the same shape and type. `activation`: one of ACTIVATIONS."""
    if gate.shape != up.shape or gate.dtype != up.dtype or not gate.is_contiguous or not up.is_contiguous:
        raise ValueError(f"gate {gate.shape} and up {up.shape} must be dense, of one shape and type")
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation}, expected one of {sorted(ACTIVATIONS)}")
    y = gate.graph.output("glu", gate.shape, gate.dtype)
    gate.graph.add_node(GLU, {"gate": gate, "up": up}, {"y": y}, activation=activation)
    return y


def _lower(node: Node) -> list[KernelCall]:
    count = node.outputs["y"].size
    arguments = {"count": count, "activation": ACTIVATIONS[node.activation]}
    buffers, threads = {**node.inputs, **node.outputs}, (ELEMENTWISE_THREADS, 1, 1)
    kernel = "glu" if node.outputs["y"].dtype == "f32" else "glu_bf16"
    return [KernelCall(kernel, buffers, arguments, elementwise_grid(count), threads)]


def reference(gate: Array, up: Array, *, activation: str) -> Array:
    return activate(activation, gate) * up


GLU = Op("glu", _lower, reference)
