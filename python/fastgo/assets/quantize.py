"""Weights to the planes of any format: rounding for floats, and for quantised formats the scale that fits best.

`scale_search.py` looks for scales and minima. They are rounded to how they are stored before the integers are chosen,
so that those round off the scale's own error. Our own int4 searches too, but no weight leaves the rounding bound.

Units: weights; a block has as many as share one scale.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fastgo.assets.quant import SUB_BLOCK, Array, Bytes, Float32s, QuantFormat
from fastgo.assets.scale_search import inverse, pairs_of_factors, ranges, round_to, squared_error, symmetric_scales
from fastgo.errors import InvalidFileError

_SUPER_BLOCK = 256
_PARTS = _SUPER_BLOCK // SUB_BLOCK
_MAX_SUB_SCALE = 63  # 6 bits
_SUPER_REFITS = 2
_GROUP_TRIES = tuple(1 - 0.01 * step for step in range(20))  # of the scale that cuts nothing off
_LARGEST_FLOAT16 = 65504.0


def quantize(format: QuantFormat, weights: Float32s, importance: Float32s | None = None) -> Mapping[str, Array]:
    """The planes of some rows in `format`, by role, each of its own dtype and shape.

    Args:
        weights: float32 (rows, columns), finite; columns a multiple of the format's block size.
        importance: float32 (columns,), positive: how much the squared error of a column's weights counts; by default
            all columns count the same. Formats with eight bits round to the nearest whatever it is.
    Raises:
        InvalidFileError: the weights leave the range of the format's scales.
    """
    rows = len(weights)
    if not format.is_quantised:
        return {"low": _to_float(format.name, weights)}
    count = np.ones_like(weights) if importance is None else np.broadcast_to(importance, weights.shape)
    roles = [plane.role for plane in format.planes]

    def blocks_of(size: int) -> tuple[Float32s, Float32s]:
        return weights.reshape(-1, size), count.reshape(-1, size)

    if format.group_size is not None:
        planes = _groups(format, *blocks_of(format.group_size or weights.shape[1]))
    elif format.name == "q8_0":
        planes = _bytes_and_scales(weights.reshape(-1, SUB_BLOCK))
    elif format.name == "q6_k":
        planes = _six_bits(*blocks_of(16))
    elif "super_mins" in roles:
        planes = _super_blocks(*blocks_of(SUB_BLOCK), _bits(format))
    elif "mins" in roles:
        planes = _scales_and_mins(*blocks_of(SUB_BLOCK), _bits(format))
    else:
        planes = _scales_only(*blocks_of(SUB_BLOCK), _bits(format))
    return {plane.role: planes[plane.role].reshape(rows, -1) for plane in format.planes}


def quantize_without_search(format: QuantFormat, weights: Float32s) -> Mapping[str, Array]:
    """As `quantize`, for our own formats: each scale cuts nothing off. What the device's kernel does."""
    groups = weights.reshape(-1, format.group_size or weights.shape[1])
    planes = _groups(format, groups, np.ones_like(groups), tries=(1.0,))
    return {plane.role: planes[plane.role].reshape(len(weights), -1) for plane in format.planes}


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


def _bytes_and_scales(blocks: Float32s) -> dict[str, Array]:
    scales = to_float16(np.abs(blocks).max(axis=1) / np.float32(127))
    integers = round_to(blocks * inverse(scales.astype(np.float32))[:, None], -127, 127)
    return {"low": integers.astype(np.int8), "scales": scales}


