"""attention on matrix units, in tiles of rows: by the shader itself, against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cached import as_cache, as_doubles
from fastgo import tolerances
from fastgo.ops import attention, attention_split, attention_tile, cases
from harness import Array, error, random_rows, run_wide
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from variants import Variant

DTYPES = ["float16", "bfloat16", "int8", "int4"]
NUM_SEQUENCES = 3


def doubles_of(inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs as the kernel sees them, zeros for NaN."""
    values = {n: as_doubles(x) if n.endswith("cache") else x for n, x in inputs.items()}
    return {n: x if x.dtype == np.int32 else np.nan_to_num(x.astype(np.float64)) for n, x in values.items()}


def check(variant: Variant, dtype: str, inputs: dict[str, Any], attributes: dict[str, Any]) -> None:
    """Inputs with float32 caches, NaN where nobody looks."""
    inputs = {name: as_cache(x, dtype) if name.endswith("cache") else x for name, x in inputs.items()}
    got = variant.call(run_wide, "attention", inputs, attributes)["y"]
    doubles = doubles_of(inputs)
    want = attention.reference(**doubles, **attributes)
    worst, rows, head_dim = error(got, want), len(inputs["q"]), doubles["k_cache"].shape[3]
    print(f"worst attention_tile {variant.name} {dtype} {rows} {head_dim} {worst:.2g}")
    assert worst <= tolerances.KERNELS["attention", precision_of(dtype)]


def precision_of(dtype: str) -> str:
    return tolerances.attention_precision("msl", dtype, 64, 64, is_wide=True)


@pytest.fixture(autouse=True)
def only_shaders(variant: Variant) -> None:
    if variant.is_native:
        pytest.skip("a form for GPUs: the shader itself is tested")


@pytest.mark.parametrize("dtype", DTYPES)
def test_attention_tile(variant: Variant, dtype: str) -> None:
    for rows, heads, kv_heads, head_dim, capacity, first, window in cases.ATTENTION_TILE:
        caches = [random_rows(seed, 2, kv_heads, capacity, head_dim) for seed in (15, 16)]
        for cache in caches:
            cache[0] = np.nan
            cache[:, :, first + rows :] = np.nan
        inputs = {
            "q": random_rows(14, rows, heads * head_dim),
            "k_cache": caches[0],
            "v_cache": caches[1],
            "positions": np.arange(first, first + rows, dtype=np.int32),
            "sequences": np.ones(rows, np.int32),
        }
        check(variant, dtype, inputs, {"scale": head_dim**-0.5, "window": window})


def image_blocks(first: int, rows: int) -> Array:
    """Ranges that hold the rows' own positions: an image of 30 tokens after five of text, then text."""
    begin, end = first + 5, first + min(35, rows)
    positions = np.arange(first, first + rows)
    inside = (positions >= begin) & (positions < end)
    return np.where(inside[:, None], [begin, end], 0).astype(np.int32)


@pytest.mark.parametrize(
    ("dtype", "options"),
    [*((dtype, "all") for dtype in DTYPES), *(("float16", name) for name in ("blocks", "sinks", "soft_cap"))],
)
def test_variants(variant: Variant, dtype: str, options: str) -> None:
    """Of attention_split for many rows: bidirectional blocks, sinks, soft cap; always with the log-sum-exp."""
    for rows, heads, kv_heads, head_dim, capacity, first, window in cases.ATTENTION_TILE:
        caches = [random_rows(seed, 2, kv_heads, capacity, head_dim) for seed in (15, 16)]
        for cache in caches:
            cache[:, :, first + rows :] = np.nan
        inputs: dict[str, Any] = {
            "q": random_rows(14, rows, heads * head_dim),
            "k_cache": as_cache(caches[0], dtype),
            "v_cache": as_cache(caches[1], dtype),
            "positions": np.arange(first, first + rows, dtype=np.int32),
            "sequences": np.ones(rows, np.int32),
        }
        if options in ("blocks", "all"):
            inputs["blocks"] = image_blocks(first, rows)
        if options in ("sinks", "all"):
            inputs["sinks"] = 2.0 * random_rows(17, heads)
        attributes = {"scale": head_dim**-0.5, "window": window}
        attributes["soft_cap"] = 1.5 if options in ("soft_cap", "all") else 0.0
        got = variant.call(run_wide, "attention_split", inputs, attributes)
        y, log_sum_exp = attention_split.reference(**doubles_of(inputs), **attributes)
        worst = max(error(got["y"], y), error(got["log_sum_exp"], log_sum_exp))
        print(f"worst attention_tile {variant.name} {dtype} {options} {rows} {head_dim} {worst:.2g}")
        assert worst <= tolerances.KERNELS["attention", precision_of(dtype)], (rows, head_dim)


@st.composite
def mixed_rows(draw: st.DrawFn) -> tuple[Array, Array, int]:
    """Positions and sequences of rows, in runs of one sequence or in any order, and the capacity."""
    capacity, rows = draw(st.sampled_from([1, 33, 64, 200])), draw(st.integers(17, 100))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    positions, sequences = rng.integers(0, capacity, rows), rng.integers(0, NUM_SEQUENCES, rows)
    if draw(st.booleans()):
        sequences = np.sort(sequences)
    return positions.astype(np.int32), sequences.astype(np.int32), capacity


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_rows_of_several_sequences(variant: Variant, data: st.DataObject) -> None:
    positions, sequences, capacity = data.draw(mixed_rows())
    kv_heads, group = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3))
    head_dim = data.draw(st.sampled_from(attention_tile.HEAD_DIMS))
    inputs: dict[str, Any] = {
        "q": random_rows(3, positions.size, kv_heads * group * head_dim),
        "positions": positions,
        "sequences": sequences,
    }
    for seed, name in enumerate(("k_cache", "v_cache")):
        values = random_rows(seed, NUM_SEQUENCES, kv_heads, capacity, head_dim)
        for sequence in range(NUM_SEQUENCES):
            values[sequence, :, positions[sequences == sequence].max(initial=-1) + 1 :] = np.nan
        inputs[name] = values
    attributes = {"scale": 0.05, "window": data.draw(st.sampled_from([0, 1, 30, 64]))}
    check(variant, data.draw(st.sampled_from(DTYPES)), inputs, attributes)


@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_scores(variant: Variant, dtype: str) -> None:
    """Scores of thousands neither overflow nor lose the best position; a first tile may see only low ones."""
    keys = np.zeros((1, 1, 200, 64), np.float32)
    keys[0, 0, :, 0] = -3000.0
    keys[0, 0, 150, 0] = 3000.0
    values = random_rows(20, 1, 1, 200, 64)
    q = np.zeros((64, 64), np.float32)
    q[:, 0] = 4.0
    inputs = {
        "q": q,
        "k_cache": as_cache(keys, dtype),
        "v_cache": as_cache(values, dtype),
        "positions": np.arange(136, 200, dtype=np.int32),
        "sequences": np.zeros(64, np.int32),
    }
    got = variant.call(run_wide, "attention", inputs, {"scale": 1.0, "window": 0})["y"]
    kept = as_doubles(inputs["v_cache"])[0, 0]
    rounding = 1e-5 if dtype in ("float16", "bfloat16") else 1e-3  # of what was integers, to float16
    np.testing.assert_allclose(got[14:], np.broadcast_to(kept[150], (50, 64)), rtol=rounding, atol=rounding)
    np.testing.assert_allclose(got[0], kept[:137].mean(axis=0), rtol=2e-2, atol=2e-2)
