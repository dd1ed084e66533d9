"""Scales and offsets with which a block's integers come closest to its weights, by weighted least squares.

Candidate scales round the weights to integers, least squares gives the scale that suits those integers best, and the
best candidate is rounded and fitted again until that no longer helps: k-means of one dimension with equal distances.

Units: weights. `blocks` and `importance` are float32 (blocks, block size); the error of a weight counts as its square
times its importance, which is not negative.
"""

from __future__ import annotations

import numpy as np

from fastgo.assets.quant import Float32s

_TRIES = tuple(0.1 * step for step in range(-10, 11))  # added to the number of levels that a block's range is cut into
_REFITS = 3


def inverse(scale: Float32s) -> Float32s:
    """1 / scale; 0 for 0."""
    found: Float32s = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=np.abs(scale) > 1e-30)
    return found


def round_to(values: Float32s, low: int, high: int) -> Float32s:
    """The nearest integers from `low` to `high`, as floats."""
    rounded: Float32s = np.clip(np.rint(values), low, high)
    return rounded


def squared_error(
    blocks: Float32s, importance: Float32s, integers: Float32s, scale: Float32s, offset: Float32s
) -> Float32s:
    """Of scale * integers + offset, for each block; scale and offset are (blocks,)."""
    difference = integers * scale[:, None]
    difference += offset[:, None]
    difference -= blocks
    difference *= difference
    return _row_sums(difference, importance)


def symmetric_scales(blocks: Float32s, importance: Float32s, limit: int) -> Float32s:
    """For each block the scale, of either sign, with which integers from -limit to limit - 1 come closest to it."""
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)[:, 0]
    best, best_gain = np.zeros_like(extreme), np.zeros_like(extreme)
    weighted = blocks * importance
    with np.errstate(over="ignore", invalid="ignore"):
        for step in (*_TRIES, *([None] * _REFITS)):
            tried = inverse(best) if step is None else -(limit + np.float32(step)) * inverse(extreme)
            integers = round_to(blocks * tried[:, None], -limit, limit - 1)
            product = _row_sums(weighted, integers)
            # Least squares: the scale product / square lowers the squared error by product² / square.
            scale = product * inverse(_row_sums(importance, integers * integers))
            gain = product * scale
            is_better = gain > best_gain
            best[is_better], best_gain[is_better] = scale[is_better], gain[is_better]
    return best


def ranges(blocks: Float32s, importance: Float32s, levels: int, lowest: float) -> tuple[Float32s, Float32s]:
    """For each block scale and offset with which scale * (0 .. levels) + offset comes closest to it.

    `lowest` is 0 if the offset must not be positive, infinity if it is free.
    """
    low = np.minimum(blocks.min(axis=1), np.float32(lowest))
    span = inverse(np.maximum(blocks.max(axis=1) - low, 0))
    best_scale, best_offset = np.zeros_like(low), low.copy()
    best_error = squared_error(blocks, importance, np.zeros_like(blocks), best_scale, best_offset)
    for step in (*_TRIES, *([None] * _REFITS)):
        start, tried = (best_offset, inverse(best_scale)) if step is None else (low, (levels + np.float32(step)) * span)
        integers = round_to((blocks - start[:, None]) * tried[:, None], 0, levels)
        scale, offset = _line(blocks, importance, integers, lowest)
        error = squared_error(blocks, importance, integers, scale, offset)
        is_better = (error < best_error) & (scale >= 0)
        best_scale, best_offset, best_error = (
            np.where(is_better, found, best)
            for found, best in ((scale, best_scale), (offset, best_offset), (error, best_error))
        )
    return best_scale, best_offset


def pairs_of_factors(
    targets: Float32s, importance: Float32s, first: Float32s, second: Float32s
) -> tuple[Float32s, Float32s]:
    """a and b (rows,) with which a * first + b * second comes closest to the targets; all (rows, any)."""
    a11, a12, a22 = (
        _row_sums(importance, left * right) for left, right in ((first, first), (first, second), (second, second))
    )
    b1, b2 = (_row_sums(importance, targets * part) for part in (first, second))
    determinant = a11 * a22 - a12 * a12
    is_line = determinant > np.float32(1e-5) * a11 * a22
    by = inverse(np.where(is_line, determinant, np.float32(0)))
    return (
        np.where(is_line, (a22 * b1 - a12 * b2) * by, b1 * inverse(a11)),
        np.where(is_line, (a11 * b2 - a12 * b1) * by, np.float32(0)),
    )


def _line(blocks: Float32s, importance: Float32s, integers: Float32s, lowest: float) -> tuple[Float32s, Float32s]:
    """Scale and offset, not above `lowest`, with which `integers` come closest to `blocks`."""
    weighted = importance * integers
    count, sums, squares = importance.sum(axis=1), weighted.sum(axis=1), _row_sums(weighted, integers)
    total, products = _row_sums(importance, blocks), _row_sums(weighted, blocks)
    by = inverse(count * squares - sums * sums)
    scale = (count * products - total * sums) * by
    offset = (squares * total - sums * products) * by
    # All integers the same: any offset would do, so none is taken.
    is_above = (offset > lowest) | (by == 0)
    scale = np.where(is_above, products * inverse(squares), scale)
    return scale, np.where(is_above, np.float32(0), offset)


def _row_sums(left: Float32s, right: Float32s) -> Float32s:
    sums: Float32s = np.einsum("ij,ij->i", left, right)
    return sums
