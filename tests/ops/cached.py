"""Keys and values as the device gets them, in each format of a cache."""

from __future__ import annotations

import numpy as np
from harness import Array

# Names of precisions in tolerances.py.
CACHE_DTYPES = ["float32", "float16", "bfloat16"]


def as_cache(values: Array, dtype: str) -> Array:
    """Float32 values as what a kernel is given; bfloat16 as its bits, NaN stays NaN."""
    if dtype == "bfloat16":
        return (values.view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(dtype)


def as_doubles(cache: Array) -> Array:
    """What the kernel's cache holds."""
    if cache.dtype == np.uint16:
        cache = (cache.astype(np.uint32) << 16).view(np.float32)
    return cache.astype(np.float64)
