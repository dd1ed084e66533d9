"""How GGUF packs a block's fields where that differs from our planes: bits in another order, factors of six bits.

Arrays are bytes (rows, blocks, bytes of the field).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


def unpack_six_bit_pairs(packed: Bytes) -> tuple[Bytes, Bytes]:
    """Eight 6-bit scales and eight mins from 12 bytes (rows, blocks, 12).

    Bytes 0-3 hold scales 0-3 in their low six bits, bytes 4-7 the mins; bytes 8-11 the low nibbles of scales 4-7 (low)
    and mins 4-7 (high), whose upper two bits are the top bits of bytes 0-7.
    """
    first, second, nibbles = packed[..., 0:4], packed[..., 4:8], packed[..., 8:12]
    scales = np.concatenate((first & 0x3F, (nibbles & 0x0F) | (first >> 2 & 0x30)), axis=-1)
    mins = np.concatenate((second & 0x3F, (nibbles >> 4) | (second >> 2 & 0x30)), axis=-1)
    return scales, mins


def regroup_nibbles(field: Bytes, run: int) -> Bytes:
    """Nibbles kept in runs of `run` weights (rows, blocks, bytes) to our 16 bytes for each 32 weights."""
    rows, blocks, nbytes = field.shape
    halves = field.reshape(rows, blocks, nbytes // run, run // 32, 2, 16)
    first, second = halves[..., 0, :], halves[..., 1, :]
    out = np.empty((rows, blocks, nbytes // run, 2, run // 32, 16), np.uint8)
    out[:, :, :, 0] = (first & 0x0F) | (second << 4)
    out[:, :, :, 1] = (first >> 4) | (second & 0xF0)
    return out.reshape(rows, blocks, nbytes)


def transpose_bits(field: Bytes) -> Bytes:
    """32 bytes whose bit k belongs to weight k*32 + byte, to words k of 32 bits (rows, blocks, bytes)."""
    rows, blocks, nbytes = field.shape
    bits = np.unpackbits(field.reshape(rows, blocks, nbytes // 32, 32, 1), axis=-1, bitorder="little")
    words: Bytes = np.packbits(bits, axis=-2, bitorder="little")
    return np.ascontiguousarray(words.swapaxes(-1, -2)).reshape(rows, blocks, nbytes)
