"""attention_split and attention_combine: equal to the naive form for any mask, window, length and variant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cached import CACHE_DTYPES, as_cache, as_doubles
from fastgo import tolerances
from fastgo.ops import attention_split, cases
from harness import Array, error, random_rows, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from variants import Variant


def check(variant: Variant, inputs: dict[str, Array], attributes: dict[str, Any], dtype: str, case: object) -> None:
    device_inputs, doubles = (
        dict(inputs),
        {n: a if a.dtype == np.int32 else a.astype(np.float64) for n, a in inputs.items()},
    )
    for name in ("k_cache", "v_cache"):
        device_inputs[name] = as_cache(inputs[name], dtype)
        doubles[name] = as_doubles(device_inputs[name])
    got = variant.call(run, "attention_split", device_inputs, attributes)
    attributes = {name: value for name, value in attributes.items() if name != "splits"}
    y, log_sum_exp = attention_split.reference(**doubles, **attributes)
    worst = max(error(got["y"], y), error(got["log_sum_exp"], log_sum_exp))
    print(f"worst attention_split {variant.name} {dtype} {case} {worst:.2g}")
    assert worst <= tolerances.KERNELS["attention_split", "float32"], case


def inputs_of(rows: int, heads: int, kv_heads: int, head_dim: int, capacity: int, first: int) -> dict[str, Array]:
    """Two sequences; what lies beyond the last row's position and the whole first sequence is NaN."""
    caches = {}
    for seed, name in ((15, "k_cache"), (16, "v_cache")):
        caches[name] = random_rows(seed, 2, kv_heads, capacity, head_dim)
        caches[name][0] = np.nan
        caches[name][:, :, first + rows :] = np.nan
    return {
        "q": random_rows(14, rows, heads * head_dim),
        **caches,
        "positions": np.arange(first, first + rows, dtype=np.int32),
        "sequences": np.ones(rows, np.int32),
    }


@pytest.mark.parametrize("dtype", CACHE_DTYPES)
def test_attention_split(variant: Variant, dtype: str) -> None:
    for case in cases.ATTENTION_SPLIT:
        *shape, window = case
        check(variant, inputs_of(*shape), {"scale": shape[3] ** -0.5, "window": window}, dtype, case)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_mask_window_and_length(variant: Variant, data: st.DataObject) -> None:
    """Rows of any positions, a block around some of them, any number of parts, sinks and caps."""
    kv_heads, group = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 6))
    head_dim, capacity, rows = (
        data.draw(st.sampled_from([8, 80])),
        data.draw(st.integers(1, 90)),
        data.draw(st.integers(1, 4)),
    )
    inputs = inputs_of(rows, kv_heads * group, kv_heads, head_dim, capacity + rows, capacity)
    for cache in (inputs["k_cache"], inputs["v_cache"]):
        cache[0] = cache[1]
    position = st.integers(0, capacity - 1)
    inputs["positions"] = np.array([data.draw(position) for _ in range(rows)], np.int32)
    inputs["sequences"] = np.array([data.draw(st.integers(0, 1)) for _ in range(rows)], np.int32)
    if data.draw(st.booleans()):
        ends = [(data.draw(st.integers(0, p)), data.draw(st.integers(p + 1, capacity))) for p in inputs["positions"]]
        inputs["blocks"] = np.array([e if data.draw(st.booleans()) else (0, 0) for e in ends], np.int32)
    if data.draw(st.booleans()):
        inputs["sinks"] = random_rows(17, kv_heads * group)
    attributes = {
        "scale": head_dim**-0.5,
        "window": data.draw(st.integers(0, capacity)),
        "soft_cap": data.draw(st.sampled_from([0.0, 5.0])),
        "splits": data.draw(st.integers(1, 9)),
    }
    check(variant, inputs, attributes, "float32", attributes)
