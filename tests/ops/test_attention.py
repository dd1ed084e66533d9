"""attention and rope_cache with every head shape, window and cache type, by every way to run them, against float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cached import CACHE_DTYPES, INTEGER_STEPS, Cache, as_cache, as_doubles, stored_error
from fastgo import tolerances
from fastgo.graph.dag import Graph, Storage
from fastgo.ops import attention, cases, rope_attention, rope_cache
from harness import Array, error, random_rows, run, run_wide
from variants import Variant


def random_cache(seed: int, used: int, kv_heads: int, capacity: int, head_dim: int, dtype: str) -> Cache:
    """Two sequences. The first, and what lies beyond the `used` positions, must not be read: NaN."""
    cache = random_rows(seed, 2, kv_heads, capacity, head_dim)
    cache[0] = np.nan
    cache[:, :, used:] = np.nan
    return as_cache(cache, dtype)


_INTEGERS = ("positions", "sequences")


def positions_from(first: int, rows: int) -> Array:
    return np.arange(first, first + rows, dtype=np.int32)


@pytest.mark.parametrize("dtype", CACHE_DTYPES)
def test_attention(variant: Variant, dtype: str) -> None:
    for case in cases.ATTENTION:
        rows, heads, kv_heads, head_dim, capacity, first, window = case
        used = first + rows
        inputs = {
            "q": random_rows(14, rows, heads * head_dim),
            "k_cache": random_cache(15, used, kv_heads, capacity, head_dim, dtype),
            "v_cache": random_cache(16, used, kv_heads, capacity, head_dim, dtype),
            "positions": positions_from(first, rows),
            "sequences": np.ones(rows, np.int32),
        }
        attributes = {"scale": head_dim**-0.5, "window": window}
        got = variant.call(run, "attention", inputs, attributes)["y"]
        caches = [as_doubles(inputs[name])[1:, :, :used] for name in ("k_cache", "v_cache")]
        q = inputs["q"].astype(np.float64)
        want = attention.reference(q, *caches, inputs["positions"], np.zeros(rows, np.int32), **attributes)
        worst = error(got, want)
        print(f"worst attention {variant.name} {dtype} {case} {worst:.2g}")
        precision = tolerances.attention_precision(variant.name, dtype, head_dim, rows, variant.name == "device")
        assert worst <= tolerances.KERNELS["attention", precision], case


def test_attention_of_positions_in_any_order(variant: Variant) -> None:
    """Each row goes by its own position and sequence."""
    positions = np.array([5, 0, 9, 2, 9], np.int32)
    sequences = np.array([2, 0, 1, 1, 2], np.int32)
    inputs = {
        "q": random_rows(17, 5, 4 * 32),
        "k_cache": random_rows(18, 3, 2, 10, 32),
        "v_cache": random_rows(19, 3, 2, 10, 32),
        "positions": positions,
        "sequences": sequences,
    }
    got = variant.call(run, "attention", inputs, {"scale": 0.2, "window": 4})["y"]
    q, keys, values = (inputs[name].astype(np.float64) for name in ("q", "k_cache", "v_cache"))
    want = attention.reference(q, keys, values, positions, sequences, scale=0.2, window=4)
    assert error(got, want) <= tolerances.KERNELS["attention", "float32"]


@pytest.mark.parametrize("window", [0, 12])
@pytest.mark.parametrize("cache", ["k_cache", "v_cache"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_spoils_no_row_that_does_not_see_it(
    variant: Variant, value: float, cache: str, window: int
) -> None:
    """A large value that overflowed, say: rows of its tile before it, other heads and dimensions stay as they are."""
    if variant.name == "device":
        pytest.skip("GPUs' matrix units multiply what a row does not see by zero")
    rows, heads, kv_heads, head_dim, first, spoilt = 40, 6, 2, 64, 3, 21
    inputs: dict[str, Array] = {
        "q": random_rows(30, rows, heads * head_dim),
        "k_cache": random_rows(31, 1, kv_heads, 64, head_dim).astype(np.float16),
        "v_cache": random_rows(32, 1, kv_heads, 64, head_dim).astype(np.float16),
        "positions": positions_from(first, rows),
        "sequences": np.zeros(rows, np.int32),
    }
    attributes = {"scale": head_dim**-0.5, "window": window}
    want = attention.reference(**in_doubles(inputs), **attributes)
    inputs[cache][0, 1, spoilt, 9] = value
    got = variant.call(run, "attention", inputs, attributes)["y"]
    last_seeing = spoilt - first + window if window else rows
    is_seen = np.zeros((rows, heads, head_dim), bool)
    is_seen[spoilt - first : last_seeing, heads // kv_heads :, 9 if cache == "v_cache" else slice(None)] = True
    is_seen = is_seen.reshape(rows, heads * head_dim)
    precision = tolerances.attention_precision(variant.name, "float16", head_dim, rows)
    assert error(np.where(is_seen, want, got), want) <= tolerances.KERNELS["attention", precision]
    if np.isnan(value):
        assert np.isnan(got[is_seen]).all()


def test_attention_with_extreme_scores(variant: Variant) -> None:
    """Scores of thousands neither overflow nor lose the best position."""
    keys = np.zeros((1, 1, 6, 16), np.float32)
    keys[0, 0, :, 0] = [-3000.0, 2000.0, 3000.0, -100.0, 2999.0, 1e-3]
    values = random_rows(20, 1, 1, 6, 16)
    q = np.zeros((1, 16), np.float32)
    q[0, 0] = 4.0
    position, sequence = np.array([5], np.int32), np.zeros(1, np.int32)
    inputs = {"q": q, "k_cache": keys, "v_cache": values, "positions": position, "sequences": sequence}
    got = variant.call(run, "attention", inputs, {"scale": 1.0, "window": 0})["y"]
    np.testing.assert_allclose(
        got[0],
        values[0, 0, 2] + (values[0, 0, 4] - values[0, 0, 2]) * np.exp(-4.0) / (1 + np.exp(-4.0)),
        rtol=1e-4,
        atol=1e-4,
    )


def rope_cache_inputs(case: tuple[int, ...], has_head_norm: bool, rotary_dim: int | None = None) -> dict[str, Array]:
    """Inputs with float32 caches of two sequences."""
    rows, heads, kv_heads, head_dim, capacity, first = case
    rng = np.random.default_rng(case)
    pairs = np.arange(0, rotary_dim or head_dim, 2)
    inputs = {
        "q": random_rows(21, rows, heads * head_dim),
        "k": random_rows(22, rows, kv_heads * head_dim),
        "v": random_rows(23, rows, kv_heads * head_dim),
        "frequencies": (10_000.0 ** -(pairs / (2 * pairs.size))).astype(np.float32),
        "positions": positions_from(first, rows),
        "sequences": np.ones(rows, np.int32),
        "k_cache": rng.normal(0.0, 1.0, (2, kv_heads, capacity, head_dim)).astype(np.float32),
        "v_cache": rng.normal(0.0, 1.0, (2, kv_heads, capacity, head_dim)).astype(np.float32),
    }
    if has_head_norm:
        inputs |= {name: rng.uniform(0.5, 1.5, head_dim).astype(np.float32) for name in ("q_weight", "k_weight")}
    return inputs


def in_doubles(inputs: dict[str, Any]) -> dict[str, Array]:
    return {name: x if name in _INTEGERS else as_doubles(x) for name, x in inputs.items()}


def rope_cache_reference(inputs: dict[str, Any], attributes: dict[str, Any]) -> dict[str, Array]:
    outputs = rope_cache.reference(**in_doubles(inputs), **attributes)
    return dict(zip(("q_out", "k_cache", "v_cache"), outputs, strict=True))


@pytest.mark.parametrize("has_head_norm", [False, True])
@pytest.mark.parametrize("dtype", CACHE_DTYPES)
def test_rope_cache(variant: Variant, dtype: str, has_head_norm: bool) -> None:
    for case in cases.ROPE_CACHE:
        rows, _, _, head_dim, _, first = case
        if dtype == "int4" and head_dim % 4 != 0:
            continue  # refused: test_heads_that_do_not_fit_are_refused
        inputs = rope_cache_inputs(case, has_head_norm)
        inputs |= {name: as_cache(inputs[name], dtype) for name in ("k_cache", "v_cache")}
        got = variant.call(run, "rope_cache", inputs, {"eps": 1e-6})
        want = rope_cache_reference(inputs, {"eps": 1e-6})
        got |= {name: as_doubles(got[name]) for name in ("k_cache", "v_cache")}
        check_rope_cache(variant, case, got, want, dtype)
        for name in ("k_cache", "v_cache"):
            before = as_doubles(inputs[name])
            before[1, :, first : first + rows] = got[name][1, :, first : first + rows]
            np.testing.assert_array_equal(got[name], before)


@pytest.mark.parametrize(("head_dim", "dtype"), [(6, "int4"), (516, "f16"), (520, "int4")])
def test_heads_that_do_not_fit_are_refused(head_dim: int, dtype: str) -> None:
    graph = Graph()
    q, frequencies = (graph.tensor(name, (1, head_dim), "f32", Storage.STATE) for name in ("q", "frequencies"))
    cache = graph.tensor("cache", (1, 1, 8, head_dim), dtype, Storage.STATE)
    with pytest.raises(ValueError, match=f"heads of {head_dim} elements can't be cached in {dtype}"):
        rope_cache.rope_cache(q, q, q, frequencies, q, q, cache, cache)


@pytest.mark.parametrize("is_interleaved", [False, True])
@pytest.mark.parametrize("has_head_norm", [False, True])
def test_rope_cache_of_a_part_of_the_head(variant: Variant, has_head_norm: bool, is_interleaved: bool) -> None:
    """Either layout, with the whole head rotated, a quarter of it, or two elements."""
    for case in cases.ROPE_CACHE:
        head_dim = case[3]
        for rotary_dim in {head_dim, max(2, head_dim // 8 * 2), 2}:
            inputs = rope_cache_inputs(case, has_head_norm, rotary_dim)
            attributes = {"eps": 1e-6, "is_interleaved": is_interleaved}
            got = variant.call(run, "rope_cache", inputs, attributes)
            want = rope_cache_reference(inputs, attributes)
            check_rope_cache(variant, case, got, want, "float32")


@pytest.mark.parametrize("has_head_norm", [False, True])
@pytest.mark.parametrize("dtype", CACHE_DTYPES)
def test_rope_attention(variant: Variant, dtype: str, has_head_norm: bool) -> None:
    """One row: the same caches and attention as by the two kernels; what lies beyond is not read."""
    check_rope_attention(variant, run, dtype, has_head_norm)


@pytest.mark.parametrize("has_head_norm", [False, True])
@pytest.mark.parametrize("dtype", CACHE_DTYPES)
def test_rope_attention_split(variant: Variant, dtype: str, has_head_norm: bool) -> None:
    """The form for wide devices, in several parts."""
    if variant.is_native:
        pytest.skip("a form for GPUs: the shader itself is tested")
    check_rope_attention(variant, run_wide, dtype, has_head_norm)


def check_rope_attention(variant: Variant, run: Callable[..., Any], dtype: str, has_head_norm: bool) -> None:
    for heads, kv_heads, head_dim, capacity, position, window in cases.ROPE_ATTENTION:
        inputs = rope_cache_inputs((1, heads, kv_heads, head_dim, capacity, position), has_head_norm)
        for name in ("k_cache", "v_cache"):
            inputs[name][0] = np.nan
            inputs[name][:, :, position:] = np.nan
            inputs[name] = as_cache(inputs[name], dtype)
        attributes = {"scale": head_dim**-0.5, "window": window, "eps": 1e-6}
        got = variant.call(run, "rope_attention", inputs, attributes)
        seen = {n: x[1:, :, : position + 1] if n.endswith("cache") else x for n, x in in_doubles(inputs).items()}
        seen["sequences"] = np.zeros(1, np.int32)
        keys, values, _ = rope_attention.reference(**seen, **attributes)
        case = (1, heads, kv_heads, head_dim, capacity, position)
        written = {n: as_doubles(got[n])[1:, :, : position + 1] for n in ("k_cache", "v_cache")}
        q_out, _, _ = rope_cache.reference(**seen, eps=1e-6)
        check_rope_cache(variant, case, written, {"k_cache": keys, "v_cache": values}, dtype)
        # The own key and value are rounded to the cache's type before they are used.
        attributes.pop("eps")
        y = attention.reference(q_out, **written, **{n: seen[n] for n in _INTEGERS}, **attributes)
        worst = error(got["y"], y)
        print(f"worst rope_attention {variant.name} {dtype} {case} {worst:.2g}")
        assert worst <= tolerances.KERNELS["attention", "float32"] + 5 * position * 2.0**-22, (case, worst)


def check_rope_cache(
    variant: Variant, case: tuple[int, ...], got: dict[str, Array], want: dict[str, Array], dtype: str
) -> None:
    last_position = case[0] + case[-1]
    rounding_of_angles = last_position * 2.0**-22  # radians: float32 angles, an element a few times the mean
    for name, values in want.items():
        precision = "float32" if name == "q_out" else dtype
        worst = stored_error(got[name], values, precision)
        print(f"worst rope_cache {variant.name} {precision} {case} {name} {worst:.2g}")
        rounding = rounding_of_angles * INTEGER_STEPS.get(precision, 1)
        assert worst <= tolerances.KERNELS["rope_cache", precision] + rounding, (case, name)
