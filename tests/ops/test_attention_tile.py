"""attention on matrix units, in tiles of rows: by the shader itself, against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cached import as_cache, as_doubles
from fastgo import tolerances
from fastgo.ops import attention, cases
from harness import Array, error, random_rows, run_wide
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from variants import Variant

DTYPES = ["float16", "bfloat16"]
NUM_SEQUENCES = 3


def check(variant: Variant, dtype: str, inputs: dict[str, Any], attributes: dict[str, Any]) -> None:
    """Inputs with float32 caches, NaN where nobody looks."""
    inputs = {name: as_cache(x, dtype) if name.endswith("cache") else x for name, x in inputs.items()}
    got = variant.call(run_wide, "attention", inputs, attributes)["y"]
    doubles = {n: np.nan_to_num(as_doubles(x)) if n.endswith("cache") else x for n, x in inputs.items()}
    want = attention.reference(**{**doubles, "q": inputs["q"].astype(np.float64)}, **attributes)
    head_dim, rows = inputs["k_cache"].shape[3], inputs["q"].shape[0]
    precision = tolerances.attention_precision(variant.name, dtype, head_dim, rows, is_wide=True)
    worst = error(got, want)
    print(f"worst attention_tile {variant.name} {dtype} {rows} {head_dim} {worst:.2g}")
    assert worst <= tolerances.KERNELS["attention", precision]


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
    head_dim = data.draw(st.sampled_from([64, 128, 256]))
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
    np.testing.assert_allclose(got[14:], np.broadcast_to(kept[150], (50, 64)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got[0], kept[:137].mean(axis=0), rtol=2e-2, atol=2e-2)
