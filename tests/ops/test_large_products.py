"""Large products through cuBLASLt against the shaders' own; only where there is a GPU and the library."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
from fastgo import tolerances
from fastgo.engine.devices import device_kind, installed_library, list_devices

FORMATS = ("bf16", "f16", "q4_0", "q4_k", "q6_k", "q8_0", "int4_g32")
SHAPES = ((64, 96, 128), (512, 1000, 256), (129, 2048, 1024))  # rows, outputs, columns


def enter(cublas: str) -> None:
    os.environ["FASTGO_DEVICE"] = "cuda"
    os.environ["FASTGO_CUBLAS"] = cublas


def products(format: str, rows: int, outputs: int, columns: int) -> tuple[Any, ...]:
    """A product, a gated unit, and the exact values; in a process with a device of its own."""
    from fastgo.ops import matmul, matmul_glu
    from harness import product_scale, random_rows, random_weight, run

    x = random_rows(5, rows, columns)
    first, second = (random_weight(format, outputs, columns, seed) for seed in (1, 2))
    plain = run("matmul", {"x": x, "weight": first}, {})["y"]
    gated = run("matmul_glu", {"x": x, "gate": first, "up": second}, {"activation": "silu"})["y"]
    doubles = x.astype(np.float64), first.dense(), second.dense()
    exact = matmul.reference(*doubles[:2]), matmul_glu.reference(*doubles, activation="silu")
    scales = product_scale(*doubles[:2]), product_scale(*doubles[:2]) * product_scale(doubles[0], doubles[2])
    return plain, gated, *exact, *scales


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
    for shape in SHAPES:
        results = [pool.submit(products, format, *shape).result() for pool in processes]
        for plain, gated, exact, exact_gated, scale, gated_scale in results:
            assert np.max(np.abs(plain - exact) / scale) <= tolerances.KERNELS["matmul", "bfloat16"], shape
            error = np.abs(gated - exact_gated) / np.maximum(np.abs(exact_gated), gated_scale)
            assert np.max(error) <= tolerances.KERNELS["matmul_glu", "bfloat16"], shape
        difference = np.abs(results[0][0] - results[1][0]) / results[0][4]
        assert np.max(difference) <= 1e-5, "both round the operands to bfloat16 and sum in float32"