def _groups(
    format: QuantFormat, groups: Float32s, importance: Float32s, tries: tuple[float, ...] = _GROUP_TRIES
) -> dict[str, Array]:
    """Our own formats. Every weight is off by half a step at most.

    A step is the largest weight over 127 or 7, or with a zero point the range (which takes in 0) over 255 or 15;
    rounded up to float16, so that no integer is cut off. Four bits try smaller scales, which cut the largest weights
    off by as much as that bound allows.
    """
    has_zeros = any(plane.role == "zeros" for plane in format.planes)
    is_eight_bits = format.kernel == "int8"
    lowest, highest = (-128, 127) if is_eight_bits else (0, 15)
    low = np.minimum(groups.min(axis=1), np.float32(0))
    if has_zeros:
        steps = (np.maximum(groups.max(axis=1), np.float32(0)) - low) / np.float32(highest - lowest)
    else:
        steps = np.abs(groups).max(axis=1) / np.float32(127 if is_eight_bits else 7)
    if is_eight_bits:
        planes, _ = _grouped_integers(groups, low, steps, (lowest, highest), format.zero_point, has_zeros)
        return {role: plane.astype(np.int8 if role != "scales" else np.float16) for role, plane in planes.items()}
    best: dict[str, Array] = {}
    best_error = np.full(len(groups), np.inf, np.float32)
    for part in tries:
        tried, difference = _grouped_integers(
            groups, low, steps * np.float32(part), (lowest, highest), format.zero_point, has_zeros
        )
        error = np.einsum("ij,ij->i", importance, difference * difference)
        is_better = (error < best_error) & ((np.abs(difference).max(axis=1) <= steps / 2) | (part == 1))
        best_error = np.where(is_better, error, best_error)
        for role, plane in tried.items():
            better = is_better[:, None] if plane.ndim > 1 else is_better
            best[role] = np.where(better, plane, best.get(role, plane))
    packed = pack_integers(best["low"].astype(np.uint8).reshape(-1, SUB_BLOCK), 4)
    return packed | {"scales": best["scales"], "zeros": best["zeros"].astype(np.uint8)}


def _grouped_integers(
    groups: Float32s, low: Float32s, steps: Float32s, limits: tuple[int, int], zero_point: int, has_zeros: bool
) -> tuple[dict[str, Array], Float32s]:
    """Planes before packing with a scale of `steps` or a little more, and what they are off by."""
    scales = _float16_above(steps)
    width = scales.astype(np.float32)
    by = inverse(width)
    zeros = round_to(limits[0] - low * by, *limits) if has_zeros else np.full_like(low, zero_point)
    integers = np.clip(np.rint(groups * by[:, None]) + zeros[:, None], *limits)
    return {"low": integers, "scales": scales, "zeros": zeros}, (integers - zeros[:, None]) * width[:, None] - groups


def _float16_above(values: Float32s) -> npt.NDArray[np.float16]:
    """The nearest float16 that is not below."""
    nearest = to_float16(values)
    return np.where(nearest.astype(np.float32) < values, np.nextafter(nearest, np.float16(np.inf)), nearest)


def _scales_only(blocks: Float32s, importance: Float32s, bits: int) -> dict[str, Array]:
    limit = 1 << (bits - 1)
    scales = to_float16(symmetric_scales(blocks, importance, limit))
    integers = round_to(blocks * inverse(scales.astype(np.float32))[:, None], -limit, limit - 1)
    return pack_integers((integers + limit).astype(np.uint8), bits) | {"scales": scales}


