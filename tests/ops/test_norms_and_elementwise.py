"""The norms, glu, embed and all elementwise operations by every way to run them, against float64."""

from __future__ import annotations

import numpy as np
import pytest
from bfloats import from_bfloat, to_bfloat
from fastgo import tolerances
from fastgo.assets.quant import FORMATS
from fastgo.ops import (
    add_rms_norm,
    cases,
    cast,
    embed,
    glu,
    layer_norm,
    rms_norm,
    sandwich_norm,
    scatter_rows,
    soft_cap,
    transpose_2d,
)
from fastgo.ops.common import ACTIVATIONS
from fastgo.ops.copy import copy
from harness import Array, Bench, error, random_rows, random_weight, run, run_wide_to_bfloat
from variants import Variant


def check(op: str, variant: Variant, case: object, got: Array, want: Array) -> None:
    worst = error(got, want)
    print(f"worst {op} {variant.name} {case} {worst:.2g}")
    assert worst <= tolerances.KERNELS[op, "float32"], case


BFLOAT_STEP = 2.0**-8 * 1.001  # of an element's size: twice what rounding may take


def norm_weight(seed: int, columns: int) -> Array:
    return np.random.default_rng([seed, columns]).uniform(0.5, 1.5, columns).astype(np.float32)


def doubles(*arrays: Array) -> list[Array]:
    return [array.astype(np.float64) for array in arrays]


@pytest.mark.parametrize("eps", [1e-6, 1e-2])
def test_rms_norm(variant: Variant, eps: float) -> None:
    for rows, columns in cases.NORM:
        x, weight = random_rows(4, rows, columns), norm_weight(1, columns)
        got = variant.call(run, "rms_norm", {"x": x, "weight": weight}, {"eps": eps})["y"]
        check("rms_norm", variant, (rows, columns), got, rms_norm.reference(*doubles(x, weight), eps=eps))


def test_rms_norm_of_zeros_is_zero(variant: Variant) -> None:
    inputs = {"x": np.zeros((2, 70), np.float32), "weight": norm_weight(1, 70)}
    assert not variant.call(run, "rms_norm", inputs, {"eps": 1e-6})["y"].any()


def test_add_rms_norm(variant: Variant) -> None:
    for rows, columns in cases.NORM:
        x, branch, weight = random_rows(5, rows, columns), random_rows(6, rows, columns), norm_weight(1, columns)
        got = variant.call(run, "add_rms_norm", {"x": x, "branch": branch, "weight": weight}, {"eps": 1e-6})
        want = add_rms_norm.reference(*doubles(x, branch, weight), eps=1e-6)
        for name, values in zip(("x", "y"), want, strict=True):
            check("add_rms_norm", variant, (rows, columns, name), got[name], values)


def test_sandwich_norm(variant: Variant) -> None:
    for rows, columns in cases.NORM:
        inputs = {
            "x": random_rows(7, rows, columns),
            "branch": random_rows(8, rows, columns),
            "post_weight": norm_weight(1, columns),
            "weight": norm_weight(2, columns),
        }
        got = variant.call(run, "sandwich_norm", inputs, {"eps": 1e-6})
        want = sandwich_norm.reference(*doubles(*inputs.values()), eps=1e-6)
        for name, values in zip(("x", "y"), want, strict=True):
            check("sandwich_norm", variant, (rows, columns, name), got[name], values)


@pytest.mark.parametrize("op", ["rms_norm", "add_rms_norm", "sandwich_norm"])
def test_norms_for_products(variant: Variant, op: str) -> None:
    """Written as bfloat, as products of many rows read them."""
    for rows, columns in cases.NORM:
        inputs = {"x": random_rows(7, rows, columns), "weight": norm_weight(2, columns)}
        if op != "rms_norm":
            inputs["branch"] = random_rows(8, rows, columns)
        if op == "sandwich_norm":
            inputs["post_weight"] = norm_weight(1, columns)
        got = variant.call(run_wide_to_bfloat, op, inputs, {"eps": 1e-6})
        arguments = {name: value.astype(np.float64) for name, value in inputs.items()}
        if op == "rms_norm":
            want: tuple[Array, ...] = (rms_norm.reference(**arguments, eps=1e-6),)
        else:
            module = add_rms_norm if op == "add_rms_norm" else sandwich_norm
            want = module.reference(**arguments, eps=1e-6)
            check(op, variant, (rows, columns, "stream"), got["x"], want[0])
        assert np.all(np.abs(got["y"] - want[-1]) <= BFLOAT_STEP * np.abs(want[-1]) + 1e-6), (rows, columns)


