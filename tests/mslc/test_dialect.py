"""What other projects' shaders take from C, and from Apple's own library: against NumPy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from shader_runner import CASES, Shaders, run_mslc

Array = np.ndarray[Any, Any]


def bfloats(values: Array) -> Array:
    """The bits of values that bfloat holds exactly."""
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def test_conditionals_meet_in_the_common_type(shaders: Shaders) -> None:
    h = np.array([1.5, -2.25, 3.0, 0.1], np.float16)
    f = np.array([0.7, -1.0, 0.25, 100.0], np.float32)
    b = np.array([2.0, -4.0, 8.0, 1.0], np.float32)
    y = np.zeros(4, np.float32)
    assert shaders.run("conditionals", {0: h, 1: f, 2: y, 3: bfloats(b)}, [4], [4]) == ""
    first = np.where(f > 0, h.astype(np.float32), f)
    second = np.where(f > 0, f * np.float32(0.5), h.astype(np.float32))
    third = np.where(f > 1, h, np.where(f > 0, 2, 0)).astype(np.float32)
    index = np.arange(4)
    fourth = np.maximum(np.where(index < 2, b, f), np.where(index > 2, 1, f[0]))
    np.testing.assert_allclose(y, first + 10 * second + 100 * third + 1000 * fourth + 7, rtol=1e-6)


def test_sixteen_bits_become_integers(shaders: Shaders) -> None:
    h, y = np.array([1.9, 7.5, 100.0], np.float16), np.zeros(3, np.int32)
    assert shaders.run("half_to_integers", {0: h, 1: y}, [3], [3]) == ""
    assert y.tolist() == [1003, 7015, 100200]


def test_halves_in_a_struct_without_a_name(shaders: Shaders) -> None:
    blocks = np.zeros(2, np.dtype([("d", np.float16), ("m", np.float16), ("quants", np.uint8, 4)]))
    blocks["d"], blocks["m"], blocks["quants"][:, 1] = (0.5, 3.0), (1.0, 0.25), (200, 3)
    d, m = blocks["d"].astype(np.float32), blocks["m"].astype(np.float32)
    y = np.zeros(2, np.float32)
    assert shaders.run("unnamed", {0: blocks, 1: y}, [2], [2]) == ""
    np.testing.assert_array_equal(y, d * blocks["quants"][:, 1] - m + m + np.maximum(d, m) + m)
    np.testing.assert_array_equal(blocks["m"], 2 * d)


def test_arrays_filled_with_one_value(shaders: Shaders) -> None:
    y = np.zeros(5, np.float32)
    assert shaders.run("ranges", {0: y}, [5], [5]) == ""
    np.testing.assert_array_equal(y, 4.5 + np.arange(5) + 14)


def test_deduced_instantiations(shaders: Shaders) -> None:
    strides = np.array([0, 100], np.int32)
    x, y = np.arange(4, dtype=np.float32) / 2, np.zeros(4, np.float32)
    buffers = {0: x, 1: y, 2: np.array([1, 2], np.int32), 3: strides}
    assert shaders.run("deduced_float_2", buffers, [4], [4]) == ""
    np.testing.assert_array_equal(y, x + 200)
    whole, sums = np.arange(4, dtype=np.int32), np.zeros(4, np.int32)
    buffers = {0: whole, 1: sums, 2: np.array([1, 2, 3], np.int32), 3: strides}
    assert shaders.run("deduced_int_3", buffers, [4], [4]) == ""
    np.testing.assert_array_equal(sums, whole + 300)


def test_threadgroup_memory_that_starts_as_zeros(shaders: Shaders) -> None:
    y = np.zeros(24, np.int32)
    assert shaders.run("zeroed", {0: y}, [24], [8]) == ""
    first = np.arange(24) // 8 * 8
    np.testing.assert_array_equal(y, first + 1 + first + 2)


def test_library(shaders: Shaders) -> None:
    y = np.zeros(3, np.float32)
    assert shaders.run("library", {0: np.array([9], np.uint32), 1: y}, [1], [1]) == ""
    assert y.tolist() == [2 + 9 + 3, 1.5 + 0.5 + 8, 5]


def test_library_functions_for_another_type(shaders: Shaders) -> None:
    x, y = np.arange(32, dtype=np.float32), np.zeros(32, np.float32)
    assert shaders.run("extended", {0: bfloats(x), 1: y}, [32], [32]) == ""
    np.testing.assert_array_equal(y, np.full(32, 4 * x.sum()))


def test_a_kernel_named_like_a_library_function(shaders: Shaders) -> None:
    x, y = np.array([[1, -2, 3, -4], [0, 0, -8, 0]], np.float32), np.zeros(2, np.float32)
    assert shaders.run("abs", {0: x, 1: y}, [2], [2]) == ""
    np.testing.assert_array_equal(y, np.abs(x).sum(axis=1) + 0.5 * x.sum(axis=1))


def test_threadgroup_memory_with_an_alignment_and_sizes_behind_a_loop(shaders: Shaders) -> None:
    y = np.zeros(12, np.int32)
    assert shaders.run("late_sizes", {0: y}, [12], [12]) == ""
    np.testing.assert_array_equal(y, np.arange(12) + 3)


def test_sizes_of_one_name_in_nested_blocks(shaders: Shaders) -> None:
    x = np.arange(8, dtype=np.float32)
    y = x.copy()
    assert shaders.run("nested_sizes", {0: y}, [8], [8]) == ""
    swapped = np.roll(x, 4)
    np.testing.assert_array_equal(y, swapped + 10 * swapped[::-1] + 100 * 2)
    assert shaders.static_memory("nested_sizes") == 4 * (2 + 8 + 32)


def test_wishes_for_loops_are_kept(shaders: Shaders, tmp_path: Path) -> None:
    y = np.zeros(3, np.float32)
    assert shaders.run("unrolled", {0: y}, [3], [3]) == ""
    np.testing.assert_array_equal(y, [2306, 2316, 2326])
    for emit in ("cpp", "cuda"):
        output = tmp_path / emit
        assert run_mslc(CASES / "dialect.metal", "--emit", emit, "-o", output).returncode == 0
        text = output.read_text()
        assert re.findall(r"SOFTMETAL_UNROLL\S*(?=\s+for)", text) == [
            "SOFTMETAL_UNROLL",
            "SOFTMETAL_UNROLL_BY(2)",
            "SOFTMETAL_UNROLL",
        ]
