"""add_rms_norm: x += branch in place, then the norm of x. Made by the fusion pass of the same name."""

from __future__ import annotations

from fastgo.graph.dag import KernelCall, Node, Op
from fastgo.ops import rms_norm
from fastgo.ops.common import Array


def _lower(node: Node) -> list[KernelCall]:
    return [rms_norm.norm_call("add_rms_norm", node)]


def reference(x: Array, branch: Array, weight: Array, *, eps: float) -> tuple[Array, Array]:
    """The new x and its norm."""
    total = x + branch
    return total, rms_norm.reference(total, weight, eps=eps)


ADD_RMS_NORM = Op("add_rms_norm", _lower, reference)
