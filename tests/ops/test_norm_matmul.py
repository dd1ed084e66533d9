"""One row's norm and products in one kernel, for wide devices, against float64."""

from __future__ import annotations

import numpy as np
import pytest
from fastgo import tolerances
from fastgo.ops import norm_matmul_glu, norm_matmul_group
from fastgo.ops.vector_cuts import Cut
from fastgo.ops.vector_tuning import STREAM_FORMATS, TILE_FORMATS
from harness import Array, Input, error, product_scale, random_rows, random_weight, run_wide_cut
from variants import Variant

FORMATS = [{"int4": "int4_g32"}.get(format, format) for format in (*TILE_FORMATS, *STREAM_FORMATS)]
BEFORE = ("norm", "branch", "post_norm")  # what goes before: the norm alone, an add, an add of a normed branch


def stream_inputs(before: str, columns: int) -> dict[str, Input]:
    rng = np.random.default_rng(columns)
    inputs: dict[str, Input] = {"x": random_rows(1, 1, columns)}
    inputs["weight"] = rng.uniform(0.5, 1.5, columns).astype(np.float32)
    if before != "norm":
        inputs["branch"] = 3.0 * random_rows(2, 1, columns)
    if before == "post_norm":
        inputs["post_weight"] = rng.uniform(0.5, 1.5, columns).astype(np.float32)
    return inputs


def doubles(inputs: dict[str, Input]) -> dict[str, Array]:
    return {
        name: value.astype(np.float64) if isinstance(value, np.ndarray) else value.dense()
        for name, value in inputs.items()
    }


def normed(inputs: dict[str, Input]) -> Array:
    row = (doubles(inputs).get(name) for name in ("x", "weight", "branch", "post_weight"))
    return norm_matmul_group.normed_row(*row, 1e-6)[1]


def check_stream(before: str, got: dict[str, Array], want: Array) -> None:
    if before == "norm":
        assert "stream" not in got
    else:
        assert error(got["stream"], want) <= tolerances.KERNELS["add_rms_norm", "float32"]


def check_group(
    variant: Variant,
    format: str,
    before: str,
    has_bias: bool,
    columns: int,
    outputs: tuple[int, int, int],
    cut: Cut | None = None,
) -> None:
    inputs = stream_inputs(before, columns)
    for i, name in enumerate(("first", "second", "third")):
        inputs[name] = random_weight(format, outputs[i], columns, i)
        if has_bias:
            inputs[f"bias_{name}"] = 10.0 * random_rows(5 + i, outputs[i])
    got = variant.call(run_wide_cut, "norm_matmul_group", inputs, {"eps": 1e-6}, cut)
    stream, *products = norm_matmul_group.reference(**doubles(inputs), eps=1e-6)
    check_stream(before, got, stream)
    y = normed(inputs)
    for name, want in zip(("first", "second", "third"), products, strict=True):
        scale = product_scale(y, doubles(inputs)[name]) + np.abs(doubles(inputs).get(f"bias_{name}", 0.0))
        worst = error(got[f"y_{name}"], want, scale)
        print(f"worst norm_matmul_group {variant.name} {format} {columns} {worst:.2g}")
        assert worst <= tolerances.KERNELS["matmul", tolerances.matmul_precision(variant.name, format, 1)], (
            columns,
            name,
        )


def check_glu(variant: Variant, format: str, before: str, columns: int, outputs: int, cut: Cut | None = None) -> None:
    inputs = stream_inputs(before, columns)
    inputs |= {name: random_weight(format, outputs, columns, i) for i, name in enumerate(("gate", "up"))}
    attributes = {"eps": 1e-6, "activation": "gelu_tanh"}
    got = variant.call(run_wide_cut, "norm_matmul_glu", inputs, attributes, cut)
    stream, want = norm_matmul_glu.reference(**doubles(inputs), **attributes)
    check_stream(before, got, stream)
    y, gate, up = normed(inputs), doubles(inputs)["gate"], doubles(inputs)["up"]
    # What the rounding of each product comes to.
    scale = np.abs(y @ up.T) * product_scale(y, gate) + np.abs(y @ gate.T) * product_scale(y, up)
    worst = error(got["y"], want, scale)
    print(f"worst norm_matmul_glu {variant.name} {format} {columns} {worst:.2g}")
    assert worst <= tolerances.KERNELS["matmul_glu", tolerances.matmul_precision(variant.name, format, 1)], columns


@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("format", FORMATS)
def test_norm_matmul_group(variant: Variant, format: str, before: str, has_bias: bool) -> None:
    if variant.is_native:
        pytest.skip("a form for GPUs: the shader itself is tested")
    for columns, outputs in ((256, (1, 17, 33)), (1280, (70, 16, 16)), (7168, (20, 5, 5))):
        check_group(variant, format, before, has_bias, columns, outputs)


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("format", FORMATS)
def test_norm_matmul_glu(variant: Variant, format: str, before: str) -> None:
    if variant.is_native:
        pytest.skip("a form for GPUs: the shader itself is tested")
    for columns, outputs in ((256, 1), (1280, 90), (7168, 17)):
        check_glu(variant, format, before, columns, outputs)


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("format", STREAM_FORMATS)
def test_three_outputs_a_simdgroup(variant: Variant, format: str, parts: int) -> None:
    """No rule takes them, but measured cuts do; the outputs are no multiple of three."""
    if variant.is_native:
        pytest.skip("a form for GPUs: the shader itself is tested")
    cut = Cut(3, parts, 16)
    check_group(variant, format, "branch", True, 1280, (70, 16, 16), cut)
    check_glu(variant, format, "post_norm", 1280, 70, cut)
