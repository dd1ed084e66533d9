"""sandwich_norm: x += rms_norm(branch, post_weight) in place, then the norm of x. Made by the fusion pass."""

from __future__ import annotations

from fastgo.graph.dag import KernelCall, Node, Op
from fastgo.ops import rms_norm
from fastgo.ops.common import Array


def _lower(node: Node) -> list[KernelCall]:
    return [rms_norm.norm_call("sandwich_norm", node)]


def reference(x: Array, branch: Array, post_weight: Array, weight: Array, *, eps: float) -> tuple[Array, Array]:
    """The new x and its norm."""
    total = x + rms_norm.reference(branch, post_weight, eps=eps)
    return total, rms_norm.reference(total, weight, eps=eps)


SANDWICH_NORM = Op("sandwich_norm", _lower, reference)
