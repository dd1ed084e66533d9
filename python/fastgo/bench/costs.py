"""The least work of one kernel call: bytes that must move between memory and device, and arithmetic operations.

Bytes count each weight, activation and cached key or value once, whatever a kernel really does. Operations are those
of matrix products and attention, two for a multiplication with its addition; the rest is small beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastgo.assets import quant
from fastgo.graph.dag import KernelCall, Node, Storage, Tensor, dense_nbytes


@dataclass(frozen=True)
class Cost:
    """Bytes and operations of one call."""

    nbytes: int
    operations: int


def call_cost(node: Node, call: KernelCall, positions: range) -> Cost:
    """The cost of `call`, one of the calls of `node`, in a pass over the tokens at `positions`."""
    tensors = {name: tensor for name, tensor in call.buffers.items() if tensor is not None}
    activations = {id(t): t for t in tensors.values() if t.root.storage is Storage.ARENA}.values()
    weights = [t for t in tensors.values() if t.root.storage is Storage.WEIGHT]
    rows = max((t.shape[0] for t in activations), default=1)
    nbytes = sum(t.nbytes for t in activations)
    if node.op.name == "embed":
        return Cost(nbytes + sum(_weight_nbytes(t, rows) for t in weights), 0)
    if "experts" in node.inputs:
        pairs = node.inputs["experts"].size
        # Of a stack of experts each that is chosen moves once; every pair of token and expert is a product.
        chosen = [(t, min(pairs, t.shape[0]) * t.shape[1]) for t in weights]
        nbytes += sum(_weight_nbytes(t, expert_rows) for t, expert_rows in chosen)
        return Cost(nbytes, sum(2 * pairs * t.shape[1] * t.shape[2] for t in weights))
    if node.op.name == "exact_head":
        # Of the matrix itself only rows that a bound leaves are read: how many, no shape tells.
        index = [t for t in tensors.values() if t.root.storage is Storage.STATE]
        return Cost(nbytes + sum(t.nbytes for t in index), 2 * node.inputs["weight"].size if "tiles" in tensors else 0)
    nbytes += sum(_weight_nbytes(t) for t in weights)
    operations = sum(2 * rows * t.size for t in weights if len(t.shape) == 2)
    cached = [tensor for name, tensor in tensors.items() if name.endswith("_cache")]
    is_attention = "window" in node.attributes
    for cache in cached:
        _, kv_heads, _, head_dim = cache.shape
        span = len(_visible_span(positions, node.window)) if is_attention else rows
        nbytes += dense_nbytes((kv_heads, span, head_dim), cache.dtype)
    if is_attention and cached:
        seen = sum(len(_visible_span(range(p, p + 1), node.window)) for p in positions)
        operations += 4 * node.inputs["q"].shape[1] * seen
    return Cost(nbytes, operations)


def _visible_span(positions: range, window: int) -> range:
    """The positions that queries at `positions` see together; window 0 means all earlier ones."""
    first = max(0, positions[0] - window + 1) if window else 0
    return range(first, positions[-1] + 1)


def _weight_nbytes(weight: Tensor, rows: int | None = None) -> int:
    """The bytes of all rows of a weight without padding, or of `rows` of them."""
    all_rows, columns = quant.matrix_shape(weight.shape)
    planes = quant.layout(weight.dtype, all_rows if rows is None else rows, columns)
    return sum(plane.nbytes for plane in planes)