@pytest.mark.parametrize("has_bias", [False, True])
def test_layer_norm(variant: Variant, has_bias: bool) -> None:
    for rows, columns in cases.NORM:
        inputs = {"x": random_rows(27, rows, columns) + 3.0 * (rows > 1), "weight": norm_weight(1, columns)}
        if has_bias:
            inputs["bias"] = norm_weight(4, columns)
        got = variant.call(run, "layer_norm", inputs, {"eps": 1e-5})["y"]
        want = layer_norm.reference(*doubles(*inputs.values()), eps=1e-5)
        check("layer_norm", variant, (rows, columns, has_bias), got, want)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_glu(variant: Variant, activation: str) -> None:
    for rows, columns in cases.GLU:
        gate, up = random_rows(9, rows, columns), random_rows(10, rows, columns)
        got = variant.call(run, "glu", {"gate": gate, "up": up}, {"activation": activation})["y"]
        check("glu", variant, (rows, columns), got, glu.reference(*doubles(gate, up), activation=activation))


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_glu_of_bfloats(variant: Variant, activation: str) -> None:
    for rows, columns in cases.GLU:
        gate, up = (to_bfloat(random_rows(seed, rows, columns)) for seed in (9, 10))
        got = from_bfloat(variant.call(run, "glu", {"gate": gate, "up": up}, {"activation": activation})["y"])
        want = glu.reference(*doubles(from_bfloat(gate), from_bfloat(up)), activation=activation)
        assert np.all(np.abs(got - want) <= BFLOAT_STEP * np.abs(want) + 1e-6), (rows, columns)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS.keys() - {"none"}))
def test_glu_saturates(variant: Variant, activation: str) -> None:
    """Large gates of either sign give the gate itself and zero, not NaN."""
    gate = np.array([[1e4, -1e4, 1e30, -1e30, 3e38, -1e36, -3e38, 0.0, -90.0, 90.0]], np.float32)
    inputs = {"gate": gate, "up": np.ones_like(gate)}
    got = variant.call(run, "glu", inputs, {"activation": activation})["y"]
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, np.maximum(gate, 0.0), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("format", [f.name for f in FORMATS.values() if f.gguf_type_id is not None])
def test_embed(variant: Variant, format: str) -> None:
    tokens = np.array([3, 0, 39, 3], np.int32)
    for columns in {1: (1, 7, 33, 640), 32: (32, 96, 576), 256: (256, 2048)}[FORMATS[format].block_size]:
        table = random_weight(format, 40, columns)
        got = variant.call(run, "embed", {"table": table, "tokens": tokens}, {"scale": 25.25})["y"]
        check("embed", variant, (format, columns), got, embed.reference(table.dense(), tokens, scale=25.25))


def test_embed_without_scale_is_exact(variant: Variant) -> None:
    """The shaders dequantise to the bit, as the reference does."""
    for format in FORMATS:
        table = random_weight(format, 9, 256)
        tokens = np.arange(9, dtype=np.int32)
        got = variant.call(run, "embed", {"table": table, "tokens": tokens}, {"scale": 1.0})["y"]
        np.testing.assert_array_equal(got, table.dense().astype(np.float32), err_msg=format)


