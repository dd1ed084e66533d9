"""Large products through cuBLASLt against the shaders' own; only where there is a GPU and the library."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from bfloats import to_bfloat
from fastgo import tolerances
from fastgo.engine.devices import device_kind, installed_library, list_devices
from harness import Array, Input, Weight, product_scale, random_rows, random_weight, run, run_wide_to_bfloat
from test_matmul import glu_error, matmul_error

FORMATS = ("bf16", "f16", "q4_0", "q4_k", "q6_k", "q8_0", "int4_g32")
SHAPES = ((64, 96, 256), (512, 1000, 512), (129, 2048, 1024))  # rows, outputs, columns


def enter(cublas: str) -> None:
    os.environ["FASTGO_DEVICE"] = "cuda"
    os.environ["FASTGO_CUBLAS"] = cublas


def products(inputs: tuple[Array, Weight, Weight]) -> tuple[Array, Array]:
    """A product and a gated unit; in a process with a device of its own, where other forms must give the same."""
    x, gate, up = inputs
    gated = run("matmul_glu", {"x": x, "gate": gate, "up": up}, {"activation": "silu"})["y"]
    plain = run("matmul", {"x": x, "weight": gate}, {})["y"]
    bias = 3.0 * random_rows(6, gate.shape[0])
    biased = run("matmul", {"x": x, "weight": gate, "bias": bias}, {})["y"]
    three: dict[str, Input] = {"x": x, "first": gate, "second": up, "third": gate, "bias_third": bias}
    three |= {f"bias_{name}": np.zeros(gate.shape[0], np.float32) for name in ("first", "second")}
    group = run("matmul_group", three, {})
    for got, want in ((biased, plain + bias), (group["y_first"], plain), (group["y_third"], plain + bias)):
        assert np.all(np.abs(got - want) <= 1e-4 * (product_scale(x, gate.dense()) + np.abs(bias)))
    assert matmul_error(group["y_second"], x, up) <= tolerances.KERNELS["matmul", "bfloat16"]
    rounded = to_bfloat(x)
    np.testing.assert_allclose(run("matmul", {"x": rounded, "weight": gate}, {})["y"], plain, rtol=1e-6, atol=1e-6)
    narrow = run_wide_to_bfloat("matmul_glu", {"x": rounded, "gate": gate, "up": up}, {"activation": "silu"})["y"]
    assert glu_error(narrow, x, gate, up, "silu") <= tolerances.KERNELS["matmul_glu", "bfloat16"]
    return plain, gated


@pytest.fixture(scope="module")
def processes() -> Iterator[list[ProcessPoolExecutor]]:
    """One with cuBLASLt, one without."""
    library = installed_library("FASTGO_CUBLAS")
    if library is None or not any(device_kind(info) == "cuda" for info in list_devices()):
        pytest.skip("needs an NVIDIA GPU and the nvidia-cublas package")
    pools = [ProcessPoolExecutor(1, get_context("spawn"), enter, (which,)) for which in (str(library), "0")]
    yield pools
    for pool in pools:
        pool.shutdown()


@pytest.mark.parametrize("format", FORMATS)
def test_both_ways_agree(processes: list[ProcessPoolExecutor], format: str) -> None:
    for rows, outputs, columns in SHAPES:
        x, gate, up = random_rows(5, rows, columns), *(random_weight(format, outputs, columns, i) for i in (1, 2))
        results = [pool.submit(products, (x, gate, up)).result() for pool in processes]
        for plain, gated in results:
            assert matmul_error(plain, x, gate) <= tolerances.KERNELS["matmul", "bfloat16"]
            assert glu_error(gated, x, gate, up, "silu") <= tolerances.KERNELS["matmul_glu", "bfloat16"]
        # Both round the operands to bfloat16 and sum in float32.
        scale = product_scale(x.astype(np.float64), gate.dense())
        assert np.all(np.abs(results[0][0] - results[1][0]) <= 1e-4 * scale)
