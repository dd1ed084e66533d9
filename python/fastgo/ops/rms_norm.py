"""rms_norm: x / sqrt(mean(x²) + eps) * weight, row by row. Zhang and Sennrich 2019."""

from __future__ import annotations

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import SIMD_WIDTH, Array, bfloat_output, ceil_div


def rms_norm(x: Tensor, weight: Tensor, *, eps: float) -> Tensor:
    """(rows, columns), (columns,) -> (rows, columns), all float32. Gemma's 1 + w is added at import."""
    y = x.graph.output("rms_norm", x.shape)
    x.graph.add_node(RMS_NORM, {"x": x, "weight": weight}, {"y": y}, eps=eps)
    return y


def norm_threads(columns: int, is_wide: bool = False) -> int:
    """Threads of a row: a simdgroup for every 128 columns, at most eight; on wide devices at most 32."""
    return SIMD_WIDTH * min(32 if is_wide else 8, max(1, ceil_div(columns, 128)))


def norm_call(kernel: str, node: Node) -> KernelCall:
    """The call of any kernel of the norm family: one threadgroup a row."""
    rows, columns = node.inputs["x"].shape
    buffers = {**node.inputs, **node.outputs}
    threads = norm_threads(columns, node.inputs["x"].graph.parallel_width > 1)
    arguments, constants = {"columns": columns, "eps": node.eps}, bfloat_output(node)
    return KernelCall(kernel, buffers, arguments, (rows, 1, 1), (threads, 1, 1), constants)


def _lower(node: Node) -> list[KernelCall]:
    return [norm_call("rms_norm", node)]


def reference(x: Array, weight: Array, *, eps: float) -> Array:
    return np.asarray(x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight)


RMS_NORM = Op("rms_norm", _lower, reference)
