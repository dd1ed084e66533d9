"""How the one-row products of wide devices are cut up: what was measured, and a rule for all other shapes."""

from __future__ import annotations

from fastgo.ops.common import SIMD_WIDTH
from fastgo.ops.vector_cuts import MEASURED, Cut

_UNIT = 8  # WEIGHTS_PER_UNIT of the shaders: what a lane takes at a time
_MOST_PARTS = 8
_PARTS_A_CORE = 128  # outputs times parts; with fewer, more simdgroups share an output
_SIMDGROUPS_A_CORE = 32  # where there are more, each takes two outputs
_SIMDGROUPS = 4  # of a threadgroup


def cut(kernel: str, format: str, outputs: int, columns: int, parallel_width: int) -> Cut:
    """The measured cut, else one that keeps the device's `parallel_width` cores busy."""
    measured = MEASURED.get((parallel_width, kernel, format, outputs, columns))
    if measured is not None:
        return measured
    parts = 1
    while (
        parts < _MOST_PARTS
        and outputs * parts < _PARTS_A_CORE * parallel_width
        and columns >= _UNIT * SIMD_WIDTH * parts * 2
    ):
        parts *= 2
    a_simdgroup = 2 if outputs * parts >= 2 * _SIMDGROUPS_A_CORE * parallel_width else 1
    return Cut(a_simdgroup, parts, max(parts, _SIMDGROUPS))
