"""gemm of float matrices in every layout, by every way to run it, against float64."""

from __future__ import annotations

import numpy as np
import pytest
from fastgo import tolerances
from fastgo.ops import cases, gemm
from fastgo.ops.common import ACTIVATIONS
from harness import Array, Bench, error, random_rows
from variants import Variant


def run_gemm(inputs: dict[str, Array], transposed: str, activation: str) -> Array:
    """`transposed` names the operands that are stored column by column; inputs are as stored."""
    bench = Bench(inputs)
    operands = {name: t.transpose(0, 2, 1) if name in transposed else t for name, t in bench.tensors.items()}
    bench.prepare({"y": gemm.gemm(**operands, activation=activation)})
    return bench.run()["y"]


def check(variant: Variant, a: Array, b: Array, bias: Array | None, transposed: str, activation: str) -> None:
    stored = {"a": a, "b": b} | ({} if bias is None else {"bias": bias})
    for name in transposed:
        stored[name] = np.ascontiguousarray(stored[name].swapaxes(1, 2))
    got = variant.call(run_gemm, stored, transposed, activation)
    doubles = a.astype(np.float64), b.astype(np.float64)
    want = gemm.reference(*doubles, None if bias is None else bias.astype(np.float64), activation=activation)
    scale = np.sqrt(np.square(doubles[0]) @ np.square(doubles[1])) + np.abs(0.0 if bias is None else bias)
    worst = error(got, want, scale)
    case = (a.dtype.name, a.shape, b.shape, transposed, activation)
    print(f"worst gemm {variant.name} {case} {worst:.2g}")
    assert worst <= tolerances.KERNELS["gemm", "float32"], case


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("transposed", ["", "a", "b", "ab"])
def test_layouts_and_edges(variant: Variant, dtype: type, transposed: str) -> None:
    for batch, rows, inner, columns in cases.GEMM:
        a, b = random_rows(41, batch, rows, inner).astype(dtype), random_rows(42, batch, inner, columns).astype(dtype)
        check(variant, a, b, None, transposed, "none")


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_bias_and_activation(variant: Variant, activation: str) -> None:
    a, b, bias = random_rows(43, 2, 37, 50) * 0.1, random_rows(44, 2, 50, 45), random_rows(45, 45)
    check(variant, a, b, bias, "b", activation)


def test_one_operand_for_the_whole_batch(variant: Variant) -> None:
    check(variant, random_rows(46, 3, 9, 20), random_rows(47, 1, 20, 33), None, "", "none")
    check(variant, random_rows(48, 1, 9, 20), random_rows(49, 3, 20, 33), random_rows(50, 33), "b", "relu")


def test_bfloat16(variant: Variant) -> None:
    a, b = (random_rows(seed, 2, 40, 40).view(np.uint32) >> 16 for seed in (51, 52))
    stored = {"a": a.astype(np.uint16), "b": b.astype(np.uint16)}
    doubles = [(bits << 16).astype(np.uint32).view(np.float32).astype(np.float64) for bits in (a, b)]
    got = variant.call(run_gemm, stored, "", "none")
    scale = np.sqrt(np.square(doubles[0]) @ np.square(doubles[1]))
    assert error(got, gemm.reference(*doubles), scale) <= tolerances.KERNELS["gemm", "float32"]


def test_shapes_that_do_not_fit_are_refused() -> None:
    tensors = Bench(
        {"a": random_rows(1, 3, 4), "b": random_rows(2, 5, 6), "half": np.zeros((4, 6), np.float16)}
    ).tensors
    for other in ("b", "half"):
        with pytest.raises(ValueError, match="can't multiply"):
            gemm.gemm(tensors["a"], tensors[other])
    with pytest.raises(ValueError, match="unknown activation"):
        gemm.gemm(tensors["a"], tensors["a"].transpose(1, 0), activation="swish")
