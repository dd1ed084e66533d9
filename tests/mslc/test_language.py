"""The language itself: what the translated C++ computes, against NumPy and Python integers."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from shader_runner import Shaders

Array = np.ndarray[Any, Any]
WORD = 0xFFFFFFFF


def _aligned(count: int) -> Array:
    """float32 zeros whose address is a multiple of 16, as vectors need."""
    raw = np.zeros(count + 4, dtype=np.float32)
    return raw[(-raw.ctypes.data // 4) % 4 :][:count]


def test_function_constants(shaders: Shaders) -> None:
    table = np.array([1.0, 2.5, 10, 0.5], dtype=np.float32)
    y = np.zeros(8, dtype=np.float32)
    constants: list[bytes | None] = [b"\1", struct.pack("2f", 3.0, 4.0), struct.pack("I", 6)]
    assert shaders.run("constants", {0: y}, [8], [4], constants=constants) == ""
    np.testing.assert_array_equal(y, 3 + 1200 + np.tile(table, 2) + 3)
    constants = [b"\0", struct.pack("2f", 3.0, 4.0), None]
    assert shaders.run("constants", {0: y}, [8], [4], constants=constants) == ""
    np.testing.assert_array_equal(y, 4 + 700 + np.tile(table, 2) + 3)
    assert not shaders.uses_fibres("constants")


def test_argument_behind_a_function_constant(shaders: Shaders) -> None:
    y, z = np.zeros(1, dtype=np.float32), np.array([5], dtype=np.float32)
    assert shaders.run("guarded", {0: y}, [1], [1]) == ""
    assert y[0] == -1
    assert shaders.run("guarded", {0: y, 1: z}, [1], [1], constants=[b"\1", None, None]) == ""
    assert y[0] == 5


def test_builtins_in_a_grid_with_edges(shaders: Shaders) -> None:
    grid, group = (7, 5, 3), (4, 2, 2)
    out = np.zeros((*reversed(grid), 8), dtype=np.uint32)
    assert shaders.run("positions", {0: out}, grid, group) == ""
    weights = np.array([1, 100, 10000])
    for z in range(grid[2]):
        for y in range(grid[1]):
            for x in range(grid[0]):
                place = np.array([x, y, z])
                local, where = place % group, place // group
                actual = np.minimum(group, np.array(grid) - where * group)
                expected = [
                    place @ weights,
                    local @ weights,
                    where[0] + 100 * where[1],
                    actual @ weights,
                    np.array(group) @ weights,
                    (local[2] * actual[1] + local[1]) * actual[0] + local[0],
                    np.array([2, 3, 2]) @ weights,
                    np.array(grid) @ weights,
                ]
                assert out[z, y, x].tolist() == [int(v) for v in expected]


def test_swizzles(shaders: Shaders) -> None:
    x, y = _aligned(8), _aligned(8)
    x[:] = [1, 2, 3, 4, 5, 6, 7, 8]
    options = np.zeros(64, dtype=np.float32)
    options[1] = 10
    assert shaders.run("swizzles", {0: x, 1: y, 2: options}, [2], [2]) == ""
    expected = []
    for i, (a, b, c, d) in enumerate(x.reshape(2, 4)):
        w = [c + 10, c + 10, b * 2 + 10, a * 2]
        v = [a, (b * 2 + 10) + c, c, d]
        expected.append([w[0], v[1], w[2], v[3] if i > 0 else w[3]])
    np.testing.assert_array_equal(y.reshape(2, 4), np.array(expected, dtype=np.float32))


def _bfloat(values: Array) -> Array:
    """Float32 rounded to bfloat16, to nearest even, as bits."""
    bits = values.view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), (bits >> 16) | 0x40, rounded).astype(np.uint16)


def test_sixteen_bit_rounding(shaders: Shaders) -> None:
    generator = np.random.default_rng(3)
    bits = generator.integers(0, 1 << 32, 20000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    with np.errstate(all="ignore"):
        between = np.nextafter(halves, np.float32(0)) * np.float32(1.0002)
        small = (generator.standard_normal(20000) * 2.0 ** generator.integers(-28, 18, 20000)).astype(np.float32)
        ties = (halves[:-1] + halves[1:]) / 2
        x = np.concatenate([bits, halves, between, small, ties]).astype(np.float32)
        count = len(x)
        h, b, back = np.zeros(count, np.uint16), np.zeros(count, np.uint16), np.zeros(count, np.float32)
        assert shaders.run("rounding", {0: x, 1: h, 2: b, 3: back}, [count], [256]) == ""
        expected = x.astype(np.float16)
        numbers = ~np.isnan(x)
        np.testing.assert_array_equal(h[numbers], expected.view(np.uint16)[numbers])
        assert np.isnan(h.view(np.float16)[~numbers]).all()
        np.testing.assert_array_equal(b, _bfloat(x))
        sums = (expected + np.float16(0.5)).astype(np.float32)
        sums[::2] += expected[::2].astype(np.float32)
        np.testing.assert_array_equal(back[numbers], sums[numbers])


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


def _integer_row(v: int, i: int) -> list[int]:
    field = v >> 5 & 0x1FF
    first_byte = v & 0xFF
    magnitude = abs(_signed(v)) // 4
    return [
        v.bit_count(),
        32 - v.bit_length(),
        32 if v == 0 else (v & -v).bit_length() - 1,
        int(f"{v:032b}"[::-1], 2),
        field,
        (field - 512 if field >> 8 else field) & WORD,
        (v & ~(0x7F << 3) & WORD) | (0x55 << 3),
        (v << 11 | v >> 21) & WORD,
        v * 0x12345678 >> 32,
        (v >> 8 & 0xFF) + 8 - first_byte.bit_length(),
        min(max(v, 10), 1000) + magnitude,
        min(v + 0x80000000, WORD) ^ int(v in (0, 1, 2, 3)),
    ]


def test_integer_functions(shaders: Shaders) -> None:
    values = [0, 1, 3, 77, 0x80000000, 0xFFFFFFFF, 0xDEADBEEF, 0x7FFFFFFF, 0x01234567]
    x = np.array(values, dtype=np.uint32)
    y = np.zeros((len(values), 12), dtype=np.uint32)
    assert shaders.run("integers", {0: x, 1: y}, [len(values)], [8]) == ""
    for i, v in enumerate(values):
        assert y[i].tolist() == _integer_row(v, i), hex(v)


def test_atomics(shaders: Shaders) -> None:
    counts, total = np.zeros(4, dtype=np.uint32), np.zeros(1, dtype=np.float32)
    assert shaders.run("count_atomically", {0: counts, 1: total}, [100], [32]) == ""
    assert counts.tolist() == [34, 33, 33, 99]
    assert total[0] == 50


def test_names_macros_overloads_and_matrices(shaders: Shaders) -> None:
    y, x = np.zeros(4, dtype=np.float32), np.array([3], dtype=np.float32)
    assert shaders.run("renamed", {2: y, 3: x}, [1], [1]) == ""
    assert y.tolist() == [6 + 3 + 3 - 56 + 0.5, 5, 6 + 4 + 42, 6 + 4]


def test_mathematical_functions(shaders: Shaders) -> None:
    x = np.array([-2.5, -0.25, 0.0, 0.3, 1.0, 4.0], dtype=np.float32)
    y = np.zeros((len(x), 10), dtype=np.float32)
    assert shaders.run("functions", {0: x, 1: y}, [len(x)], [4]) == ""
    v = x.astype(np.float64)
    half = x.astype(np.float16)
    columns = [
        np.exp(v),
        np.tanh(v),
        1 / np.sqrt(np.abs(v) + 1),
        v + (2 - v) * 0.25,
        v * v + 1,
        3 * v + 2,
        np.hypot(v, 1) + np.sign(v),
        np.clip(v, -0.5, 0.5) + np.clip(v, 0, 1) + (v - np.floor(v)) + (v >= 0),
        (half * half).astype(np.float64) + np.exp2(v),
    ]
    np.testing.assert_allclose(y[:, :9], np.stack(columns, axis=1), rtol=1e-6, atol=1e-6)
    assert np.isposinf(y[x > 0, 9]).all()
    assert (y[x <= 0, 9] == -np.finfo(np.float32).max).all()


@pytest.mark.parametrize("kernel", ["constants", "positions", "swizzles", "renamed"])
def test_kernels_without_barriers_run_as_loops(shaders: Shaders, kernel: str) -> None:
    assert not shaders.uses_fibres(kernel)
    assert shaders.uses_fibres("sum_f32")
