"""cast: a tensor in another floating-point type, rounded to nearest even. One side is float32."""

from __future__ import annotations

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import ELEMENTWISE_THREADS, Array, elementwise_grid

_PAIRS = (("f32", "f16"), ("f32", "bf16"), ("f16", "f32"), ("bf16", "f32"))  # the shader's instantiations


def cast(x: Tensor, dtype: str) -> Tensor:
    """A dense tensor -> one of the same shape and of `dtype`. Raises ValueError for any pair but _PAIRS."""
    if (x.dtype, dtype) not in _PAIRS or not x.is_contiguous:
        raise ValueError(f"can't cast {x.name} from {x.dtype} to {dtype}; there are {_PAIRS}, of dense tensors")
    y = x.graph.output("cast", x.shape, dtype)
    x.graph.add_node(CAST, {"x": x}, {"y": y}, dtype=dtype)
    return y


def _lower(node: Node) -> list[KernelCall]:
    x, y = node.inputs["x"], node.outputs["y"]
    buffers, threads = {"x": x, "y": y}, (ELEMENTWISE_THREADS, 1, 1)
    return [KernelCall(f"cast_{x.dtype}_{y.dtype}", buffers, {"count": y.size}, elementwise_grid(y.size), threads)]


def reference(x: Array, *, dtype: str) -> Array:
    """The rounded values, in the precision of `x`."""
    if dtype == "f16":
        return np.asarray(x.astype(np.float16).astype(x.dtype))
    if dtype == "bf16":
        bits = x.astype(np.float32).view(np.uint32).astype(np.uint64)
        rounded = (bits + 0x7FFF + (bits >> np.uint64(16) & np.uint64(1))) >> np.uint64(16) << np.uint64(16)
        return np.asarray(rounded.astype(np.uint32).view(np.float32).astype(x.dtype))
    return x


CAST = Op("cast", _lower, reference)
