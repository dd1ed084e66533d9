"""q8_0's integers to the two planes of nibbles of q8_split, and back, without loss."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastgo.assets.quant import Bytes


def split_bytes(low: npt.NDArray[np.int8]) -> tuple[Bytes, Bytes]:
    """The planes `low` and `high` of q8_split from q8_0's integers (rows, columns): uint8 (rows, columns // 2) each."""
    values = (low.view(np.uint8) ^ np.uint8(128)).reshape(len(low), -1, 2, 16)
    first, last = values[:, :, 0], values[:, :, 1]
    lows, highs = (first & 0x0F) | (last << 4), (first >> 4) | (last & 0xF0)
    return lows.reshape(len(low), -1), highs.reshape(len(low), -1)


def join_bytes(low: Bytes, high: Bytes) -> npt.NDArray[np.int8]:
    """The inverse of `split_bytes`."""
    lows, highs = low.reshape(len(low), -1, 1, 16), high.reshape(len(low), -1, 1, 16)
    values: Bytes = np.concatenate(((lows & 0x0F) | (highs << 4), (lows >> 4) | (highs & 0xF0)), axis=2)
    integers: npt.NDArray[np.int8] = (values ^ np.uint8(128)).reshape(len(low), -1).view(np.int8)
    return integers
