"""What the rounding of weights learns from a text: how much each column of a matrix counts. Found by calibration.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fastgo.assets.quant import Float32s


@dataclass(frozen=True)
class Importance:
    """Of a whole model.

    Attributes:
        counts: what the squared error of each column's weights counts, float32 (columns,), by the matrix' name;
            matrices that are missing count all columns the same.
        text_sha256: of the text, in UTF-8.
    """

    counts: Mapping[str, Float32s]
    text_sha256: str
