"""How the one-row products of wide devices are cut up: what was measured, and a rule for all other shapes."""

from __future__ import annotations

from fastgo.ops.common import SIMD_WIDTH, ceil_div
from fastgo.ops.vector_cuts import MEASURED, Cut

TILE_FORMATS = ("q4_0", "q4_1", "q4_k", "int4")  # FOR_EACH_TILE_FORMAT of the shaders
STREAM_FORMATS = ("f16", "bf16")  # FOR_EACH_STREAM_FORMAT
_GLU_DEPTHS, _DEPTHS = (1, 2), (2, 4)  # the instantiations of kernels with two weights, and with one
TILE_OUTPUTS = 16
TILE_MOST_PARTS = 16
MOST_FUSED_COLUMNS = 7168  # STAGED_COLUMNS and STREAM_COLUMNS of the shaders: a row in threadgroup memory

_UNIT = 8  # WEIGHTS_PER_UNIT of the shaders: what a lane takes at a time
_MOST_PARTS = 8
_PARTS_A_CORE = 128  # outputs times parts; with fewer, more simdgroups share an output
_SIMDGROUPS_A_CORE = 32  # where there are more, each takes two outputs
_SIMDGROUPS = 4  # of a threadgroup

_WIDE = 64  # cores from which on tiles are the rule: measured on NVIDIA's, whose matrix units they use
_TILE_COLUMNS = 128  # of a step
_TILES_A_CORE = 32  # tiles times parts
_TILE_SIMDGROUPS = 8  # of a threadgroup

_STREAM_SIMDGROUPS = 16
_STREAM_GROUPS_A_CORE = 2


def cut(kernel: str, format: str, outputs: int, columns: int, parallel_width: int) -> Cut:
    """The measured cut, else one that keeps the device's `parallel_width` cores busy.

    `outputs`: of all weights whose outputs lie one behind the other, so not of a gate and an up projection together.
    """
    measured = MEASURED.get((parallel_width, kernel, format, outputs, columns))
    if measured is not None:
        return measured
    if uses_tiles(format, parallel_width):
        found = _rule_for_tiles(kernel, outputs, columns, parallel_width)
    elif uses_streams(format, parallel_width) and kernel != "matmul_glu_vector":
        found = _rule_for_streams(outputs, columns, parallel_width)
    else:
        return _rule_for_units(outputs, columns, parallel_width)
    return _in_one_wave(found, outputs, parallel_width) if kernel == "combine_matmul" else found


def tile_depths(kernel: str) -> tuple[int, int]:
    """The steps that the instantiations of a kernel in tiles hold."""
    return _GLU_DEPTHS if "glu" in kernel else _DEPTHS


def uses_tiles(format: str, parallel_width: int) -> bool:
    """Whether tiles of sixteen outputs are the rule for one row."""
    return format in TILE_FORMATS and parallel_width >= _WIDE


def uses_streams(format: str, parallel_width: int) -> bool:
    """Whether one row's weights are fetched before its inputs are there, in the kernels for plain floats."""
    return format in STREAM_FORMATS and parallel_width >= _WIDE


def fuses_rows(format: str, parallel_width: int) -> bool:
    """Whether the kernels that make a row's inputs themselves, norm or attention, exist for the format."""
    return uses_tiles(format, parallel_width) or uses_streams(format, parallel_width)


def fused_kernel(kernel: str, format: str, cut: Cut) -> str:
    """The name of its instantiation."""
    return f"{kernel}_{format}_d{cut.depth}" if cut.depth else f"{kernel}_stream_{format}_o{cut.outputs}"


def _rule_for_streams(outputs: int, columns: int, parallel_width: int) -> Cut:
    """As many parts as keep two threadgroups a core busy; more outputs than that go two to a simdgroup."""
    parts, most = 1, _STREAM_GROUPS_A_CORE * _STREAM_SIMDGROUPS * parallel_width
    while parts < _MOST_PARTS and 2 * parts * outputs <= most and columns >= _UNIT * SIMD_WIDTH * parts * 2:
        parts *= 2
    return Cut(1 if outputs * parts <= most else 2, parts, _STREAM_SIMDGROUPS)


def _rule_for_units(outputs: int, columns: int, parallel_width: int) -> Cut:
    parts = 1
    while (
        parts < _MOST_PARTS
        and outputs * parts < _PARTS_A_CORE * parallel_width
        and columns >= _UNIT * SIMD_WIDTH * parts * 2
    ):
        parts *= 2
    a_simdgroup = 2 if outputs * parts >= 2 * _SIMDGROUPS_A_CORE * parallel_width else 1
    return Cut(a_simdgroup, parts, max(parts, _SIMDGROUPS))


def _in_one_wave(cut: Cut, outputs: int, parallel_width: int) -> Cut:
    """A cut with at most one threadgroup a core, where their inputs cost more than their weights."""
    while cut.parts > 1 and ceil_div(outputs * cut.parts, cut.outputs * cut.simdgroups) > parallel_width:
        cut = cut._replace(parts=cut.parts // 2)
    if not cut.depth and ceil_div(outputs * cut.parts, cut.outputs * cut.simdgroups) > parallel_width:
        cut = cut._replace(outputs=2)
    return cut


def _rule_for_tiles(kernel: str, outputs: int, columns: int, parallel_width: int) -> Cut:
    """As many parts as keep the cores busy; few steps a simdgroup are all fetched before the inputs are there."""
    tiles, steps = ceil_div(outputs, TILE_OUTPUTS), ceil_div(columns, _TILE_COLUMNS)
    parts = 1
    while parts < TILE_MOST_PARTS and tiles * parts * 2 <= _TILES_A_CORE * parallel_width and parts * 2 <= steps:
        parts *= 2
    shallow, deep = tile_depths(kernel)
    return Cut(TILE_OUTPUTS, parts, max(parts, _TILE_SIMDGROUPS), deep if ceil_div(steps, parts) > shallow else shallow)
