"""dropout: nothing at inference. Kept as an operation so that a model may be written as it was trained.

The graph pass of the same name removes it; where that pass is off or can't, it is a copy.
"""

from __future__ import annotations

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import Array
from fastgo.ops.copy import copy_calls


def dropout(x: Tensor, *, rate: float) -> Tensor:
    """A float32 tensor -> a dense tensor of the same values. Srivastava et al. 2014. `rate` is in [0, 1)."""
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"a dropout rate is at least 0 and below 1, got {rate}")
    y = x.graph.output("dropout", x.shape)
    x.graph.add_node(DROPOUT, {"x": x}, {"y": y}, rate=rate)
    return y


def _lower(node: Node) -> list[KernelCall]:
    return copy_calls(node)


def reference(x: Array, *, rate: float) -> Array:
    return x


DROPOUT = Op("dropout", _lower, reference)
