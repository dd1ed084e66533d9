"""bfloat16 as NumPy can hold it: its bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from fastgo.ops.cast import reference as cast
from fastgo.ops.common import Array


def to_bfloat(x: Array) -> npt.NDArray[np.uint16]:
    """The bits of x rounded to bfloat16."""
    return (cast(x, dtype="bf16").astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def from_bfloat(bits: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
    return (bits.astype(np.uint32) << 16).view(np.float32)
