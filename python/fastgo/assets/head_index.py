"""What lets an output head be computed exactly from half its bytes: a sketch of low nibbles, and bounds on the rest.

docs/exact_head.md has the idea and the proof. Rows are those of the output matrix (vocab_size, hidden_size) in format
q8_split; directions are an orthonormal basis of the space in which hidden states mostly lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastgo.assets.quant import (
    FORMATS,
    SUB_BLOCK,
    Array,
    Bytes,
    Float32s,
    dequantize_planes,
    plane_views,
    row_chunks,
    total_nbytes,
)
from fastgo.assets.quantize import quantize

DIRECTIONS = 32
NORM_VALUES = 3  # HeadNorms of shaders/include/head_args.h
_LOW_CENTRE = np.float32(7.5)  # what an unread low nibble counts as; also how far it can be from that
_ROUND_UP = np.float32(1 + 1e-5)  # makes up for rounding a bound to float32

Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """Where hidden states lie: `basis` (DIRECTIONS, hidden_size), orthonormal rows, the first seeing most of them.

    `along` (DIRECTIONS,) is the root mean square of the coordinates, `rest` that of what the basis does not see.
    """

    basis: Float64s
    along: Float64s
    rest: float

    @classmethod
    def of(cls, states: Float32s) -> Spread:
        """From hidden states (tokens, hidden_size), at least one; hidden_size at least DIRECTIONS."""
        x = states.astype(np.float64)
        squares, vectors = np.linalg.eigh(x.T @ x / len(x))
        # A direction's sign is the solver's choice: take the one in which its largest element is positive.
        basis = vectors[:, ::-1].T[:DIRECTIONS]
        largest = np.take_along_axis(basis, np.abs(basis).argmax(axis=1)[:, None], axis=1)
        squares = np.maximum(squares[::-1], 1e-12 * max(float(squares[-1]), 1e-12))
        return cls(
            basis * np.sign(largest), np.sqrt(squares[:DIRECTIONS]), float(np.sqrt(squares[DIRECTIONS:].sum() + 1e-24))
        )


@dataclass(frozen=True)
class HeadIndex:
    """The arrays that the head_* kernels read.

    Attributes:
        sketch: planar q8_0 (vocab_size, DIRECTIONS): the low nibbles' part along the basis.
        bounds: float32 (vocab_size,): the length of what the sketch leaves out, weighted.
        basis: float32 (DIRECTIONS, hidden_size).
        norms: float32 (DIRECTIONS + NORM_VALUES,): the weights of a hidden state's coordinates, then HeadNorms.
    """

    sketch: Bytes
    bounds: Float32s
    basis: Float32s
    norms: Float32s


def build(planes: Mapping[str, Array], spread: Spread) -> HeadIndex:
    """The index of a q8_split matrix, whose planes come by role."""
    rows, columns = len(planes["scales"]), planes["low"].shape[1] * 2
    sketch = np.zeros(total_nbytes("q8_0", rows, DIRECTIONS), np.uint8)
    views = plane_views("q8_0", sketch, rows, DIRECTIONS)
    bounds: Float32s = np.empty(rows, np.float32)
    weights: Float64s | None = None
    largest_scale = 0.0
    for chunk in row_chunks(rows, columns):
        scales = planes["scales"][chunk].astype(np.float64)
        largest_scale = max(largest_scale, float(np.sqrt(SUB_BLOCK * np.square(scales).sum(axis=1).max())))
        low = _low_part({role: plane[chunk] for role, plane in planes.items()}).astype(np.float64)
        along = low @ spread.basis.T
        kept = quantize(FORMATS["q8_0"], along.astype(np.float32))
        for role, plane in kept.items():
            views[role][chunk] = plane
        missed = along - dequantize_planes("q8_0", kept)
        rest = np.maximum(np.square(low).sum(axis=1) - np.square(along).sum(axis=1), 0.0)
        if weights is None:
            weights = _weights(spread, missed, rest)
        bounds[chunk] = np.sqrt(np.square(missed) @ weights[:-1] + rest * weights[-1]) * (1 + 1e-6)
    assert weights is not None
    inverse = 1.0 / weights
    norms = np.concatenate((inverse, [_reach_error(columns, inverse), _rounding(columns) * largest_scale]))
    return HeadIndex(
        sketch, bounds * _ROUND_UP, spread.basis.astype(np.float32), (norms * float(_ROUND_UP)).astype(np.float32)
    )


def _low_part(planes: Mapping[str, Array]) -> Float32s:
    """What the low nibbles add to their rows, less their centre: float32 (rows, columns)."""
    pairs = planes["low"].reshape(*planes["scales"].shape, 16)
    nibbles: Float32s = np.concatenate((pairs & 0x0F, pairs >> 4), axis=-1).astype(np.float32) - _LOW_CENTRE
    nibbles *= planes["scales"].astype(np.float32)[:, :, None]
    return nibbles.reshape(len(pairs), -1)


def _weights(spread: Spread, missed: Float64s, rest: Float64s) -> Float64s:
    """How much a missed unit counts in each direction and in the rest: the ratio that makes the bound smallest.

    Any positive weights are sound; these fit rows like the given ones and hidden states like those of the spread.
    """
    lost = np.sqrt(np.append(np.square(missed).mean(axis=0), rest.mean()))
    seen = np.append(spread.along, spread.rest)
    floor = 1e-6 * max(float(lost.max()), 1e-30)
    return np.asarray(seen / np.maximum(lost, floor) / (seen[-1] / max(float(lost[-1]), floor)))


def _reach_error(columns: int, inverse_weights: Float64s) -> float:
    """What rounding of the coordinates can add to the reach of a hidden state of length 1."""
    return float(_relative_rounding(columns) * np.sqrt(inverse_weights[:-1].sum()))


def _rounding(columns: int) -> float:
    """How far a row's estimate and logit may be off by rounding, for scales and a hidden state of length 1.

    Terms of the two sums come to at most 361 + 361 + 23 scales; 16-bit activations add 1e-4 of the low part's 7.5, and
    so does a basis rounded to float32.
    """
    return 768 * _relative_rounding(columns) + 7.5 * 2e-4


def _relative_rounding(columns: int) -> float:
    """Of sums that add at most a quarter of the columns and 32 terms one after the other, in float32."""
    return (columns / 4 + 32) * 2.0**-24
