"""The cuts measured for one-row products. Written by tools/tune.py."""

from __future__ import annotations

from typing import NamedTuple


class Cut(NamedTuple):
    """`outputs` a simdgroup, `parts` simdgroups an output, `simdgroups` a threadgroup (a multiple of `parts`).

    With a `depth`, the form in tiles of sixteen outputs that holds so many steps of weights in registers.
    """

    outputs: int
    parts: int
    simdgroups: int
    depth: int = 0


# By the device's parallel width, kernel, format, outputs and columns.
MEASURED: dict[tuple[int, str, str, int, int], Cut] = {
    (132, "matmul_glu_vector", "bf16", 6912, 1152): Cut(outputs=1, parts=2, simdgroups=4, depth=0),
    (132, "matmul_glu_vector", "bf16", 12288, 4096): Cut(outputs=1, parts=4, simdgroups=4, depth=0),
    (132, "matmul_glu_vector", "q4_0", 6912, 1152): Cut(outputs=16, parts=4, simdgroups=4, depth=3),
    (132, "matmul_glu_vector", "q4_0", 12288, 4096): Cut(outputs=16, parts=4, simdgroups=8, depth=1),
    (132, "matmul_vector", "bf16", 256, 1152): Cut(outputs=2, parts=8, simdgroups=8, depth=0),
    (132, "matmul_vector", "bf16", 1024, 1152): Cut(outputs=2, parts=8, simdgroups=8, depth=0),
    (132, "matmul_vector", "bf16", 1024, 4096): Cut(outputs=1, parts=8, simdgroups=8, depth=0),
    (132, "matmul_vector", "bf16", 1152, 1024): Cut(outputs=1, parts=4, simdgroups=4, depth=0),
    (132, "matmul_vector", "bf16", 1152, 6912): Cut(outputs=2, parts=8, simdgroups=8, depth=0),
    (132, "matmul_vector", "bf16", 4096, 4096): Cut(outputs=2, parts=4, simdgroups=4, depth=0),
    (132, "matmul_vector", "bf16", 4096, 12288): Cut(outputs=1, parts=2, simdgroups=8, depth=0),
    (132, "matmul_vector", "bf16", 151936, 4096): Cut(outputs=2, parts=4, simdgroups=4, depth=0),
    (132, "matmul_vector", "bf16", 262144, 1152): Cut(outputs=2, parts=1, simdgroups=4, depth=0),
    (132, "matmul_vector", "q4_0", 256, 1152): Cut(outputs=1, parts=8, simdgroups=8, depth=0),
    (132, "matmul_vector", "q4_0", 1024, 1152): Cut(outputs=16, parts=16, simdgroups=16, depth=4),
    (132, "matmul_vector", "q4_0", 1024, 4096): Cut(outputs=16, parts=16, simdgroups=16, depth=4),
    (132, "matmul_vector", "q4_0", 1152, 1024): Cut(outputs=16, parts=8, simdgroups=8, depth=1),
    (132, "matmul_vector", "q4_0", 1152, 6912): Cut(outputs=16, parts=16, simdgroups=16, depth=4),
    (132, "matmul_vector", "q4_0", 4096, 4096): Cut(outputs=16, parts=16, simdgroups=16, depth=1),
    (132, "matmul_vector", "q4_0", 4096, 12288): Cut(outputs=16, parts=8, simdgroups=8, depth=4),
    (132, "matmul_vector", "q4_0", 151936, 4096): Cut(outputs=16, parts=2, simdgroups=8, depth=1),
    (132, "matmul_vector", "q4_0", 262144, 1152): Cut(outputs=16, parts=1, simdgroups=8, depth=1),
}
