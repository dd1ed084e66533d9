"""Our planes back into the blocks of a GGUF file: the inverse of `quant.gguf_planes`, without loss.

Units: bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastgo.assets.quant import GGUF_FORMATS, Array, Bytes, QuantFormat
from fastgo.errors import UnsupportedModelError


def require_gguf_format(format: QuantFormat, name: str) -> int:
    """The GGUF type id of a format. Raises UnsupportedModelError, which names tensor `name`, if it can't be written."""
    if format.gguf_type_id is None:
        known = ", ".join(carried.name for carried in GGUF_FORMATS.values())
        raise UnsupportedModelError(
            f"tensor {name} has format {format.name}, which can't be written as GGUF; these can: {known}",
            hint="convert the model with --quantize q8 first, then export that",
        )
    return format.gguf_type_id


def gguf_blocks(format: QuantFormat, planes: Mapping[str, Array]) -> Bytes:
    """Some rows as a GGUF file stores them: uint8 (rows, bytes of a row).

    Args:
        planes: by role, each of its own dtype and of shape (rows, elements); of a format that `require_gguf_format`
            lets pass.
    """
    rows = len(planes["low"])
    if not format.is_quantised:
        return np.ascontiguousarray(planes["low"]).view(np.uint8).reshape(rows, -1)
    fields = [_field(format, name, nbytes, planes) for name, nbytes in format.gguf_fields]
    return np.concatenate(fields, axis=2).reshape(rows, -1)


def _field(format: QuantFormat, name: str, nbytes: int, planes: Mapping[str, Array]) -> Bytes:
    """One field of all blocks: uint8 (rows, blocks, nbytes)."""
    rows = len(planes["low"])
    if name == "packed_scales":
        return _pack_six_bit_pairs(planes["scales"].reshape(rows, -1, 8), planes["mins"].reshape(rows, -1, 8))
    field = np.ascontiguousarray(planes[name]).view(np.uint8).reshape(rows, -1, nbytes)
    if name == "low" and format.gguf_nibble_run > 16:
        return _ungroup_nibbles(field, format.gguf_nibble_run)
    if name == "high" and format.gguf_nibble_run > 16:
        return _transpose_words(field)
    return field


def _pack_six_bit_pairs(scales: Bytes, mins: Bytes) -> Bytes:
    """Eight 6-bit scales and eight mins into 12 bytes; `quant` describes them where it unpacks them."""
    first, second = scales[..., :4], mins[..., :4]
    late_scales, late_mins = scales[..., 4:], mins[..., 4:]
    return np.concatenate(
        (
            first | (late_scales & 0x30) << 2,
            second | (late_mins & 0x30) << 2,
            (late_scales & 0x0F) | late_mins << 4,
        ),
        axis=-1,
    )


def _ungroup_nibbles(field: Bytes, run: int) -> Bytes:
    """16 bytes for each 32 weights to nibbles kept in runs of `run` weights."""
    rows, blocks, nbytes = field.shape
    parts = field.reshape(rows, blocks, nbytes // run, 2, run // 32, 16)
    low, high = parts[:, :, :, 0], parts[:, :, :, 1]
    halves = np.stack(((low & 0x0F) | high << 4, low >> 4 | (high & 0xF0)), axis=-2)
    return halves.reshape(rows, blocks, nbytes)


def _transpose_words(field: Bytes) -> Bytes:
    """Words k of 32 bits, one a weight, to 32 bytes whose bit k belongs to weight k*32 + byte."""
    rows, blocks, nbytes = field.shape
    bits = np.unpackbits(field.reshape(rows, blocks, nbytes // 32, 8, 4), axis=-1, bitorder="little")
    packed: Bytes = np.packbits(bits, axis=-2, bitorder="little")
    return packed.reshape(rows, blocks, nbytes)
