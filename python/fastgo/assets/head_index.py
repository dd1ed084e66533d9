"""What lets an output head be computed exactly from half its bytes: its high nibbles, a sketch of the low ones, bounds.

docs/exact_head.md has the idea and the proof. Rows are those of the output matrix (vocab_size, hidden_size) in q8_0,
whose bytes stay where they are; q + 128 = 16 high + low. Directions are an orthonormal basis of the space in which
hidden states mostly lie. Units: bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastgo.assets.quant import SUB_BLOCK, Array, Bytes, Float32s

DIRECTIONS = 32
NORM_VALUES = 3  # HeadNorms of shaders/include/head_args.h
_TILE_ROWS = 16  # HEAD_TILE_ROWS
_CHUNK_TILES = 64
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
        tiles: uint8 (tiles_nbytes,): 16 rows after another, as shaders/include/head_args.h lays them out: high nibbles,
            scales, the low nibbles' part along the basis, and bounds, the weighted length of what that leaves out.
        basis: float32 (DIRECTIONS, hidden_size).
        norms: float32 (DIRECTIONS + NORM_VALUES,): the weights of a hidden state's coordinates, then HeadNorms.
    """

    tiles: Bytes
    basis: Float32s
    norms: Float32s


def tiles_nbytes(rows: int, columns: int, directions: int = DIRECTIONS) -> int:
    """Size of the tiles of a (rows, columns) matrix."""
    return -(-rows // _TILE_ROWS) * _tile_nbytes(columns, directions)


def _tile_nbytes(columns: int, directions: int) -> int:
    return -(-(columns * 9 + directions * 16 + 128) // 64) * 64


def build(planes: Mapping[str, Array], spread: Spread) -> HeadIndex:
    """The index of a q8_0 matrix, whose planes come by role; rows are padded with zeros to whole tiles."""
    rows, columns = planes["low"].shape
    tiles = np.zeros((-(-rows // _TILE_ROWS), _tile_nbytes(columns, DIRECTIONS)), np.uint8)
    weights: Float64s | None = None
    largest_scale = 0.0
    basis = spread.basis.astype(np.float32)
    for begin in range(0, len(tiles), _CHUNK_TILES):
        chunk = slice(begin * _TILE_ROWS, min(rows, (begin + _CHUNK_TILES) * _TILE_ROWS))
        integers, scales = planes["low"][chunk].view(np.uint8) ^ np.uint8(0x80), planes["scales"][chunk]
        squares = np.square(scales.astype(np.float32)).sum(axis=1)
        largest_scale = max(largest_scale, float(np.sqrt(SUB_BLOCK * squares.max())))
        low = (integers & np.uint8(15)).astype(np.float32).reshape(*scales.shape, SUB_BLOCK)
        low -= _LOW_CENTRE
        low *= scales.astype(np.float32)[:, :, None]
        low = low.reshape(len(scales), columns)
        along = low @ basis.T
        sketch_scales = np.maximum(np.abs(along).max(axis=1), np.float32(1e-30)) / np.float32(127)
        sketch = np.rint(along / sketch_scales[:, None])
        missed = along - sketch * sketch_scales[:, None]
        lengths = np.einsum("ij,ij->i", low, low)
        # What cancels, or was summed in float32, counts in full.
        rest = np.maximum(lengths - np.square(along).sum(axis=1), 0.0) + 1e-4 * lengths
        if weights is None:
            weights = _weights(spread, missed.astype(np.float64), rest.astype(np.float64))
        bounds = np.sqrt(np.square(missed) @ weights[:-1] + rest * weights[-1])
        bounds += np.sqrt(weights.max() * DIRECTIONS) * columns * 2.0**-24 * np.sqrt(lengths)
        _fill(tiles[begin : begin + _CHUNK_TILES], integers, scales, sketch, sketch_scales, bounds * _ROUND_UP)
    assert weights is not None
    inverse = 1.0 / weights
    norms = np.concatenate((inverse, [_reach_error(columns, inverse), _rounding(columns) * largest_scale]))
    return HeadIndex(tiles.reshape(-1), basis, (norms * float(_ROUND_UP)).astype(np.float32))


def _fill(tiles: Bytes, integers: Bytes, scales: Array, sketch: Array, sketch_scales: Array, bounds: Array) -> None:
    """Writes rows into tiles (count, tile_nbytes)."""
    count, columns = len(tiles), integers.shape[1]
    high = _by_tile(integers, count).reshape(count, _TILE_ROWS, columns // SUB_BLOCK, 2, 4, 4) >> np.uint8(4)
    nibbles = high[:, :, :, 0] | high[:, :, :, 1] << np.uint8(4)  # (tile, row, block, v, j)
    by_block = _by_tile(scales.astype("<f2"), count).transpose(0, 2, 1)
    pairs = (
        nibbles.transpose(0, 2, 3, 1, 4).reshape(count, columns // 64, 512),
        np.ascontiguousarray(by_block).view(np.uint8).reshape(count, columns // 64, 64),
    )
    fields = (
        np.concatenate(pairs, axis=2),
        _by_tile((sketch + 128).astype(np.uint8), count).reshape(count, _TILE_ROWS, -1, 4).transpose(0, 2, 1, 3),
        _by_tile(sketch_scales.astype("<f4"), count),
        _by_tile(bounds.astype("<f4"), count),
    )
    begin = 0
    for field in fields:
        values = np.ascontiguousarray(field).reshape(count, -1).view(np.uint8)
        tiles[:, begin : begin + values.shape[1]] = values
        begin += values.shape[1]


def _by_tile(rows: Array, count: int) -> Array:
    """Rows (n, ...) as (count, _TILE_ROWS, ...), padded with zeros."""
    missing = count * _TILE_ROWS - len(rows)
    if missing:
        rows = np.concatenate((rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)))
    return rows.reshape(count, _TILE_ROWS, *rows.shape[1:])


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

    Terms of the two sums come to at most 361 + 361 + 23 scales. Inputs of 16 bits are off by at most 8.8e-5 of their
    length, each kernel's in its own way: those of the estimate meet 120.5 + 7.5, those of the logit 128. A basis
    rounded to float32 adds 1e-4 of the low part's 7.5.
    """
    return 768 * _relative_rounding(columns) + 256 * 1e-4 + 7.5 * 2e-4


def _relative_rounding(columns: int) -> float:
    """Of sums that add at most a quarter of the columns and 32 terms one after the other, in float32."""
    return (columns / 4 + 32) * 2.0**-24
