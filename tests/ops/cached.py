"""Keys and values as the device gets them, in each format of a cache."""

from __future__ import annotations

import numpy as np
from fastgo.graph.dag import scale_group
from fastgo.ops.rope_cache import int4_rows, int8_rows
from harness import Array, Int4Cache, Int8Cache, error

# Names of precisions in tolerances.py.
CACHE_DTYPES = ["float32", "float16", "bfloat16", "int8", "int4"]
INTEGER_STEPS = {"int8": 127, "int4": 7}  # how many of them reach the largest magnitude

Cache = Array | Int8Cache | Int4Cache


def as_cache(values: Array, dtype: str) -> Cache:
    """Float32 values as what a kernel is given; bfloat16 as its bits, NaN stays NaN."""
    if dtype == "bfloat16":
        return (values.view(np.uint32) >> 16).astype(np.uint16)
    if dtype == "int8":
        elements, scales = int8_rows(np.nan_to_num(values).astype(np.float64))
        return Int8Cache(elements, np.where(np.isnan(values).any(axis=-1), np.float16(np.nan), scales))
    if dtype == "int4":
        elements, scales = int4_rows(np.nan_to_num(values).astype(np.float64))
        is_unread = np.isnan(values).any(axis=-1, keepdims=True)
        return Int4Cache(elements, np.where(is_unread, np.float16(np.nan), scales))
    return values.astype(dtype)


def as_doubles(cache: Cache) -> Array:
    """What the kernel's cache holds."""
    if isinstance(cache, Int4Cache):
        group = cache.elements.shape[-1] // cache.scales.shape[-1]
        return cache.elements.astype(np.float64) * np.repeat(cache.scales.astype(np.float64), group, axis=-1)
    if isinstance(cache, Int8Cache):
        return cache.elements.astype(np.float64) * cache.scales[..., None].astype(np.float64)
    if cache.dtype == np.uint16:
        cache = (cache.astype(np.uint32) << 16).view(np.float32)
    return cache.astype(np.float64)


def stored_error(got: Array, want: Array, dtype: str) -> float:
    """How far what a cache holds is from what it was given: as harness.error; of integers in their wanted steps."""
    if dtype not in INTEGER_STEPS:
        return error(got, want)
    width = want.shape[-1]
    by_scale = (*want.shape[:-1], -1, scale_group(width) if dtype == "int4" else width)
    steps = np.abs(want).reshape(by_scale).max(axis=-1, keepdims=True) / INTEGER_STEPS[dtype]
    return float((np.abs(got - want).reshape(by_scale) / np.maximum(steps, 1e-30)).max())