@pytest.mark.parametrize(
    ("a", "b"),
    [((1,), (1,)), ((3, 5), (3, 5)), ((2, 1, 7), (5, 1)), ((4, 3), (3,)), ((2, 3, 4, 5), (3, 1, 5)), ((300, 7), (1,))],
)
def test_add_broadcasts(variant: Variant, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = random_rows(11, *a), random_rows(12, *b)
    got = variant.call(run, "add", {"a": x, "b": y}, {})["y"]
    np.testing.assert_array_equal(got, x + y)


def test_bias_add(variant: Variant) -> None:
    for rows, columns in cases.NORM:
        x, bias = random_rows(26, rows, columns), norm_weight(3, columns)
        got = variant.call(run, "bias_add", {"x": x, "bias": bias}, {})["y"]
        check("bias_add", variant, (rows, columns), got, (x + bias).astype(np.float64))


def run_copy_of_views(x: Array) -> dict[str, Array]:
    """Dense copies of several views of x (6, 4, 5)."""
    bench = Bench({"x": x})
    whole = bench.tensors["x"]
    views = {
        "whole": whole,
        "transpose": whole.transpose(2, 0, 1),
        "rows": whole.rows(2, 5),
        "rows of transpose": whole.transpose(1, 0, 2).rows(1, 3),
        "broadcast": whole.rows(1, 2).broadcast_to(3, 4, 5),
        "reshape": whole.reshape(8, 15).rows(3, 8),
    }
    bench.prepare({name: copy(view) for name, view in views.items()})
    return bench.run()


def test_copy(variant: Variant) -> None:
    x = random_rows(13, 6, 4, 5)
    got = variant.call(run_copy_of_views, x)
    np.testing.assert_array_equal(got["whole"], x)
    np.testing.assert_array_equal(got["transpose"], x.transpose(2, 0, 1))
    np.testing.assert_array_equal(got["rows"], x[2:5])
    np.testing.assert_array_equal(got["rows of transpose"], x.transpose(1, 0, 2)[1:3])
    np.testing.assert_array_equal(got["broadcast"], np.broadcast_to(x[1:2], (3, 4, 5)))
    np.testing.assert_array_equal(got["reshape"], x.reshape(8, 15)[3:8])


@pytest.mark.parametrize("cap", [30.0, 0.5])
def test_soft_cap(variant: Variant, cap: float) -> None:
    for rows, columns in cases.GLU:
        x = 10.0 * random_rows(28, rows, columns)
        got = variant.call(run, "soft_cap", {"x": x}, {"cap": cap})["y"]
        check("soft_cap", variant, (rows, columns, cap), got, soft_cap.reference(*doubles(x), cap=cap))


def test_soft_cap_saturates(variant: Variant) -> None:
    x = np.array([[3e38, -3e38, 0.0, 1e-30]], np.float32)
    got = variant.call(run, "soft_cap", {"x": x}, {"cap": 50.0})["y"]
    np.testing.assert_allclose(got, [[50.0, -50.0, 0.0, 1e-30]], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_cast_there_and_back(variant: Variant, dtype: str) -> None:
    """To 16 bits with rounding to nearest even, and back without a change."""
    ties = [1 + 2.0**-11, 1 + 3 * 2.0**-11, 1 + 2.0**-8, 1 + 3 * 2.0**-8, -0.0, 1e-7, 1e-3]
    x = np.concatenate([random_rows(29, 1, 700).ravel(), np.array(ties, np.float32)])
    narrow = variant.call(run, "cast", {"x": x}, {"dtype": dtype})["y"]
    got = variant.call(run, "cast", {"x": narrow}, {"dtype": "f32"})["y"]
    np.testing.assert_array_equal(got, cast.reference(x, dtype=dtype))


def test_transpose_2d(variant: Variant) -> None:
    for shape in cases.TRANSPOSE_2D:
        x = random_rows(30, *shape)
        got = variant.call(run, "transpose_2d", {"x": x}, {})["y"]
        np.testing.assert_array_equal(got, transpose_2d.reference(x), err_msg=str(shape))


def test_scatter_rows(variant: Variant) -> None:
    """Rows in any order; one that is not there and a negative one change nothing."""
    for count, columns, y_rows in cases.SCATTER_ROWS:
        rows = np.random.default_rng(count).permutation(y_rows)[:count].astype(np.int32)
        if count > 2:
            rows[:2] = y_rows, -1
        inputs = {"x": random_rows(31, count, columns), "rows": rows, "y": random_rows(32, y_rows, columns)}
        got = variant.call(run, "scatter_rows", inputs, {})["y"]
        np.testing.assert_array_equal(got, scatter_rows.reference(**inputs))


def test_dropout_that_stays_is_a_copy(variant: Variant) -> None:
    x = random_rows(33, 3, 70)
    np.testing.assert_array_equal(variant.call(run, "dropout", {"x": x}, {"rate": 0.5})["y"], x)
