"""Every value of the two 8-bit float types that safetensors knows, as tables from bits to float32.

Micikevicius et al. 2022, "FP8 Formats for Deep Learning": E4M3 has no infinities, E5M2 has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from fastgo.assets.quant import Float32s


def _decode(exponent_bits: int, has_infinity: bool) -> Float32s:
    """float32 (256,)."""
    mantissa_bits = 7 - exponent_bits
    bits = np.arange(256)
    exponent = bits >> mantissa_bits & ((1 << exponent_bits) - 1)
    mantissa = bits & ((1 << mantissa_bits) - 1)
    bias = (1 << (exponent_bits - 1)) - 1
    fraction = mantissa / (1 << mantissa_bits) + (exponent > 0)
    values = fraction * np.exp2(np.maximum(exponent, 1) - float(bias))
    is_top = exponent == (1 << exponent_bits) - 1
    if has_infinity:
        values[is_top] = np.where(mantissa[is_top] == 0, np.inf, np.nan)
    else:
        values[is_top & (mantissa == (1 << mantissa_bits) - 1)] = np.nan
    decoded: Float32s = np.where(bits >= 128, -values, values).astype(np.float32)
    return decoded


DECODED: Mapping[str, Float32s] = MappingProxyType(
    {"F8_E4M3": _decode(4, has_infinity=False), "F8_E5M2": _decode(5, has_infinity=True)}
)
