"""How the one-row products of wide devices are cut up: what was measured, and a rule for all other shapes."""

from __future__ import annotations

from fastgo.ops.common import SIMD_WIDTH, ceil_div
from fastgo.ops.vector_cuts import MEASURED, Cut

TILE_FORMATS = ("q4_0", "q4_1", "q4_k", "int4")  # FOR_EACH_TILE_FORMAT of the shaders
TILE_DEPTHS = {"matmul_vector": (1, 4), "matmul_glu_vector": (1, 3)}  # their instantiations
TILE_OUTPUTS = 16
TILE_MOST_PARTS = 16

_UNIT = 8  # WEIGHTS_PER_UNIT of the shaders: what a lane takes at a time
_MOST_PARTS = 8
_PARTS_A_CORE = 128  # outputs times parts; with fewer, more simdgroups share an output
_SIMDGROUPS_A_CORE = 32  # where there are more, each takes two outputs
_SIMDGROUPS = 4  # of a threadgroup

_TILE_WIDTH = 64  # cores from which on tiles are the rule: measured on NVIDIA's, whose matrix units they use
_TILE_COLUMNS = 128  # of a step
_TILES_A_CORE = 32  # tiles times parts
_TILE_SIMDGROUPS = 8  # of a threadgroup


def cut(kernel: str, format: str, outputs: int, columns: int, parallel_width: int) -> Cut:
    """The measured cut, else one that keeps the device's `parallel_width` cores busy."""
    measured = MEASURED.get((parallel_width, kernel, format, outputs, columns))
    if measured is not None:
        return measured
    if uses_tiles(format, parallel_width):
        return _rule_for_tiles(kernel, outputs, columns, parallel_width)
    parts = 1
    while (
        parts < _MOST_PARTS
        and outputs * parts < _PARTS_A_CORE * parallel_width
        and columns >= _UNIT * SIMD_WIDTH * parts * 2
    ):
        parts *= 2
    a_simdgroup = 2 if outputs * parts >= 2 * _SIMDGROUPS_A_CORE * parallel_width else 1
    return Cut(a_simdgroup, parts, max(parts, _SIMDGROUPS))


def uses_tiles(format: str, parallel_width: int) -> bool:
    """Whether tiles of sixteen outputs are the rule for one row."""
    return format in TILE_FORMATS and parallel_width >= _TILE_WIDTH


def tile_cut(kernel: str, format: str, outputs: int, columns: int, parallel_width: int) -> Cut:
    """`cut` for kernels that exist in tiles only."""
    found = cut(kernel, format, outputs, columns, parallel_width)
    return found if found.depth else _rule_for_tiles(kernel, outputs, columns, parallel_width)


def _rule_for_tiles(kernel: str, outputs: int, columns: int, parallel_width: int) -> Cut:
    """As many parts as keep the cores busy; few steps a simdgroup are all fetched before the inputs are there."""
    tiles, steps = ceil_div(outputs, TILE_OUTPUTS), ceil_div(columns, _TILE_COLUMNS)
    parts = 1
    while parts < TILE_MOST_PARTS and tiles * parts * 2 <= _TILES_A_CORE * parallel_width and parts * 2 <= steps:
        parts *= 2
    shallow, deep = TILE_DEPTHS[kernel]
    return Cut(
        TILE_OUTPUTS, parts, max(parts, _TILE_SIMDGROUPS), deep if 1 < ceil_div(steps, parts) <= deep else shallow
    )
