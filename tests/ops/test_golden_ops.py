"""Every kernel against the stored goldens of tools/make_op_goldens.py, by every way to run it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from fastgo import tolerances
from golden_cases import GoldenCase, golden_cases
from harness import Array, Weight, error, product_scale, run
from variants import Variant

FOLDER = Path(__file__).parents[1] / "goldens" / "ops"
CASES = {f"{case.op} {case.name}": case for case in golden_cases()}
LOOSE = 1e-4  # for what has no row in the table of tolerances: outputs of norms, gates and attention in float32


@cache
def goldens(op: str) -> dict[str, Array]:
    with np.load(FOLDER / f"{op}.npz") as arrays:
        return dict(arrays)


def tolerance(case: GoldenCase, variant: Variant, output: str) -> float:
    if case.op in ("matmul", "matmul_glu"):
        format = next(value.format for value in case.inputs.values() if isinstance(value, Weight))
        return tolerances.KERNELS[case.op, tolerances.matmul_precision(variant.name, format, len(case.inputs["x"]))]
    if output.endswith("cache"):
        return tolerances.KERNELS["rope_cache", case.inputs[output].dtype.name] + 9 * 2.0**-22
    return LOOSE if case.inputs.get("k_cache", np.zeros(0)).dtype != np.float16 else 10 * LOOSE


def scale_of(case: GoldenCase) -> Array | None:
    """How large a product is before it cancels, where the operation is one."""
    dense = {name: value.dense() for name, value in case.inputs.items() if isinstance(value, Weight)}
    if case.op not in ("matmul", "matmul_glu"):
        return None
    x = case.inputs["x"].astype(np.float64)
    if case.op == "matmul":
        return product_scale(x, dense["weight"])
    gate, up = dense["gate"], dense["up"]
    return np.abs(x @ up.T) * product_scale(x, gate) + np.abs(x @ gate.T) * product_scale(x, up)


@pytest.mark.parametrize("name", CASES)
def test_golden(variant: Variant, name: str) -> None:
    case = CASES[name]
    got = variant.call(run, case.op, case.inputs, case.attributes)
    for output in filter(None, case.outputs):
        want = goldens(case.op)[f"{case.name}/{output}"]
        worst = error(got[output].astype(np.float32), want, scale_of(case))
        print(f"worst {case.op} {variant.name} {case.name} {output} {worst:.2g}")
        assert worst <= tolerance(case, variant, output), output


@pytest.mark.parametrize("name", CASES)
def test_the_inputs_are_those_of_the_golden(name: str) -> None:
    case = CASES[name]
    assert goldens(case.op)[f"{case.name}/inputs"].tobytes() == case.digest()
