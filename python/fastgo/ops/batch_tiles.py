"""Products of a few rows in pairs of tiles, on wide devices: their calls, and how they are cut up."""

from __future__ import annotations

from typing import Any

from fastgo.assets import quant
from fastgo.graph.dag import KernelCall, Node, Tensor
from fastgo.ops import vector_tuning
from fastgo.ops.common import SIMD_WIDTH, WEIGHTS_PER_BLOCK, ceil_div

MOST_ROWS = 16
_ROWS = 8  # BATCH_TILE_ROWS of the shaders: weights are read once for so many
_PAIR_ROWS = 32  # rows of weights of a pair of tiles
_STEP_COLUMNS = 128
_MOST_PARTS = 16
_SIMDGROUPS = 8  # of a threadgroup
_SIMDGROUPS_A_CORE = 16  # wanted, by sharing the columns of a pair among several


def suits(rows: int, weight: Tensor) -> bool:
    """Whether products of so many rows with this weight go in pairs of tiles."""
    format = quant.get_format(weight.dtype).kernel
    is_wide = vector_tuning.uses_tiles(format, weight.graph.parallel_width)
    return is_wide and 1 < rows <= MOST_ROWS and weight.shape[1] % WEIGHTS_PER_BLOCK == 0


def batch_call(kernel: str, node: Node, weight: Tensor, arguments: dict[str, Any], matrices: int = 1) -> KernelCall:
    """The call of `kernel`, whose outputs have a row of each of `matrices` weights like `weight`."""
    rows, columns = node.inputs["x"].shape
    outputs = weight.shape[0]
    pairs = ceil_div(outputs * matrices, _PAIR_ROWS)
    steps = ceil_div(columns, _STEP_COLUMNS)
    wanted = _SIMDGROUPS_A_CORE * weight.graph.parallel_width
    parts = 1
    while parts < _MOST_PARTS and pairs * parts < wanted and parts * 2 <= steps:
        parts *= 2
    simdgroups = max(parts, _SIMDGROUPS)
    return KernelCall(
        f"{kernel}_{quant.get_format(weight.dtype).kernel}",
        {**node.inputs, **node.outputs},
        {"rows": rows, "outputs": outputs, **arguments},
        (ceil_div(pairs * parts, simdgroups), ceil_div(rows, _ROWS), 1),
        (simdgroups * SIMD_WIDTH, 1, 1),
        {"batch_columns": columns, "batch_parts": parts, "batch_simdgroups": simdgroups},
    )
