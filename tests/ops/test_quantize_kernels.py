"""quantize and dequantize on the device: the same bytes and the same floats as on the host."""

from __future__ import annotations

import numpy as np
import pytest
from fastgo.assets import quant
from fastgo.assets.quant import FORMATS
from fastgo.ops import quantize
from fastgo.ops.dequantize import dequantize
from harness import Array, Bench, Weight, random_rows, random_weight
from variants import Variant

OWN = [f.name for f in FORMATS.values() if f.group_size is not None]


def run_quantize(x: Array, format: str) -> Array:
    bench = Bench({"x": x})
    bench.prepare({"y": quantize.quantize(bench.tensors["x"], format=format)})
    return bench.run()["y"]


def run_dequantize(weight: Weight) -> Array:
    bench = Bench({"weight": weight})
    bench.prepare({"y": dequantize(bench.graph, bench.tensors["weight"])})
    return bench.run()["y"]


@pytest.mark.parametrize("format", OWN)
def test_quantize(variant: Variant, format: str) -> None:
    for rows, columns in ((1, 128), (3, 640), (9, 1024)):
        x = random_rows(61, rows, columns)
        x[-1] = 0.0
        x[0, : columns // 2] += 3.0
        planar = variant.call(run_quantize, x, format)
        want = quantize.reference(x, format=format)
        for role, view in quant.plane_views(format, planar, rows, columns).items():
            np.testing.assert_array_equal(view, want[role], err_msg=f"{format} {role} {rows} {columns}")


def test_large_weights_stay_finite(variant: Variant) -> None:
    planar = variant.call(run_quantize, np.full((1, 32), 3e38, np.float32), "int8_g32")
    assert np.isfinite(quant.dequantize("int8_g32", planar, 1, 32)).all()


@pytest.mark.parametrize("format", FORMATS)
def test_dequantize(variant: Variant, format: str) -> None:
    for rows, columns in ((1, 256), (5, 768)):
        weight = random_weight(format, rows, columns)
        np.testing.assert_array_equal(variant.call(run_dequantize, weight), weight.dense().astype(np.float32))


def test_other_formats_are_refused() -> None:
    with pytest.raises(ValueError, match="own int8 and int4"):
        quantize.quantize(Bench({"x": random_rows(1, 2, 32)}).tensors["x"], format="q8_0")
