"""matmul and matmul_glu in every weight format, by every way to run them, against float64."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from bfloats import to_bfloat
from fastgo import tolerances
from fastgo.assets.quant import FORMATS
from fastgo.ops import cases, matmul, matmul_glu
from fastgo.ops.common import ACTIVATIONS
from harness import (
    OWN_FORMATS,
    Array,
    Bench,
    Weight,
    error,
    product_scale,
    random_rows,
    random_weight,
    run,
    run_wide,
)
from variants import Variant

GGUF_FORMATS = [f.name for f in FORMATS.values() if f.gguf_type_id is not None]
TESTED_FORMATS = [*GGUF_FORMATS, *OWN_FORMATS]


def shapes(format: str) -> tuple[tuple[int, int, int], ...]:
    block_size = FORMATS[format].block_size
    return {1: cases.MATMUL_FLOAT, 32: cases.MATMUL_QUANTISED}.get(block_size, cases.MATMUL_SUPER_BLOCKS)


def tolerance(op: str, variant: Variant, format: str, rows: int) -> float:
    precision = tolerances.matmul_precision(variant.name, format, rows)
    return tolerances.KERNELS[op, precision]


def matmul_error(got: Array, x: Array, weight: Weight) -> float:
    doubles = x.astype(np.float64), weight.dense()
    return error(got, matmul.reference(*doubles), product_scale(*doubles))


def glu_error(got: Array, x: Array, gate: Weight, up: Weight, activation: str) -> float:
    """By what the rounding of each product comes to: a gate near zero forgets how large its inputs were."""
    inputs, gate_weight, up_weight = x.astype(np.float64), gate.dense(), up.dense()
    with np.errstate(over="ignore"):  # exp of a large negative gate
        want = matmul_glu.reference(inputs, gate_weight, up_weight, activation=activation)
    gates, ups = inputs @ gate_weight.T, inputs @ up_weight.T
    scale = np.abs(ups) * product_scale(inputs, gate_weight) + np.abs(gates) * product_scale(inputs, up_weight)
    return error(got, want, scale)


def test_all_gguf_formats_are_covered() -> None:
    assert len(GGUF_FORMATS) == 11


@pytest.mark.parametrize("format", TESTED_FORMATS)
def test_matmul(variant: Variant, format: str) -> None:
    for rows, columns, outputs in shapes(format):
        x, weight = random_rows(1, rows, columns), random_weight(format, outputs, columns)
        got = variant.call(run, "matmul", {"x": x, "weight": weight}, {})["y"]
        worst = matmul_error(got, x, weight)
        print(f"worst matmul {variant.name} {format} {rows} {columns} {outputs} {worst:.2g}")
        assert worst <= tolerance("matmul", variant, format, rows), (rows, columns, outputs)


@pytest.mark.parametrize(
    ("format", "activation"),
    [*product(GGUF_FORMATS, ["silu", "gelu_tanh"]), *product(["f32", "q8_0"], ["gelu_erf", "relu", "none"])],
)
def test_matmul_glu(variant: Variant, format: str, activation: str) -> None:
    for rows, columns, outputs in shapes(format):
        x = random_rows(2, rows, columns)
        gate, up = random_weight(format, outputs, columns, 1), random_weight(format, outputs, columns, 2)
        attributes = {"activation": activation}
        got = variant.call(run, "matmul_glu", {"gate": gate, "up": up, "x": x}, attributes)["y"]
        worst = glu_error(got, x, gate, up, activation)
        print(f"worst matmul_glu {variant.name} {format} {rows} {columns} {outputs} {worst:.2g}")
        assert worst <= tolerance("matmul_glu", variant, format, rows), (rows, columns, outputs)


@pytest.mark.parametrize("rows", [1, 3, 20])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS.keys() - {"none"}))
def test_gates_saturate(variant: Variant, activation: str, rows: int) -> None:
    """As glu does: large gates of either sign give the gate itself and zero."""
    gates = np.ldexp(np.float32(1.5), np.arange(7, 128, 4))
    x = np.zeros((rows, 32), np.float32)
    x[::2, 0], x[1::2, 0] = 1.0, -1.0
    gate, up = np.zeros((2, gates.size, 32), np.float32)
    gate[:, 0], up[:, 1], x[:, 1] = gates, 1.0, 1.0
    weights = {n: Weight("bf16", w.shape, to_bfloat(w).view(np.uint8).ravel()) for n, w in (("gate", gate), ("up", up))}
    got = variant.call(run, "matmul_glu", {**weights, "x": x}, {"activation": activation})["y"]
    np.testing.assert_allclose(got, np.maximum(x[:, :1] * gates, 0.0), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("format", ["f32", "bf16", "q8_0", "q4_0", "q6_k", "int4_g32"])
def test_bias_and_activation(variant: Variant, format: str, activation: str) -> None:
    """In every form: of one row, of few and of many, and those of wide devices; whole and broken tiles."""
    columns, outputs = 256, 75
    weight, bias = random_weight(format, outputs, columns), 3.0 * random_rows(5, outputs)
    runs = [(run, rows) for rows in (1, 3, 9, 17, 70)]
    runs += [] if variant.is_native else [(run_wide, rows) for rows in (1, 3, 9)]
    for form, rows in runs:
        x = random_rows(6, rows, columns)
        inputs = {"x": x, "weight": weight, "bias": bias}
        got = variant.call(form, "matmul", inputs, {"activation": activation})["y"]
        doubles = x.astype(np.float64), weight.dense()
        with np.errstate(over="ignore"):  # exp of a large negative value
            want = matmul.reference(*doubles, bias.astype(np.float64), activation=activation)
        worst = error(got, want, product_scale(*doubles) + np.abs(bias))
        print(f"worst matmul {variant.name} {format} {activation} {rows} {worst:.2g}")
        is_few = form is run_wide and rows > 1  # their inputs are rounded by the shaders on every device
        precision = tolerances.matmul_precision("device" if is_few else variant.name, format, rows)
        # No activation is steeper than 1.13.
        assert worst <= 1.13 * tolerances.KERNELS["matmul", precision], rows


def test_a_bias_or_activation_that_does_not_fit_is_refused() -> None:
    bench = Bench({"x": random_rows(1, 2, 32), "weight": random_weight("q4_0", 5, 32), "bias": random_rows(2, 6)})
    x, weight, bias = (bench.tensors[name] for name in ("x", "weight", "bias"))
    with pytest.raises(ValueError, match="can't add bias"):
        matmul.matmul(x, weight, bias)
    with pytest.raises(ValueError, match="unknown activation swish"):
        matmul.matmul(x, weight, activation="swish")


def run_in_large_tiles(op: str, inputs: dict[str, Array | Weight], attributes: dict[str, str]) -> Array:
    """As `run`, with the tile that shapes of a test's size do not get by themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matmul, "LARGE_TILES", 1)
        return run(op, inputs, attributes)["y"]


