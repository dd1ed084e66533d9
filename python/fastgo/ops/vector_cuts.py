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
    (132, "combine_matmul", "bf16", 1152, 1024): Cut(outputs=2, parts=2, simdgroups=16, depth=0),
    (132, "combine_matmul", "bf16", 2048, 4096): Cut(outputs=2, parts=4, simdgroups=16, depth=0),
    (132, "combine_matmul", "bf16", 4096, 4096): Cut(outputs=3, parts=2, simdgroups=16, depth=0),
    (132, "combine_matmul", "q4_0", 1152, 1024): Cut(outputs=16, parts=8, simdgroups=8, depth=2),
    (132, "combine_matmul", "q4_0", 2048, 4096): Cut(outputs=16, parts=16, simdgroups=16, depth=4),
    (132, "combine_matmul", "q4_0", 4096, 4096): Cut(outputs=16, parts=8, simdgroups=16, depth=2),
    (132, "matmul_vector", "bf16", 1152, 6912): Cut(outputs=4, parts=8, simdgroups=8, depth=0),
    (132, "matmul_vector", "bf16", 4096, 12288): Cut(outputs=4, parts=4, simdgroups=8, depth=0),
    (132, "matmul_vector", "bf16", 151936, 2048): Cut(outputs=2, parts=8, simdgroups=16, depth=0),
    (132, "matmul_vector", "bf16", 151936, 4096): Cut(outputs=4, parts=8, simdgroups=16, depth=0),
    (132, "matmul_vector", "bf16", 262144, 1152): Cut(outputs=4, parts=8, simdgroups=16, depth=0),
    (132, "matmul_vector", "q4_0", 1152, 6912): Cut(outputs=16, parts=16, simdgroups=16, depth=4),
    (132, "matmul_vector", "q4_0", 4096, 12288): Cut(outputs=16, parts=16, simdgroups=16, depth=2),
    (132, "matmul_vector", "q4_0", 151936, 2048): Cut(outputs=16, parts=8, simdgroups=8, depth=4),
    (132, "matmul_vector", "q4_0", 151936, 4096): Cut(outputs=16, parts=8, simdgroups=8, depth=4),
    (132, "matmul_vector", "q4_0", 262144, 1152): Cut(outputs=16, parts=4, simdgroups=16, depth=4),
    (132, "norm_matmul_glu", "bf16", 6912, 1152): Cut(outputs=2, parts=1, simdgroups=16, depth=0),
    (132, "norm_matmul_glu", "bf16", 12288, 4096): Cut(outputs=3, parts=1, simdgroups=16, depth=0),
    (132, "norm_matmul_glu", "q4_0", 6912, 1152): Cut(outputs=16, parts=4, simdgroups=4, depth=2),
    (132, "norm_matmul_glu", "q4_0", 12288, 4096): Cut(outputs=16, parts=4, simdgroups=8, depth=1),
    (132, "norm_matmul_group", "bf16", 1536, 1152): Cut(outputs=2, parts=2, simdgroups=16, depth=0),
    (132, "norm_matmul_group", "bf16", 5120, 2048): Cut(outputs=2, parts=1, simdgroups=16, depth=0),
    (132, "norm_matmul_group", "bf16", 6144, 4096): Cut(outputs=3, parts=2, simdgroups=16, depth=0),
    (132, "norm_matmul_group", "q4_0", 1536, 1152): Cut(outputs=16, parts=16, simdgroups=16, depth=2),
    (132, "norm_matmul_group", "q4_0", 5120, 2048): Cut(outputs=16, parts=8, simdgroups=16, depth=4),
    (132, "norm_matmul_group", "q4_0", 6144, 4096): Cut(outputs=16, parts=8, simdgroups=8, depth=2),
}
