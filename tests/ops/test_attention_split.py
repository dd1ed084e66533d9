"""attention_split and attention_combine with every head shape and cache, by every way to run them, against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cached import CACHE_DTYPES, as_cache, as_doubles
from fastgo import tolerances
from fastgo.ops import attention_split, cases
from harness import Array, error, random_rows, run
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
