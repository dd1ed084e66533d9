"""The parts of one row's attention and the output projection in one kernel, for wide devices, against float64."""

from __future__ import annotations

import numpy as np
import pytest
from fastgo import tolerances
from fastgo.ops import combine_matmul
from fastgo.ops.vector_cuts import Cut
from fastgo.ops.vector_tuning import STREAM_FORMATS, TILE_FORMATS
from harness import error, product_scale, random_weight, run_wide_cut
from variants import Variant

FORMATS = [{"int4": "int4_g32"}.get(format, format) for format in (*TILE_FORMATS, *STREAM_FORMATS)]


@pytest.mark.parametrize(
    ("format", "cut"), [*((f, None) for f in FORMATS), *((f, Cut(3, 2, 16)) for f in STREAM_FORMATS)]
)
def test_combine_matmul(variant: Variant, format: str, cut: Cut | None) -> None:
    """With the cuts that the rule finds, and with three outputs a simdgroup, which only measured ones have."""
    if variant.is_native:
        pytest.skip("a form for GPUs: the shader itself is tested")
    rng = np.random.default_rng(1)
    for heads, splits, head_dim, outputs in ((4, 16, 256, 33), (8, 1, 64, 16), (32, 4, 128, 70), (28, 3, 256, 5)):
        partial = rng.standard_normal((1, heads, splits, head_dim)).astype(np.float32)
        bests = (10 * rng.standard_normal((1, heads, splits))).astype(np.float32)
        totals = rng.uniform(1.0, 30.0, (1, heads, splits)).astype(np.float32)
        if splits > 1:  # a part beyond the context
            partial[:, :, -1], bests[:, :, -1], totals[:, :, -1] = 0.0, -1e30, 0.0
        weight = random_weight(format, outputs, heads * head_dim)
        inputs = {"partial": partial, "bests": bests, "totals": totals, "weight": weight}
        got = variant.call(run_wide_cut, "combine_matmul", inputs, {}, cut)["y"]
        doubles = [array.astype(np.float64) for array in (partial, bests, totals)]
        want = combine_matmul.reference(*doubles, weight.dense())
        row = combine_matmul.reference(*doubles, np.eye(heads * head_dim))
        worst = error(got, want, product_scale(row, weight.dense()))
        print(f"worst combine_matmul {variant.name} {format} {heads} {splits} {head_dim} {worst:.2g}")
        assert worst <= tolerances.KERNELS["matmul", tolerances.matmul_precision(variant.name, format, 1)], (
            heads,
            splits,
            head_dim,
        )
