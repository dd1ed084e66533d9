"""Weights to the planes of any format: rounding for floats, and for quantised formats the scale that fits best.

Formats without a minimum try scales around the largest weight's, formats with one try ranges around the block's; each
try is refined by least squares and the one with the least squared error wins. Scales are rounded to how they are
stored before the integers are chosen, so that those round off the scale's own error.

Units: weights; a block has as many as share one scale.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fastgo.assets.quant import SUB_BLOCK, Array, Bytes, Float32s, QuantFormat
from fastgo.assets.split_bytes import split_bytes
from fastgo.errors import InvalidFileError

_SUPER_BLOCK = 256
_MAX_SUB_SCALE = 63  # 6 bits
_TRIES = tuple(0.1 * step for step in range(-10, 11))  # added to the number of levels that a block's range is cut into
_LARGEST_FLOAT16 = 65504.0


def quantize(format: QuantFormat, weights: Float32s) -> Mapping[str, Array]:
    """The planes of some rows in `format`, by role, each of its own dtype and shape.

    Args:
        weights: float32 (rows, columns), finite; columns a multiple of the format's block size.
    Raises:
        InvalidFileError: the weights leave the range of the format's scales.
    """
    rows = len(weights)
    if not format.is_quantised:
        return {"low": _to_float(format.name, weights)}
    if format.group_size is not None:
        planes = _groups(format, weights.reshape(-1, format.group_size or weights.shape[1]))
    elif format.name == "q8_0":
        planes = _bytes_and_scales(weights.reshape(-1, SUB_BLOCK))
    elif format.name == "q8_split":
        planes = _bytes_and_scales(weights.reshape(-1, SUB_BLOCK))
        planes["low"], planes["high"] = split_bytes(planes["low"])
    elif format.name == "q6_k":
        planes = _six_bits(weights.reshape(-1, 16))
    elif "super_mins" in (plane.role for plane in format.planes):
        planes = _super_blocks(weights.reshape(-1, SUB_BLOCK), _bits(format))
    elif "mins" in (plane.role for plane in format.planes):
        planes = _scales_and_mins(weights.reshape(-1, SUB_BLOCK), _bits(format))
    else:
        planes = _scales_only(weights.reshape(-1, SUB_BLOCK), _bits(format))
    return {plane.role: planes[plane.role].reshape(rows, -1) for plane in format.planes}


def _bits(format: QuantFormat) -> int:
    return 5 if any(plane.role == "high" for plane in format.planes) else 4


def _to_float(name: str, weights: Float32s) -> Array:
    if name == "f32":
        return weights
    if name == "f16":
        return to_float16(weights)
    bits = weights.view(np.uint32)
    rounded: npt.NDArray[np.uint32] = (
        bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    ) >> np.uint32(16)
    return rounded.astype(np.uint16)


def to_float16(values: Float32s) -> npt.NDArray[np.float16]:
    """The nearest float16. Raises InvalidFileError above its range."""
    if values.size and np.abs(values).max() > _LARGEST_FLOAT16:
        raise InvalidFileError(
            "weights are too large for float16", hint="keep these tensors as f32 or bf16, in the source or with --keep"
        )
    return values.astype(np.float16)


def _inverse(scale: Float32s) -> Float32s:
    """1 / scale; 0 for 0."""
    inverse: Float32s = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=np.abs(scale) > 1e-30)
    return inverse


def _round(values: Float32s, low: int, high: int) -> Float32s:
    rounded: Float32s = np.clip(np.rint(values), low, high)
    return rounded


def _bytes_and_scales(blocks: Float32s) -> dict[str, Array]:
    scales = to_float16(np.abs(blocks).max(axis=1) / np.float32(127))
    integers = _round(blocks * _inverse(scales.astype(np.float32))[:, None], -127, 127)
    return {"low": integers.astype(np.int8), "scales": scales}


def _groups(format: QuantFormat, groups: Float32s) -> dict[str, Array]:
    """Our own formats. Every weight is off by half a step at most.

    A step is the largest weight over 127 or 7, or with a zero point the range (which takes in 0) over 255 or 15;
    rounded up to float16, so that no integer is cut off.
    """
    has_zeros = any(plane.role == "zeros" for plane in format.planes)
    is_eight_bits = format.kernel == "int8"
    lowest, highest = (-128, 127) if is_eight_bits else (0, 15)
    low = np.minimum(groups.min(axis=1), np.float32(0))
    if has_zeros:
        steps = (np.maximum(groups.max(axis=1), np.float32(0)) - low) / np.float32(highest - lowest)
    else:
        steps = np.abs(groups).max(axis=1) / np.float32(127 if is_eight_bits else 7)
    scales = _float16_above(steps)
    inverse = _inverse(scales.astype(np.float32))
    zeros = _round(lowest - low * inverse, lowest, highest) if has_zeros else np.full_like(low, format.zero_point)
    integers = np.clip(np.rint(groups * inverse[:, None]) + zeros[:, None], lowest, highest)
    if is_eight_bits:
        return {"low": integers.astype(np.int8), "scales": scales, "zeros": zeros.astype(np.int8)}
    planes = pack_integers(integers.astype(np.uint8).reshape(-1, SUB_BLOCK), 4)
    return planes | {"scales": scales, "zeros": zeros.astype(np.uint8)}


def _float16_above(values: Float32s) -> npt.NDArray[np.float16]:
    """The nearest float16 that is not below."""
    nearest = to_float16(values)
    return np.where(nearest.astype(np.float32) < values, np.nextafter(nearest, np.float16(np.inf)), nearest)


def _symmetric_scales(blocks: Float32s, limit: int) -> Float32s:
    """For each block the scale with which integers from -limit to limit - 1 come closest to it."""
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)[:, 0]
    best = np.zeros_like(extreme)
    best_gain = np.zeros_like(extreme)
    with np.errstate(over="ignore", invalid="ignore"):
        for step in _TRIES:
            integers = _round(blocks * (-(limit + np.float32(step)) * _inverse(extreme))[:, None], -limit, limit - 1)
            product = np.einsum("ij,ij->i", blocks, integers)
            square = np.einsum("ij,ij->i", integers, integers)
            # Least squares: the scale product / square lowers the squared error by product² / square.
            scale = product * _inverse(square)
            gain = product * scale
            is_better = gain > best_gain
            best[is_better], best_gain[is_better] = scale[is_better], gain[is_better]
    return best


def _scales_only(blocks: Float32s, bits: int) -> dict[str, Array]:
    limit = 1 << (bits - 1)
    scales = to_float16(_symmetric_scales(blocks, limit))
    integers = _round(blocks * _inverse(scales.astype(np.float32))[:, None], -limit, limit - 1)
    return pack_integers((integers + limit).astype(np.uint8), bits) | {"scales": scales}


def _six_bits(blocks: Float32s) -> dict[str, Array]:
    """Blocks of 16 with 8-bit scales, a float16 scale for 16 of them."""
    limit = 32
    wanted = _symmetric_scales(blocks, limit).reshape(-1, _SUPER_BLOCK // 16)
    super_scales = to_float16(np.abs(wanted).max(axis=1) / np.float32(127))
    supers = super_scales.astype(np.float32)[:, None]
    scales = _round(wanted * _inverse(supers), -127, 127)
    integers = _round(blocks * _inverse(scales * supers).reshape(-1, 1), -limit, limit - 1)
    planes = pack_integers((integers + limit).astype(np.uint8).reshape(-1, SUB_BLOCK), 6)
    return planes | {"scales": scales.astype(np.int8), "super_scales": super_scales}


def _ranges(blocks: Float32s, levels: int, lowest: float) -> tuple[Float32s, Float32s]:
    """For each block scale and offset with which scale * (0 .. levels) + offset comes closest to it.

    `lowest` is 0 if the offset must not be positive, infinity if it is free.
    """
    low = np.minimum(blocks.min(axis=1), np.float32(lowest))
    span = _inverse(np.maximum(blocks.max(axis=1) - low, 0))
    total = blocks.sum(axis=1)
    best_scale, best_offset = np.zeros_like(low), low.copy()
    best_error = np.einsum("ij,ij->i", blocks - low[:, None], blocks - low[:, None])
    for step in _TRIES:
        integers = _round((blocks - low[:, None]) * ((levels + np.float32(step)) * span)[:, None], 0, levels)
        scale, offset = _least_squares(blocks, integers, total, lowest)
        error = _squared_error(blocks, integers, scale, offset)
        is_better = (error < best_error) & (scale >= 0)
        for best, found in ((best_scale, scale), (best_offset, offset), (best_error, error)):
            best[is_better] = found[is_better]
    return best_scale, best_offset


def _least_squares(blocks: Float32s, integers: Float32s, total: Float32s, lowest: float) -> tuple[Float32s, Float32s]:
    """Scale and offset, not above `lowest`, with which `integers` come closest to `blocks`."""
    count = np.float32(blocks.shape[1])
    sums = integers.sum(axis=1)
    squares = np.einsum("ij,ij->i", integers, integers)
    products = np.einsum("ij,ij->i", blocks, integers)
    inverse = _inverse(count * squares - sums * sums)
    scale = (count * products - total * sums) * inverse
    offset = (squares * total - sums * products) * inverse
    # All integers the same: any offset would do, so none is taken.
    is_above = (offset > lowest) | (inverse == 0)
    scale = np.where(is_above, products * _inverse(squares), scale)
    return scale, np.where(is_above, np.float32(0), offset)


def _squared_error(blocks: Float32s, integers: Float32s, scale: Float32s, offset: Float32s) -> Float32s:
    difference = integers * scale[:, None]
    difference += offset[:, None]
    difference -= blocks
    error: Float32s = np.einsum("ij,ij->i", difference, difference)
    return error


def _nearest(blocks: Float32s, scale: Float32s, offset: Float32s, levels: int) -> Float32s:
    return _round((blocks - offset[:, None]) * _inverse(scale)[:, None], 0, levels)


def _scales_and_mins(blocks: Float32s, bits: int) -> dict[str, Array]:
    levels = (1 << bits) - 1
    scale, offset = _ranges(blocks, levels, np.inf)
    scales, mins = to_float16(scale), to_float16(offset)
    integers = _nearest(blocks, scales.astype(np.float32), mins.astype(np.float32), levels)
    return pack_integers(integers.astype(np.uint8), bits) | {"scales": scales, "mins": mins}


def _super_blocks(blocks: Float32s, bits: int) -> dict[str, Array]:
    """Blocks of 32 with 6-bit scales and minima, float16 ones for eight of them."""
    levels = (1 << bits) - 1
    scale, offset = _ranges(blocks, levels, 0.0)
    super_scales, scales = _six_bit_factors(scale)
    super_mins, mins = _six_bit_factors(-offset)
    step = np.repeat(super_scales.astype(np.float32), _SUPER_BLOCK // SUB_BLOCK)
    min_step = np.repeat(super_mins.astype(np.float32), _SUPER_BLOCK // SUB_BLOCK)
    best_error = np.full_like(scale, np.inf)
    best = {"integers": np.zeros_like(blocks), "scales": scales, "mins": mins}
    # Rounding both factors on their own is not the best pair: the neighbours may come closer.
    for scale_change in (0, -1, 1):
        for min_change in (0, -1, 1):
            tried = {
                "scales": np.clip(scales + scale_change, 0, _MAX_SUB_SCALE),
                "mins": np.clip(mins + min_change, 0, _MAX_SUB_SCALE),
            }
            effective = (tried["scales"] * step, -tried["mins"] * min_step)
            tried["integers"] = _nearest(blocks, *effective, levels)
            error = _squared_error(blocks, tried["integers"], *effective)
            is_better = error < best_error
            best_error = np.where(is_better, error, best_error)
            for name, values in tried.items():
                chosen = is_better if values.ndim == 1 else is_better[:, None]
                best[name] = np.where(chosen, values, best[name])
    return pack_integers(best["integers"].astype(np.uint8), bits) | {
        "scales": best["scales"].astype(np.uint8),
        "mins": best["mins"].astype(np.uint8),
        "super_scales": super_scales,
        "super_mins": super_mins,
    }


def _six_bit_factors(values: Float32s) -> tuple[npt.NDArray[np.float16], Float32s]:
    """A float16 step for every eight values, none of them negative, and each value's nearest multiple, 0 to 63."""
    steps = to_float16(values.reshape(-1, _SUPER_BLOCK // SUB_BLOCK).max(axis=1) / np.float32(_MAX_SUB_SCALE))
    inverse = np.repeat(_inverse(steps.astype(np.float32)), _SUPER_BLOCK // SUB_BLOCK)
    return steps, _round(values * inverse, 0, _MAX_SUB_SCALE)


def pack_integers(integers: Bytes, bits: int) -> dict[str, Array]:
    """The planes "low" and, above four bits, "high" of integers, uint8 (blocks, 32), as our formats have them."""
    planes: dict[str, Array] = {"low": (integers[:, :16] & 0x0F) | (integers[:, 16:] << 4)}
    if bits > 4:
        words = [np.packbits(integers >> bit & 1, axis=1, bitorder="little") for bit in range(4, bits)]
        planes["high"] = np.concatenate(words, axis=1).view(np.uint32)
    return planes
