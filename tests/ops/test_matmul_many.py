"""Products of many rows on wide devices: three in one launch, and those whose columns are shared out."""

from __future__ import annotations

import numpy as np
import pytest
from bfloats import from_bfloat, to_bfloat
from fastgo import tolerances
from fastgo.graph.dag import Graph, Storage, Tensor
from fastgo.graph.passes import run_passes
from fastgo.ops import matmul, matmul_group
from harness import Input, Weight, error, product_scale, random_rows, random_weight, run_wide, run_wide_to_bfloat
from test_matmul import TESTED_FORMATS
from variants import Variant

NAMES = ("first", "second", "third")
FORMATS = [format for format in TESTED_FORMATS if format != "f32"]


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_three_products_in_one_launch(variant: Variant, format: str, has_bias: bool) -> None:
    """Widths that differ, whole and broken tiles; small tiles and large ones."""
    if variant.is_native:
        pytest.skip("a form for GPUs: the shader itself is tested")
    columns = 256
    for rows, widths, large_tiles in ((17, (70, 16, 1), 100), (130, (140, 64, 33), 1)):
        inputs: dict[str, Input] = {"x": random_rows(7, rows, columns)}
        for i, name in enumerate(NAMES):
            inputs[name] = random_weight(format, widths[i], columns, i)
            if has_bias:
                inputs[f"bias_{name}"] = 3.0 * random_rows(8 + i, widths[i])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(matmul, "LARGE_TILES", large_tiles)
            got = variant.call(run_wide, "matmul_group", inputs, {})
        doubles = {n: v.dense() if isinstance(v, Weight) else v.astype(np.float64) for n, v in inputs.items()}
        for name, want in zip(NAMES, matmul_group.reference(**doubles), strict=True):
            scale = product_scale(doubles["x"], doubles[name]) + np.abs(doubles.get(f"bias_{name}", 0.0))
            worst = error(got[f"y_{name}"], want, scale)
            print(f"worst matmul_group {variant.name} {format} {rows} {worst:.2g}")
            assert worst <= tolerances.KERNELS["matmul", "bfloat16"], (rows, name)


@pytest.mark.parametrize(("has_bias", "activation"), [(False, "none"), (True, "silu")])
@pytest.mark.parametrize("format", FORMATS)
def test_columns_shared_out(variant: Variant, format: str, has_bias: bool, activation: str) -> None:
    """Two parts, and as many as there may be; the last one shorter."""
    if variant.is_native:
        pytest.skip("a form for GPUs: the shader itself is tested")
    for rows, columns, outputs in ((17, 512, 1), (70, 2304, 90)):
        x, weight = random_rows(11, rows, columns), random_weight(format, outputs, columns)
        bias = 3.0 * random_rows(12, outputs) if has_bias else None
        inputs = {"x": x, "weight": weight} | ({} if bias is None else {"bias": bias})
        got = variant.call(run_wide, "matmul_split", inputs, {"activation": activation})["y"]
        doubles = x.astype(np.float64), weight.dense()
        with np.errstate(over="ignore"):  # exp of a large negative value
            want = matmul.reference(*doubles, bias, activation=activation)
        worst = error(got, want, product_scale(*doubles) + np.abs(0.0 if bias is None else bias))
        print(f"worst matmul_split {variant.name} {format} {rows} {columns} {worst:.2g}")
        # No activation is steeper than 1.13.
        assert worst <= 1.13 * tolerances.KERNELS["matmul", "bfloat16"], (rows, columns)


@pytest.mark.parametrize("op", ["matmul", "matmul_glu", "matmul_group", "matmul_split"])
def test_inputs_that_were_rounded_before(variant: Variant, op: str) -> None:
    """Products round their inputs to bfloat: inputs that are bfloats give the same, whole and broken vectors."""
    if variant.is_native:
        pytest.skip("a form for GPUs: the shader itself is tested")
    weights = {"matmul": ("weight",), "matmul_glu": ("gate", "up"), "matmul_group": NAMES, "matmul_split": ("weight",)}
    for rows, columns, format in ((17, 512, "q4_0"), (130, 2304, "bf16"), (70, 515, "f16")):
        x = to_bfloat(random_rows(13, rows, columns))
        inputs = {name: random_weight(format, 70, columns, i) for i, name in enumerate(weights[op])}
        attributes = {"activation": "silu"} if op == "matmul_glu" else {}
        want = variant.call(run_wide, op, {"x": from_bfloat(x), **inputs}, attributes)
        got = variant.call(run_wide, op, {"x": x, **inputs}, attributes)
        for name, values in want.items():
            np.testing.assert_array_equal(got[name], values, err_msg=f"{name} {rows} {columns} {format}")
        if op == "matmul_glu":
            rounded = variant.call(run_wide_to_bfloat, op, {"x": x, **inputs}, attributes)["y"]
            # Gate and up may be rounded themselves: three roundings, and a gate's slope of 1.1 at most.
            size = np.abs(want["y"]) + np.abs(want["y"]).mean(axis=-1, keepdims=True)
            assert np.all(np.abs(rounded - want["y"]) <= 2.0**-6 * size)


def products(width: int, rows: int, outputs: tuple[int, ...], format: str = "q4_0") -> list[str]:
    """The operations that become of the products of one input with several weights."""
    graph = Graph(width)
    x = graph.tensor("x", (rows, 1024), "f32", Storage.STATE)
    weights: list[Tensor] = [graph.tensor(f"w{i}", (n, 1024), format, Storage.WEIGHT) for i, n in enumerate(outputs)]
    graph.results += [matmul.matmul(x, weight) for weight in weights]
    run_passes(graph)
    return [node.op.name for node in graph.nodes]


def test_which_products_are_joined_or_shared_out() -> None:
    assert products(132, 64, (512, 64, 64)) == ["matmul_group"]
    assert products(132, 16, (512, 64, 64)) == ["round_rows", *["batch_matmul"] * 3]  # few rows
    assert products(1, 64, (512, 64, 64)) == ["matmul"] * 3  # a CPU
    assert products(132, 64, (512, 64, 64), "f32") == ["matmul"] * 3
    assert products(132, 64, (1024,)) == ["matmul_split"]  # 16 tiles
    assert products(132, 512, (1024,)) == ["matmul"]  # 128 tiles