@pytest.mark.parametrize("format", ["bf16", "q4_0", "q6_k"])
def test_large_tiles(variant: Variant, format: str) -> None:
    rows, columns, outputs = 130, 512 if format == "q6_k" else 96, 140
    x, gate, up = random_rows(4, rows, columns), *(random_weight(format, outputs, columns, seed) for seed in (1, 2))
    got = variant.call(run_in_large_tiles, "matmul", {"x": x, "weight": up}, {})
    assert matmul_error(got, x, up) <= tolerance("matmul", variant, format, rows)
    got = variant.call(run_in_large_tiles, "matmul_glu", {"gate": gate, "up": up, "x": x}, {"activation": "silu"})
    assert glu_error(got, x, gate, up, "silu") <= tolerance("matmul_glu", variant, format, rows)


@pytest.mark.parametrize("width", [16, 132])
@pytest.mark.parametrize("format", TESTED_FORMATS)
def test_one_row_on_wide_devices(variant: Variant, format: str, width: int) -> None:
    """The one-row forms for GPUs, with whole and broken tiles and with columns shared by several simdgroups."""
    if variant.is_native:
        pytest.skip("a form for GPUs: the shader itself is tested")
    block_size = max(32, FORMATS[format].block_size)
    for columns, outputs in ((block_size, 1), (block_size * 3, 13), (block_size * 9, 70), (2304, 33), (7424, 5)):
        x = random_rows(3, 1, columns)
        weight, up = random_weight(format, outputs, columns), random_weight(format, outputs, columns, 2)
        got = variant.call(run_wide, "matmul", {"x": x, "weight": weight}, {}, width)["y"]
        assert matmul_error(got, x, weight) <= tolerance("matmul", variant, format, 1), (columns, outputs)
        inputs = {"gate": weight, "up": up, "x": x}
        got = variant.call(run_wide, "matmul_glu", inputs, {"activation": "gelu_tanh"}, width)["y"]
        assert glu_error(got, x, weight, up, "gelu_tanh") <= tolerance("matmul_glu", variant, format, 1), columns


