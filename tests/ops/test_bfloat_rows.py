"""What native kernels of many rows hand each other as bfloats: as exact as the table of tolerances asks, and the same
bits as rounding floats where they are read.
"""

from __future__ import annotations

import numpy as np
import pytest
from bfloats import from_bfloat, to_bfloat
from fastgo import tolerances
from harness import random_rows, random_weight, run, run_to_bfloat
from test_attention import positions_from, random_cache
from test_matmul import TESTED_FORMATS, glu_error, matmul_error
from variants import Variant

FORMATS = [format for format in TESTED_FORMATS if format != "f32"]


@pytest.mark.parametrize("op", ["matmul", "matmul_glu"])
@pytest.mark.parametrize("format", FORMATS)
def test_products_of_bfloats(variant: Variant, format: str, op: str) -> None:
    """Whole and broken tiles of rows, several blocks of rows, broken panels, columns beyond whole blocks."""
    if variant.name not in ("avx512_bf16", "avx512_amx"):
        pytest.skip("no native form for bfloats")
    names, attributes = ("weight",), {"activation": "none"}
    if op == "matmul_glu":
        names, attributes = ("gate", "up"), {"activation": "silu"}
    any_columns = format in ("f16", "bf16")
    for rows, columns, outputs in ((17, 256, 64), (64, 512, 70), (301, 768, 33), (530, 256 + 35 * any_columns, 96)):
        x = to_bfloat(random_rows(13, rows, columns))
        weights = [random_weight(format, outputs, columns, i) for i in range(len(names))]
        named = dict(zip(names, weights, strict=True))
        got = variant.call(run, op, {"x": x, **named}, attributes)["y"]
        floats = from_bfloat(x)
        worst = glu_error(got, floats, *weights, "silu") if op == "matmul_glu" else matmul_error(got, floats, *weights)
        print(f"worst {op} {variant.name} {format} of bfloats {rows} {columns} {worst:.2g}")
        assert worst <= tolerances.KERNELS[op, "bfloat16"], (rows, columns, outputs)
        if tolerances.matmul_precision(variant.name, format, rows) == "bfloat16":  # floats are rounded there too
            want = variant.call(run, op, {"x": floats, **named}, attributes)["y"]
            np.testing.assert_array_equal(got, want, err_msg=f"{rows} {columns} {outputs}")
        if op == "matmul_glu":
            rounded = variant.call(run_to_bfloat, op, {"x": x, **named}, attributes)["y"]
            np.testing.assert_array_equal(rounded, from_bfloat(to_bfloat(got)), err_msg=f"{rows} {columns} {outputs}")


@pytest.mark.parametrize("rows", [17, 64, 200])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("head_dim", [40, 64])
def test_attention_for_products(variant: Variant, head_dim: int, dtype: str, rows: int) -> None:
    """By whichever kernel: runs of rows, and rows of their own at the end."""
    first, heads, kv_heads = 5, 6, 2
    positions = positions_from(first, rows)
    positions[-3:] = positions[:3]
    inputs = {
        "q": random_rows(14, rows, heads * head_dim),
        "k_cache": random_cache(15, first + rows, kv_heads, 256, head_dim, dtype),
        "v_cache": random_cache(16, first + rows, kv_heads, 256, head_dim, dtype),
        "positions": positions,
        "sequences": np.ones(rows, np.int32),
    }
    attributes = {"scale": head_dim**-0.5, "window": 50}
    want = variant.call(run, "attention", inputs, attributes)["y"]
    got = variant.call(run_to_bfloat, "attention", inputs, attributes)["y"]
    np.testing.assert_array_equal(got, from_bfloat(to_bfloat(want)))
