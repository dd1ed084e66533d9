"""Keys and values as the device gets them, in each format of a cache."""

from __future__ import annotations

import numpy as np
from fastgo.ops.rope_cache import int8_rows
from harness import Array, Int8Cache, error

# Names of precisions in tolerances.py.
CACHE_DTYPES = ["float32", "float16", "bfloat16", "int8"]


def as_cache(values: Array, dtype: str) -> Array | Int8Cache:
    """Float32 values as what a kernel is given; bfloat16 as its bits, NaN stays NaN."""
    if dtype == "bfloat16":
        return (values.view(np.uint32) >> 16).astype(np.uint16)
    if dtype == "int8":
        elements, scales = int8_rows(np.nan_to_num(values).astype(np.float64))
        return Int8Cache(elements, np.where(np.isnan(values).any(axis=-1), np.float16(np.nan), scales))
    return values.astype(dtype)


def as_doubles(cache: Array | Int8Cache) -> Array:
    """What the kernel's cache holds."""
    if isinstance(cache, Int8Cache):
        return cache.elements.astype(np.float64) * cache.scales[..., None].astype(np.float64)
    if cache.dtype == np.uint16:
        cache = (cache.astype(np.uint32) << 16).view(np.float32)
    return cache.astype(np.float64)


def stored_error(got: Array, want: Array, dtype: str) -> float:
    """How far what a cache holds is from what it was given: as harness.error; of int8 in steps of the wanted rows."""
    if dtype != "int8":
        return error(got, want)
    steps = np.abs(want).max(axis=-1, keepdims=True) / 127
    return float((np.abs(got - want) / np.maximum(steps, 1e-30)).max())