@pytest.mark.parametrize("format", ["q4_0", "bf16"])
def test_tiles_of_wide_devices(variant: Variant, format: str) -> None:
    """Every tile of outputs: so many of them that a simdgroup gets two, then four; and more tiles than cores."""
    if variant.is_native:
        pytest.skip("a form for GPUs: the shader itself is tested")
    for outputs, width in ((4300, 16), (8501, 16), (8501, 132)):
        x, weight = random_rows(4, 1, 64), random_weight(format, outputs, 64)
        got = variant.call(run_wide, "matmul", {"x": x, "weight": weight}, {}, width)["y"]
        assert matmul_error(got, x, weight) <= tolerance("matmul", variant, format, 1), (outputs, width)


@pytest.mark.parametrize("format", ["q8_0", "q4_1", "q6_k", "bf16"])
def test_a_row_of_nans_stays_one_and_spoils_no_other(variant: Variant, format: str) -> None:
    """Sampling tells a model that has gone wrong by logits that are all NaN; one NaN among the inputs is enough."""
    weight = random_weight(format, 48, 512, 1)
    for rows in (1, 3, 8, 13, 40):
        x = random_rows(1, rows, 512)
        want = variant.call(run, "matmul", {"x": x, "weight": weight}, {})["y"]
        for columns in (slice(None), 3, 20, 511):
            spoilt = x.copy()
            spoilt[rows // 2, columns] = np.nan
            got = variant.call(run, "matmul", {"x": spoilt, "weight": weight}, {})["y"]
            assert np.isnan(got[rows // 2]).all(), (rows, columns)
            np.testing.assert_array_equal(np.delete(got, rows // 2, 0), np.delete(want, rows // 2, 0))


@pytest.mark.parametrize("format", ["q4_0", "q4_1", "q4_k", "int4_g32", "int4_g128_zero"])
def test_a_few_rows_on_wide_devices(variant: Variant, format: str) -> None:
    """Tiles for rounded rows: whole and broken ones, columns shared by several simdgroups, more than eight rows."""
    if variant.is_native:
        pytest.skip("a form for GPUs: the shader itself is tested")
    block_size = max(32, FORMATS[format].group_size or FORMATS[format].block_size)
    for rows, columns, outputs in (
        (2, block_size, 1),
        (3, block_size * 3, 13),
        (8, 2304, 450),
        (11, block_size * 9, 33),
    ):
        x = random_rows(3, rows, columns)
        weight, up = random_weight(format, outputs, columns), random_weight(format, outputs, columns, 2)
        for width in (2, 132):  # a threadgroup has four tiles, or two
            got = variant.call(run_wide, "matmul", {"x": x, "weight": weight}, {}, width)["y"]
            worst = matmul_error(got, x, weight)
            assert worst <= tolerances.KERNELS["matmul", "int16 activations"], (rows, columns, outputs)
        inputs = {"gate": weight, "up": up, "x": x}
        got = variant.call(run_wide, "matmul_glu", inputs, {"activation": "gelu_tanh"})["y"]
        worst = glu_error(got, x, weight, up, "gelu_tanh")
        assert worst <= tolerances.KERNELS["matmul_glu", "int16 activations"], columns


def test_huge_and_tiny_activations(variant: Variant) -> None:
    """Gemma's residual stream leaves float16's range; a block far below the others keeps its own scale."""
    weight = random_weight("q4_k", 40, 512)
    for rows in (1, 9):
        x = random_rows(3, rows, 512)
        x[:, :64] *= 1e6
        x[:, 64:256] *= 1e-9
        got = variant.call(run, "matmul", {"x": x, "weight": weight}, {})["y"]
        worst = matmul_error(got, x, weight)
        assert worst <= tolerance("matmul", variant, "q4_k", rows)


def test_inputs_of_zero_give_zero(variant: Variant) -> None:
    for rows in (1, 3):
        inputs = {"x": np.zeros((rows, 96), np.float32), "weight": random_weight("q5_1", 7, 96)}
        assert not variant.call(run, "matmul", inputs, {})["y"].any()
