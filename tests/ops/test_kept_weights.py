"""Products of a few rows from weights that a native kernel has copied into an order of its own, once their program has
run some times: all runs have the bits of the first one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from fastgo.engine.devices import memory_in_use
from harness import Array, Weight, prepared, random_rows, random_weight
from variants import Variant

RUNS = 20  # within so many, weights are copied
KEEPING = ("avx512_amx",)  # the instruction sets whose kernels do so
FORMATS = ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_k", "q5_k", "q6_k")
ATTRIBUTES = {"matmul": {}, "matmul_glu": {"activation": "silu"}}


def weights_of(op: str, format: str, columns: int, outputs: int) -> dict[str, Weight]:
    names = ("weight",) if op == "matmul" else ("gate", "up")
    return {name: random_weight(format, outputs, columns, seed) for seed, name in enumerate(names)}


def run_often(op: str, format: str, rows: int, columns: int, outputs: int) -> list[Array]:
    """y of each run, in a program of its own for a second use of the same weights too."""
    inputs = {**weights_of(op, format, columns, outputs), "x": random_rows(1, rows, columns)}
    with tempfile.TemporaryDirectory() as folder:
        bench = prepared(op, inputs, ATTRIBUTES[op], Path(folder))
        return [bench.run()["y"] for _ in range(RUNS)]


def run_with_other_weights_at_last(format: str, is_mapped: bool) -> tuple[Array, Array]:
    """y before and after the weights were zeroed, which nobody may do while they are mapped."""
    inputs = {**weights_of("matmul", format, 512, 48), "x": random_rows(1, 8, 512)}
    with tempfile.TemporaryDirectory() as folder:
        bench = prepared("matmul", inputs, {}, Path(folder) if is_mapped else None)
        before = [bench.run()["y"] for _ in range(RUNS)][-1]
        bench.write("weight", np.zeros_like(inputs["weight"].planar))
        return before, bench.run()["y"]


def memory_before_and_after(is_mapped: bool) -> tuple[int, int, int]:
    """Bytes of the weights, and those in use on the device before they were used often and after it."""
    inputs = {**weights_of("matmul", "q4_0", 512, 1024), "x": random_rows(1, 8, 512)}
    with tempfile.TemporaryDirectory() as folder:
        bench = prepared("matmul", inputs, {}, Path(folder) if is_mapped else None)
        before = memory_in_use(bench.device)
        for _ in range(RUNS):
            bench.run()
        return inputs["weight"].planar.nbytes, before, memory_in_use(bench.device)


def run_and_drop() -> Array:
    """y of a program of which many runs were begun, but not waited for, when all of it was dropped."""
    inputs = {**weights_of("matmul", "q4_0", 512, 1024), "x": random_rows(1, 8, 512)}
    with tempfile.TemporaryDirectory() as folder:
        bench = prepared("matmul", inputs, {}, Path(folder))
        y: Array = bench.run()["y"]
        for _ in range(30):
            bench.device.submit([bench.program])
        return y


@pytest.fixture(autouse=True)
def weights_lie_in_mapped_files(variant: Variant) -> None:
    if variant.name == "device":
        pytest.skip("a GPU uploads weights; there is no mapped file whose guard could be read, nor a second copy")


@pytest.mark.parametrize("op", ATTRIBUTES)
@pytest.mark.parametrize("format", FORMATS)
def test_every_run_has_the_same_bits(variant: Variant, op: str, format: str) -> None:
    """All numbers of few rows; whole and broken groups of outputs, quads and pairs of blocks."""
    columns = (256, 512) if format.endswith("k") else (32, 96, 320)
    shapes = [(columns[0], 1), (columns[-1], 150), (columns[-1], 64), (columns[1], 16)]
    for rows in range(2, 17):
        width, outputs = shapes[rows % len(shapes)]
        runs = variant.call(run_often, op, format, rows, width, outputs)
        assert np.isfinite(runs[0]).all()
        for number, run in enumerate(runs):
            np.testing.assert_array_equal(run, runs[0], f"run {number} of {rows} rows, {width} columns, {outputs}")


@pytest.mark.parametrize("format", ["q4_1", "q8_0"])
def test_only_mapped_weights_are_copied(variant: Variant, format: str) -> None:
    """What may be written is read anew at every run."""
    before, after = variant.call(run_with_other_weights_at_last, format, True)
    is_kept = variant.name in KEEPING
    np.testing.assert_array_equal(after, before if is_kept else np.zeros_like(before))
    before, after = variant.call(run_with_other_weights_at_last, format, False)
    assert before.any()
    assert not after.any()


def test_the_copies_count_as_memory_in_use(variant: Variant) -> None:
    weights, before, after = variant.call(memory_before_and_after, True)
    if variant.name in KEEPING:
        assert weights <= after - before < 1.1 * weights
    else:
        assert after == before
    _, before, after = variant.call(memory_before_and_after, False)
    assert after == before


def test_what_is_dropped_while_it_runs(variant: Variant) -> None:
    """The file stays mapped for as long as kernels read it."""
    first = variant.call(run_and_drop)
    for _ in range(3):
        np.testing.assert_array_equal(variant.call(run_and_drop), first)
