"""Simdgroup, quad and threadgroup functions against NumPy, with whole and partial groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from shader_runner import Shaders

Array = np.ndarray[Any, Any]
LANES = 32


def _clamped(values: Array, sources: Array) -> Array:
    """values[sources], or a lane's own value where the source is outside."""
    lanes = np.arange(len(values))
    inside = (sources >= 0) & (sources < len(values))
    return values[np.where(inside, sources, lanes)]


def _by_quads(values: Array, function: Callable[[Array], Array]) -> Array:
    return np.concatenate([function(values[i : i + 4]) for i in range(0, len(values), 4)])


def _exclusive(values: Array, scan: Callable[[Array], Array], identity: int) -> Array:
    return np.concatenate([[identity], scan(values)[:-1]]).astype(values.dtype)


def _fold(function: Any) -> Callable[[Array], Array]:
    return lambda v: np.full_like(v, function.reduce(v))


def _ballot(values: Array) -> Array:
    bits = sum(1 << i for i, v in enumerate(values) if v % 3 == 0)
    return np.full_like(values, bits)


def _fill_up(values: Array) -> Array:
    return np.array([values[i - 3] if i >= 3 else -values[i - 3] for i in range(len(values))], dtype=values.dtype)


def _fill_down_8(values: Array) -> Array:
    def one(i: int) -> Any:
        place = i % 8 + 3
        return values[i + 3] if place < 8 else -values[i - i % 8 + place - 8]

    return np.array([one(i) for i in range(len(values))], dtype=values.dtype)


_I = np.arange(LANES)
CASES: dict[str, Callable[[Array], Array]] = {
    "product_i32": _fold(np.multiply),
    "min_i32": _fold(np.minimum),
    "and_u32": _fold(np.bitwise_and),
    "or_u32": _fold(np.bitwise_or),
    "xor_u32": _fold(np.bitwise_xor),
    "max_f32": _fold(np.maximum),
    "inclusive_i32": np.cumsum,
    "exclusive_i32": lambda v: _exclusive(v, np.cumsum, 0),
    "exclusive_product_i32": lambda v: _exclusive(v, np.cumprod, 1),
    "shuffle_i32": lambda v: _clamped(v, (_I[: len(v)] * 7) % 32),
    "shuffle_up_i32": lambda v: _clamped(v, _I[: len(v)] - 3),
    "shuffle_down_i32": lambda v: _clamped(v, _I[: len(v)] + 3),
    "shuffle_xor_i32": lambda v: _clamped(v, _I[: len(v)] ^ 5),
    "broadcast_i32": lambda v: np.full_like(v, v[9]),
    "broadcast_first_i32": lambda v: np.full_like(v, v[0]),
    "ballot_u32": _ballot,
    "all_u32": lambda v: np.full_like(v, int((v > 1).all()) + 2 * int((v > 1000000).any())),
    "quad_sum_i32": lambda v: _by_quads(v, _fold(np.add)),
    "quad_broadcast_i32": lambda v: _by_quads(v, lambda q: np.full_like(q, q[2])),
    "quad_scan_i32": lambda v: _by_quads(v, np.cumsum),
    "quad_xor_i32": lambda v: _by_quads(v, lambda q: q[np.arange(len(q)) ^ 1]),
}
WHOLE_ONLY: dict[str, Callable[[Array], Array]] = {
    "rotate_up_i32": lambda v: np.roll(v, 3),
    "rotate_down_i32": lambda v: np.roll(v, -3),
    "fill_up_i32": _fill_up,
    "fill_down_8_i32": _fill_down_8,
}


def _values(kernel: str, count: int) -> Array:
    generator = np.random.default_rng(count)
    kind = {"f32": np.float32, "i32": np.int32, "u32": np.uint32}[kernel[-3:]]
    if "product" in kernel:
        return generator.integers(1, 3, count).astype(kind)
    return generator.integers(1, 1000, count).astype(kind)


@pytest.mark.parametrize("kernel", [*CASES, *WHOLE_ONLY])
@pytest.mark.parametrize(("count", "group"), [(128, 64), (108, 96)])
def test_simdgroup_function(shaders: Shaders, kernel: str, count: int, group: int) -> None:
    if kernel in WHOLE_ONLY and count % LANES:
        count = 128
    x = _values(kernel, count)
    y = np.zeros_like(x)
    assert shaders.run(kernel, {0: x, 1: y}, [count], [group]) == ""
    reference = {**CASES, **WHOLE_ONLY}[kernel]
    expected = []
    for start in range(0, count, group):
        part = x[start : min(start + group, count)]
        expected += [reference(part[i : i + LANES]) for i in range(0, len(part), LANES)]
    np.testing.assert_array_equal(y, np.concatenate(expected))


