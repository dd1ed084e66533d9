"""soft_cap: cap tanh(x / cap), which keeps logits within (-cap, cap). Bello et al. 2016; used by Gemma 2."""

from __future__ import annotations

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import Array, ceil_div

_THREADS = 256


def soft_cap(x: Tensor, *, cap: float) -> Tensor:
    """A dense float32 tensor -> one of the same shape. Raises ValueError unless cap > 0 and x is dense."""
    if cap <= 0.0 or not x.is_contiguous:
        raise ValueError(f"soft_cap takes a dense tensor and a cap above 0, got {x.name} {x.shape} and {cap}")
    y = x.graph.output("soft_cap", x.shape)
    x.graph.add_node(SOFT_CAP, {"x": x}, {"y": y}, cap=cap)
    return y


def _lower(node: Node) -> list[KernelCall]:
    count = node.outputs["y"].size
    grid = (ceil_div(count, _THREADS), 1, 1)
    arguments = {"count": count, "cap": node.cap}
    return [KernelCall("soft_cap", {**node.inputs, **node.outputs}, arguments, grid, (_THREADS, 1, 1))]


def reference(x: Array, *, cap: float) -> Array:
    return np.asarray(cap * np.tanh(x / cap))


SOFT_CAP = Op("soft_cap", _lower, reference)
