"""combine_matmul: for one row, the parts of its attention put together, and the output projection, in one kernel.

Made by the fusion pass `attention_output`, for wide devices only.
"""

from __future__ import annotations

import numpy as np

from fastgo.assets import quant
from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops import vector_tuning
from fastgo.ops.common import SIMD_WIDTH, WEIGHTS_PER_BLOCK, Array, ceil_div, plane_offsets

_MOST_SPLITS, _MOST_PARTS = 16, 512  # of the shader


def suits(weight: Tensor, partial: Tensor) -> bool:
    """Whether parts (1, heads, splits, head_dim) and a weight may go into one kernel."""
    _, heads, splits, _ = partial.shape
    columns, width = weight.shape[1], weight.graph.parallel_width
    is_fused = vector_tuning.fuses_rows(quant.get_format(weight.dtype).kernel, width)
    fits = columns <= vector_tuning.MOST_FUSED_COLUMNS and splits <= _MOST_SPLITS and heads * splits <= _MOST_PARTS
    return is_fused and fits and columns % WEIGHTS_PER_BLOCK == 0


def _lower(node: Node) -> list[KernelCall]:
    weight = node.inputs["weight"]
    outputs, columns = weight.shape
    _, _, splits, head_dim = node.inputs["partial"].shape
    format = quant.get_format(weight.dtype).kernel
    cut = vector_tuning.cut("combine_matmul", format, outputs, columns, weight.graph.parallel_width)
    constants = {
        "tile_columns": columns,
        "tile_parts": cut.parts,
        "tile_simdgroups": cut.simdgroups,
        "combined_splits": splits,
        "combined_head_dim": head_dim,
    }
    return [
        KernelCall(
            vector_tuning.fused_kernel("combine_matmul", format, cut),
            {**node.inputs, **node.outputs},
            {"outputs": outputs, "planes": plane_offsets(weight)},
            (ceil_div(outputs, cut.outputs * cut.simdgroups // cut.parts), 1, 1),
            (cut.simdgroups * SIMD_WIDTH, 1, 1),
            constants,
        )
    ]


def reference(partial: Array, bests: Array, totals: Array, weight: Array) -> Array:
    """(1, heads, splits, head_dim), (1, heads, splits) twice, dequantised weight -> (1, outputs)."""
    shares = np.exp(bests - bests.max(axis=-1, keepdims=True))
    shares = shares / (totals * shares).sum(axis=-1, keepdims=True)
    return np.asarray((partial * shares[..., None]).sum(axis=2).reshape(1, -1) @ weight.T)


COMBINE_MATMUL = Op("combine_matmul", _lower, reference)