def test_sums_of_floats(shaders: Shaders) -> None:
    x = np.random.default_rng(0).standard_normal(128).astype(np.float32)
    y = np.zeros_like(x)
    assert shaders.run("sum_f32", {0: x, 1: y}, [128], [128]) == ""
    np.testing.assert_allclose(y, np.repeat(x.reshape(4, 32).sum(1, dtype=np.float64), 32), rtol=1e-5, atol=1e-6)
    h = np.arange(32, dtype=np.float16) / 4
    out = np.zeros_like(h)
    assert shaders.run("sum_f16", {0: h, 1: out}, [32], [32]) == ""
    assert (out == np.float16(124)).all()


def test_sum_of_vectors(shaders: Shaders) -> None:
    x = np.arange(160, dtype=np.float32)
    aligned = [np.zeros(168, dtype=np.float32) for _ in range(2)]
    views = [a[(-a.ctypes.data // 4) % 4 :][:160] for a in aligned]
    views[0][:] = x
    assert shaders.run("sum_float4", {0: views[0], 1: views[1]}, [40], [40]) == ""
    rows = x.reshape(40, 4)
    y = np.concatenate([np.tile(rows[:32].sum(0), (32, 1)), np.tile(rows[32:].sum(0), (8, 1))])
    np.testing.assert_array_equal(views[1].reshape(40, 4), y)


@pytest.mark.parametrize("group", [1, 31, 32, 33, 200, 256])
def test_threadgroup_memory_and_barriers(shaders: Shaders, group: int) -> None:
    count = group * 3
    x = np.arange(count, dtype=np.int32)
    y = np.zeros_like(x)
    assert shaders.run("reverse_twice", {0: x, 1: y}, [count], [group], memory=[group * 4]) == ""
    np.testing.assert_array_equal(y, x * 2)
    assert shaders.static_memory("reverse_twice") == 256 * 4 + 4


def test_many_threads_and_three_dimensions(shaders: Shaders) -> None:
    x = np.arange(1024, dtype=np.int32)
    y = np.zeros_like(x)
    assert shaders.run("inclusive_i32", {0: x, 1: y}, [1024], [1024]) == ""
    np.testing.assert_array_equal(y, np.cumsum(x.reshape(32, 32), axis=1).reshape(-1))


def test_barrier_that_returned_threads_never_reach_is_a_fault(shaders: Shaders) -> None:
    y = np.zeros(64, dtype=np.int32)
    message = shaders.run("barrier_after_return", {1: y}, [64], [64])
    assert "barrier_after_return" in message
    assert "returned" in message
    assert shaders.run("barrier_after_return", {1: y}, [40], [40]) == ""
    assert y.sum() == 40


def test_returned_lanes_take_no_part_in_collectives(shaders: Shaders) -> None:
    y = np.full(32, -1, dtype=np.int32)
    assert shaders.run("sum_after_return", {1: y}, [32], [32]) == ""
    assert (y[::2] == sum(range(0, 32, 2))).all()
    assert (y[1::2] == -1).all()


def test_lanes_in_different_collectives_are_a_fault(shaders: Shaders) -> None:
    y = np.zeros(32, dtype=np.int32)
    message = shaders.run("diverged", {1: y}, [32], [32])
    assert "simd_sum" in message
    assert "simd_max" in message
    assert shaders.run("sum_after_return", {1: y}, [32], [32]) == ""


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_simdgroup_matrix(shaders: Shaders, dtype: Any) -> None:
    generator = np.random.default_rng(1)
    a, b = generator.integers(-8, 8, (8, 16)).astype(dtype), generator.integers(-8, 8, (16, 8)).astype(dtype)
    c = np.zeros(160, dtype=dtype)
    name = "matmul8_f32" if dtype == np.float32 else "matmul8_f16"
    assert shaders.run(name, {0: a, 1: b, 2: c}, [32], [32]) == ""
    expected = a.astype(np.float32) @ b.astype(np.float32) + 0.5
    np.testing.assert_array_equal(c[:64].reshape(8, 8), expected.astype(dtype))
    np.testing.assert_array_equal(c[64:128].reshape(8, 8), expected.T.astype(dtype))
    lane = np.arange(32)
    row, column = ((lane // 4) & 4) + (lane // 2) % 4, ((lane // 4) & 2) * 2 + (lane % 2) * 2
    np.testing.assert_array_equal(c[128:], expected[row, column].astype(dtype))


def test_layout_that_depends_on_template_arguments(shaders: Shaders) -> None:
    y = np.zeros(64, dtype=np.float16)
    assert shaders.static_memory("tiled_half_32") == 64 * 2 + 32 * 2
    assert shaders.run("tiled_half_32", {0: y}, [64], [64]) == ""
    np.testing.assert_array_equal(y, (np.arange(64) + 1) % 64 + 1)
