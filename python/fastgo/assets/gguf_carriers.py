"""GGUF types that no kernel of ours reads, and the format that carries each of them: a second table beside `quant.py`.

Most are carried exactly: their integers fit a wider format with the same scale. Three are not always: iq4_xs rounds
scales to float16, mxfp4 rounds weights to multiples of 2^-24 where its scale is below float16's range, and q2_k, whose
minima belong to 16 weights, is quantised anew. Meaning of the blocks: ggml's dequantize functions, the `gguf` package.

Units: bytes; decoders take uint8 (blocks, bytes of a block).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from fastgo.assets.quant import FORMATS, SUB_BLOCK, Array, Bytes, Float32s, QuantFormat, layout
from fastgo.assets.quantize import pack_integers, quantize, to_float16
from fastgo.errors import InvalidFileError

_SUPER_BLOCK = 256
_PAIRS = np.array([0, 2, 4, 6], np.uint8).reshape(4, 1)  # shifts to the four 2-bit integers of a byte
_IQ4_VALUES = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int8)
_E2M1_DOUBLED = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.int8)
_MXFP4_BIAS = 128  # a weight is a doubled E2M1 value times 2^(exponent - 128)
_SMALLEST_FLOAT16_EXPONENT, _LARGEST_FLOAT16_EXPONENT = -24, 15
_SPARE_BITS = 3  # 12 << 3 still fits int8
_TERNARY_POWERS = np.array([1, 3, 9, 27, 81], np.uint8).reshape(5, 1)

Planes = Mapping[str, Array]


@dataclass(frozen=True)
class Carrier:
    """A GGUF type and how it is carried.

    Attributes:
        name, gguf_type_id, block_size (weights), gguf_block_nbytes: as a GGUF file has it.
        format: in which its weights are kept here.
        manner: how near that comes, a word for messages.
        decode: blocks to the planes of `format`; each plane has its elements in order, in any shape.
    """

    name: str
    gguf_type_id: int
    block_size: int
    gguf_block_nbytes: int
    format: QuantFormat
    manner: str  # "exact", with its limit if it has one; "rounded" or "requantised"
    decode: Callable[[Bytes], Planes]

    def gguf_nbytes(self, rows: int, columns: int) -> int:
        """Size of a (rows, columns) tensor in a GGUF file. Columns must be a multiple of `block_size`."""
        return rows * (columns // self.block_size) * self.gguf_block_nbytes

    def planes(self, raw: Bytes, columns: int) -> dict[str, Array]:
        """The planes of some rows in `format`, by role, each of its own dtype and shape.

        Args:
            raw: uint8 (rows, bytes of a row), as a GGUF file has them.
        Raises:
            InvalidFileError: weights that `format` can't hold.
        """
        with np.errstate(all="ignore"):  # hostile scales may be infinite or NaN
            decoded = self.decode(np.ascontiguousarray(raw).reshape(-1, self.gguf_block_nbytes))
        flat = {role: np.ascontiguousarray(plane).reshape(-1) for role, plane in decoded.items()}
        planes = layout(self.format, len(raw), columns)
        return {plane.role: flat[plane.role].view(plane.numpy_dtype).reshape(plane.shape) for plane in planes}


def _split(blocks: Bytes, *sizes: int) -> list[Bytes]:
    """The fields of blocks, each contiguous (blocks, size)."""
    ends = np.cumsum(sizes)
    return [np.ascontiguousarray(field) for field in np.split(blocks, ends[:-1], axis=1)]


def _nibbles(field: Bytes) -> Bytes:
    """Groups of 16 bytes to 32 integers each, the low nibbles first: (blocks, groups, 32)."""
    pairs = field.reshape(len(field), -1, 16)
    return np.concatenate((pairs & 0x0F, pairs >> 4), axis=-1)


def _two_bits(field: Bytes) -> Bytes:
    """64 bytes to 256 integers; 32 bytes hold 128, their low bits the first 32: (blocks, 256)."""
    integers: Bytes = field.reshape(len(field), -1, 1, 32) >> _PAIRS & np.uint8(3)
    return integers.reshape(len(field), _SUPER_BLOCK)


def _q2_k(blocks: Bytes) -> Planes:
    factors, low, super_scale, super_min = _split(blocks, 16, 64, 2, 2)
    scales = super_scale.view("<f2").astype(np.float32) * (factors & 0x0F)
    mins = super_min.view("<f2").astype(np.float32) * (factors >> 4)
    integers = _two_bits(low).reshape(-1, 16, 16).astype(np.float32)
    weights: Float32s = (scales[:, :, None] * integers - mins[:, :, None]).reshape(-1, _SUPER_BLOCK)
    if not np.isfinite(weights).all():
        raise InvalidFileError(
            "a q2_k tensor has weights that are infinite or not a number", hint="get the model again"
        )
    return quantize(FORMATS["q8_0"], weights)


def _q3_k(blocks: Bytes) -> Planes:
    high, low, packed, super_scale = _split(blocks, 32, 64, 12, 2)
    # Sixteen scales of six bits: low nibbles in eight bytes, then the upper two bits in four.
    nibbles = np.concatenate((packed[:, :8] & 0x0F, packed[:, :8] >> 4), axis=1)
    upper = (packed[:, None, 8:] >> _PAIRS & 3).reshape(-1, 16)
    scales = (nibbles | upper << 4).astype(np.int8) - np.int8(32)
    third_bits = np.unpackbits(high[:, None, :], axis=1, bitorder="little").reshape(-1, _SUPER_BLOCK)
    # A weight is two bits plus a third of worth 4, less 4; q6_k takes 32 off instead.
    integers = _two_bits(low) + (third_bits << 2) + np.uint8(28)
    return pack_integers(integers.reshape(-1, SUB_BLOCK), 6) | {"scales": scales, "super_scales": super_scale}


def _iq4_nl(blocks: Bytes) -> Planes:
    scales, low = _split(blocks, 2, 16)
    return {"low": _IQ4_VALUES[_nibbles(low)], "scales": scales}


def _iq4_xs(blocks: Bytes) -> Planes:
    super_scale, high, nibbles, low = _split(blocks, 2, 2, 4, 128)
    lower = np.stack((nibbles & 0x0F, nibbles >> 4), axis=-1).reshape(-1, 8)
    upper = (high.view("<u2") >> np.arange(0, 16, 2, dtype=np.uint16) & 3).astype(np.uint8)
    factors = (lower | upper << 4).astype(np.float32) - np.float32(32)
    scales = to_float16(super_scale.view("<f2").astype(np.float32) * factors)
    return {"low": _IQ4_VALUES[_nibbles(low)], "scales": scales}


def _mxfp4(blocks: Bytes) -> Planes:
    exponent, low = _split(blocks, 1, 16)
    exponents = exponent[:, 0].astype(np.int32) - _MXFP4_BIAS
    integers = _E2M1_DOUBLED[_nibbles(low)].reshape(-1, SUB_BLOCK).astype(np.float32)
    is_zero = ~integers.any(axis=1)
    scale_exponents = np.where(
        is_zero, 0, np.clip(exponents, _SMALLEST_FLOAT16_EXPONENT, _LARGEST_FLOAT16_EXPONENT)
    ).astype(np.int32)
    shifts = np.where(is_zero, 0, exponents - scale_exponents)
    if shifts.size and shifts.max() > _SPARE_BITS:
        raise InvalidFileError(
            f"an mxfp4 tensor has a block of exponent {int(exponents[shifts.argmax()])}, expected at most "
            f"{_LARGEST_FLOAT16_EXPONENT + _SPARE_BITS}",
            hint="the file is damaged, or get this model with another quantisation",
        )
    shifted = np.rint(np.ldexp(integers, shifts[:, None]))
    return {"low": shifted.astype(np.int8), "scales": np.ldexp(np.float32(1), scale_exponents).astype(np.float16)}


def _ternary(integers: Bytes, scale: Bytes) -> Planes:
    """q4_0 of integers (blocks, 256) that stand for themselves less 1; its own zero point is 8."""
    planes = pack_integers((integers + np.uint8(7)).reshape(-1, SUB_BLOCK), 4)
    return planes | {"scales": np.repeat(scale.view("<f2"), _SUPER_BLOCK // SUB_BLOCK)}


def _tq1_0(blocks: Bytes) -> Planes:
    first, second, last, scale = _split(blocks, 32, 16, 4, 2)
    # A byte is a fraction of 256 in base three: times 3^n its top digit is digit n, four or five of them a byte.
    digits = [
        (field[:, None, :] * _TERNARY_POWERS[:count]).reshape(len(blocks), -1)
        for field, count in ((first, 5), (second, 5), (last, 4))
    ]
    integers: npt.NDArray[np.uint16] = np.concatenate(digits, axis=1).astype(np.uint16) * np.uint16(3) >> np.uint16(8)
    return _ternary(integers.astype(np.uint8), scale)


def _tq2_0(blocks: Bytes) -> Planes:
    low, scale = _split(blocks, 64, 2)
    return _ternary(_two_bits(low), scale)


_TABLE = (
    Carrier("q2_k", 10, 256, 84, FORMATS["q8_0"], "requantised", _q2_k),
    Carrier("q3_k", 11, 256, 110, FORMATS["q6_k"], "exact", _q3_k),
    Carrier("iq4_nl", 20, 32, 18, FORMATS["q8_0"], "exact", _iq4_nl),
    Carrier("iq4_xs", 23, 256, 136, FORMATS["q8_0"], "rounded", _iq4_xs),
    Carrier("tq1_0", 34, 256, 54, FORMATS["q4_0"], "exact", _tq1_0),
    Carrier("tq2_0", 35, 256, 66, FORMATS["q4_0"], "exact", _tq2_0),
    Carrier("mxfp4", 39, 32, 17, FORMATS["q8_0"], f"exact down to 2^{_SMALLEST_FLOAT16_EXPONENT}", _mxfp4),
)

GGUF_CARRIERS: Mapping[int, Carrier] = MappingProxyType({carrier.gguf_type_id: carrier for carrier in _TABLE})
