"""add: a + b with NumPy's broadcasting, up to four dimensions; views of any strides."""

from __future__ import annotations

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import Array, ceil_div

MAX_DIMENSIONS = 4
THREADS = 256


def add(a: Tensor, b: Tensor) -> Tensor:
    """Float32 tensors whose shapes broadcast -> a dense float32 tensor."""
    rank = max(len(a.shape), len(b.shape))
    padded_a = (1,) * (rank - len(a.shape)) + a.shape
    padded_b = (1,) * (rank - len(b.shape)) + b.shape
    shape = tuple(max(x, y) for x, y in zip(padded_a, padded_b, strict=True))
    if rank > MAX_DIMENSIONS:
        raise ValueError(f"add takes at most {MAX_DIMENSIONS} dimensions, got {a.shape} and {b.shape}")
    if a.shape != shape:
        a = a.broadcast_to(*shape)
    if b.shape != shape:
        b = b.broadcast_to(*shape)
    y = a.graph.output("add", shape)
    a.graph.add_node(ADD, {"a": a, "b": b}, {"y": y})
    return y


def padded(values: tuple[int, ...], fill: int) -> tuple[int, ...]:
    """Leading dimensions up to four."""
    return (fill,) * (MAX_DIMENSIONS - len(values)) + values


def _lower(node: Node) -> list[KernelCall]:
    y = node.outputs["y"]
    arguments = {
        "count": y.size,
        "shape": padded(y.shape, 1),
        "a_strides": padded(node.inputs["a"].strides, 0),
        "b_strides": padded(node.inputs["b"].strides, 0),
    }
    return [
        KernelCall("add", {**node.inputs, "y": y}, arguments, (ceil_div(y.size, THREADS), 1, 1), (THREADS, 1, 1))
    ]  # fmt: skip


def reference(a: Array, b: Array) -> Array:
    return a + b


ADD = Op("add", _lower, reference)
