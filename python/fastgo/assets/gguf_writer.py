"""Writer of GGUF files, version 3, little-endian: header, metadata and table first, then tensors as they stream in.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

Units: offsets and sizes are bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from fastgo.assets.quant import Bytes, align_up

ALIGNMENT = 32
_VERSION = 3
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_ARRAY_TYPES: Mapping[str, int] = {"float32": _FLOAT32, "int32": _INT32, "bool": _BOOL}


@dataclass(frozen=True)
class GgufTensorPlan:
    """A tensor to write: `shape` in NumPy order (last is contiguous), `nbytes` of its blocks."""

    name: str
    shape: tuple[int, ...]
    type_id: int
    nbytes: int


def encode_header(metadata: Mapping[str, Any], plans: Sequence[GgufTensorPlan]) -> bytes:
    """All that comes before the tensors' bytes, padded to `ALIGNMENT`.

    Args:
        metadata: str, bool, int (as uint32), float (as float32), NumPy arrays of float32, int32 or bool, lists of str
            or bytes.
    """
    parts = [b"GGUF", struct.pack("<IQQ", _VERSION, len(plans), len(metadata))]
    for key, value in metadata.items():
        parts += [_text(key), _value(value)]
    offset = 0
    for plan in plans:
        dimensions = plan.shape[::-1]
        parts.append(_text(plan.name))
        parts.append(struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, plan.type_id, offset))
        offset += align_up(plan.nbytes, ALIGNMENT)
    header = b"".join(parts)
    return header.ljust(align_up(len(header), ALIGNMENT), b"\0")


def write_tensor(file: BinaryIO, plan: GgufTensorPlan, pieces: Iterable[Bytes]) -> None:
    """Append a tensor's blocks, which come some rows at a time. Raises OSError; ValueError for a wrong size."""
    written = 0
    for piece in pieces:
        file.write(np.ascontiguousarray(piece).data)
        written += piece.nbytes
    if written != plan.nbytes:
        raise ValueError(f"tensor {plan.name} has {written} bytes, planned {plan.nbytes}")
    file.write(bytes(align_up(written, ALIGNMENT) - written))


def _text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _text(value)
    if isinstance(value, bool):
        return struct.pack("<IB", _BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", _UINT32, value)
    if isinstance(value, float):
        return struct.pack("<If", _FLOAT32, value)
    if isinstance(value, np.ndarray):
        return struct.pack("<IIQ", _ARRAY, _ARRAY_TYPES[value.dtype.name], value.size) + value.tobytes()
    return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + b"".join(map(_text, value))