def _six_bits(blocks: Float32s, importance: Float32s) -> dict[str, Array]:
    """Blocks of 16 with 8-bit scales, a float16 scale for 16 of them."""
    limit = 32
    wanted = symmetric_scales(blocks, importance, limit).reshape(-1, _SUPER_BLOCK // 16)
    super_scales = to_float16(np.abs(wanted).max(axis=1) / np.float32(127))
    supers = super_scales.astype(np.float32)[:, None]
    scales = round_to(wanted * inverse(supers), -127, 127)
    integers = round_to(blocks * inverse(scales * supers).reshape(-1, 1), -limit, limit - 1)
    planes = pack_integers((integers + limit).astype(np.uint8).reshape(-1, SUB_BLOCK), 6)
    return planes | {"scales": scales.astype(np.int8), "super_scales": super_scales}


def _nearest(blocks: Float32s, scale: Float32s, offset: Float32s, levels: int) -> Float32s:
    return round_to((blocks - offset[:, None]) * inverse(scale)[:, None], 0, levels)


def _scales_and_mins(blocks: Float32s, importance: Float32s, bits: int) -> dict[str, Array]:
    levels = (1 << bits) - 1
    scale, offset = ranges(blocks, importance, levels, np.inf)
    scales, mins = to_float16(scale), to_float16(offset)
    integers = _nearest(blocks, scales.astype(np.float32), mins.astype(np.float32), levels)
    return pack_integers(integers.astype(np.uint8), bits) | {"scales": scales, "mins": mins}


def _super_blocks(blocks: Float32s, importance: Float32s, bits: int) -> dict[str, Array]:
    """Blocks of 32 with 6-bit scales and minima, float16 ones for eight of them."""
    levels = (1 << bits) - 1
    scale, offset = ranges(blocks, importance, levels, 0.0)
    super_scales, scales = _six_bit_factors(scale)
    super_mins, mins = _six_bit_factors(-offset)
    scales, mins, integers, error = _best_factors(
        blocks, importance, levels, (super_scales, scales), (super_mins, mins)
    )
    best: dict[str, Array] = {
        "scales": scales, "mins": mins, "super_scales": super_scales, "super_mins": super_mins, "integers": integers,
    }  # fmt: skip
    best_error = error.reshape(-1, _PARTS).sum(axis=1)
    for _ in range(_SUPER_REFITS):
        tried = _refitted_supers(blocks, importance, best)
        pairs = ((tried[0], best["scales"]), (tried[1], best["mins"]))
        scales, mins, integers, error = _best_factors(blocks, importance, levels, *pairs)
        is_better = (found := error.reshape(-1, _PARTS).sum(axis=1)) < best_error
        best_error = np.where(is_better, found, best_error)
        parts: tuple[Array, ...] = (scales, mins, *tried, integers)
        for name, values in zip(best, parts, strict=True):
            chosen = is_better if len(values) == len(is_better) else np.repeat(is_better, _PARTS)
            best[name] = np.where(chosen if values.ndim == 1 else chosen[:, None], values, best[name])
    return pack_integers(best["integers"].astype(np.uint8), bits) | {
        "scales": best["scales"].astype(np.uint8),
        "mins": best["mins"].astype(np.uint8),
        "super_scales": best["super_scales"],
        "super_mins": best["super_mins"],
    }


def _best_factors(
    blocks: Float32s, importance: Float32s, levels: int, scale: tuple[Array, Array], low: tuple[Array, Array]
) -> tuple[Float32s, Float32s, Float32s, Float32s]:
    """6-bit scales and minima, the integers and the error, for each a float16 step and a first guess.

    Rounding both factors on their own is not the best pair: the neighbours may come closer.
    """
    step, min_step = (np.repeat(supers.astype(np.float32), _PARTS) for supers, _ in (scale, low))
    best = (scale[1], low[1], np.zeros_like(blocks), np.full(len(blocks), np.inf, np.float32))
    for scale_change in (0, -1, 1):
        for min_change in (0, -1, 1):
            scales = np.clip(scale[1] + scale_change, 0, _MAX_SUB_SCALE)
            mins = np.clip(low[1] + min_change, 0, _MAX_SUB_SCALE)
            effective = (scales * step, -mins * min_step)
            integers = _nearest(blocks, *effective, levels)
            error = squared_error(blocks, importance, integers, *effective)
            is_better = error < best[3]
            best = (
                np.where(is_better, scales, best[0]),
                np.where(is_better, mins, best[1]),
                np.where(is_better[:, None], integers, best[2]),
                np.where(is_better, error, best[3]),
            )
    return best


def _refitted_supers(
    blocks: Float32s, importance: Float32s, chosen: Mapping[str, Array]
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float16]]:
    """The float16 steps of scales and minima that suit the chosen integers best, neither of them negative."""
    by_scale = (chosen["integers"] * chosen["scales"][:, None]).reshape(-1, _SUPER_BLOCK)
    by_min = np.repeat(-chosen["mins"], SUB_BLOCK).reshape(-1, _SUPER_BLOCK)
    targets, count = blocks.reshape(-1, _SUPER_BLOCK), importance.reshape(-1, _SUPER_BLOCK)
    super_scales, super_mins = pairs_of_factors(targets, count, by_scale, by_min)
    return to_float16(np.maximum(super_scales, 0)), to_float16(np.maximum(super_mins, 0))


def _six_bit_factors(values: Float32s) -> tuple[npt.NDArray[np.float16], Float32s]:
    """A float16 step for every eight values, none of them negative, and each value's nearest multiple, 0 to 63."""
    steps = to_float16(values.reshape(-1, _PARTS).max(axis=1) / np.float32(_MAX_SUB_SCALE))
    per_step = np.repeat(inverse(steps.astype(np.float32)), _PARTS)
    return steps, round_to(values * per_step, 0, _MAX_SUB_SCALE)


def pack_integers(integers: Bytes, bits: int) -> dict[str, Array]:
    """The planes "low" and, above four bits, "high" of integers, uint8 (blocks, 32), as our formats have them."""
    planes: dict[str, Array] = {"low": (integers[:, :16] & 0x0F) | (integers[:, 16:] << 4)}
    if bits > 4:
        words = [np.packbits(integers >> bit & 1, axis=1, bitorder="little") for bit in range(4, bits)]
        planes["high"] = np.concatenate(words, axis=1).view(np.uint32)
    return planes
