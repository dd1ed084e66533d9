"""Reader of GGUF files, the format that llama.cpp's models come in (versions 2 and 3, little-endian).

The file is mapped, not read: metadata is copied out, tensors stay views. The file is taken as hostile: every count is
checked against the bytes that remain before anything is allocated for it, every tensor's range against the file and
against the other tensors. Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md

Units: offsets and sizes are bytes.
"""

from __future__ import annotations

import itertools
import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NoReturn

import numpy as np

from fastgo.assets.gguf_carriers import GGUF_CARRIERS, Carrier
from fastgo.assets.quant import GGUF_FORMATS, Array, Bytes, QuantFormat, align_up, gguf_planes, matrix_shape
from fastgo.assets.storage import open_regular
from fastgo.errors import FastgoError, InvalidFileError, ModelNotFoundError, UnsupportedModelError

MAX_KEY_NBYTES = 65535
MAX_TENSOR_NAME_NBYTES = 64
MAX_DIMENSIONS = 4
MAX_ARRAY_DEPTH = 4
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1 << 20
RAW_STRING_KEYS = frozenset({"tokenizer.ggml.tokens"})  # a token may be any bytes: kept as list[bytes]

_UINT8, _INT8, _UINT16, _INT16, _UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY, _UINT64, _INT64, _FLOAT64 = range(13)
_SCALARS: Mapping[int, np.dtype[Any]] = MappingProxyType(
    {
        _UINT8: np.dtype("u1"),
        _INT8: np.dtype("i1"),
        _UINT16: np.dtype("<u2"),
        _INT16: np.dtype("<i2"),
        _UINT32: np.dtype("<u4"),
        _INT32: np.dtype("<i4"),
        _FLOAT32: np.dtype("<f4"),
        _BOOL: np.dtype("u1"),
        _UINT64: np.dtype("<u8"),
        _INT64: np.dtype("<i8"),
        _FLOAT64: np.dtype("<f8"),
    }
)
_STRING_MIN_NBYTES = 8
_ARRAY_MIN_NBYTES = 12
_KEY_VALUE_MIN_NBYTES = 8 + 4 + 1
_TENSOR_INFO_MIN_NBYTES = 8 + 4 + 8 + 4 + 8
_OTHER_TYPE_NAMES: Mapping[int, str] = MappingProxyType(
    {
        9: "q8_1",
        15: "q8_k",
        16: "iq2_xxs",
        17: "iq2_xs",
        18: "iq3_xxs",
        19: "iq1_s",
        21: "iq3_s",
        22: "iq2_s",
        24: "i8",
        25: "i16",
        26: "i32",
        27: "i64",
        28: "f64",
        29: "iq1_m",
        40: "nvfp4",
        41: "q1_0",
    }
)


@dataclass(frozen=True)
class GgufTensor:
    """One tensor: `shape` in NumPy order (last is contiguous), `raw` its bytes as stored, a read-only uint8 view.

    `format` is what its weights are kept in here; `carrier` tells the type in the file if that is another one.
    """

    name: str
    shape: tuple[int, ...]
    format: QuantFormat
    raw: Bytes
    carrier: Carrier | None = None

    def planes(self, raw: Bytes, columns: int) -> Mapping[str, Array]:
        """The planes of some rows of this tensor, uint8 (rows, bytes of a row), by role. Raises InvalidFileError."""
        if self.carrier is None:
            return gguf_planes(self.format, raw, columns)
        try:
            return self.carrier.planes(raw, columns)
        except InvalidFileError as error:
            what = f"tensor {self.name!r} of type {self.carrier.name}: {error.message}"
            raise InvalidFileError(what, hint=error.hint) from None


class GgufFile:
    """An open GGUF file.

    Attributes:
        path: the file.
        version: 2 or 3.
        nbytes: the file's size.
        metadata: by key: int, float, bool, str; arrays of numbers as NumPy arrays, of strings as list[str] (for
            `RAW_STRING_KEYS` list[bytes]), of arrays as list.
        tensors: by name, in the file's order. Their `raw` views are valid while the file is open.
    """

    def __init__(self, path: Path, mapping: mmap.mmap) -> None:
        self.path = path
        self.nbytes = len(mapping)
        self._mapping = mapping
        cursor = _Cursor(mapping, path.name)
        self.version = _read_version(cursor)
        tensor_count = cursor.count(_TENSOR_INFO_MIN_NBYTES, "tensors")
        key_count = cursor.count(_KEY_VALUE_MIN_NBYTES, "metadata keys")
        self.metadata: Mapping[str, Any] = MappingProxyType(_read_metadata(cursor, key_count))
        self.tensors: Mapping[str, GgufTensor] = MappingProxyType(
            _read_tensors(cursor, tensor_count, _alignment(cursor, self.metadata))
        )

    @classmethod
    def open(cls, path: Path | str) -> GgufFile:
        """Map and parse a file.

        Raises:
            ModelNotFoundError: no such file.
            InvalidFileError: unreadable, damaged or not GGUF.
            UnsupportedModelError: a version, byte order or tensor type that is not supported.
        """
        path = Path(path)
        try:
            with open_regular(path) as file:
                mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise ModelNotFoundError(f"no such file: {path}", hint="check the path") from None
        except ValueError:
            raise InvalidFileError(f"{path.name} is empty, expected a GGUF file", hint="download it again") from None
        except OSError as error:
            raise InvalidFileError(f"can't read {path}: {error.strerror}", hint="check its permissions") from None
        try:
            return cls(path, mapping)
        except FastgoError:
            mapping.close()
            raise

    def close(self) -> None:
        """Unmap the file; if tensor views are still in use, when the last of them goes."""
        self.tensors = MappingProxyType({})
        try:
            self._mapping.close()
        except BufferError:
            del self._mapping

    def __enter__(self) -> GgufFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Cursor:
    """A position in the mapped file that never moves past its end."""

    def __init__(self, mapping: mmap.mmap, file_name: str) -> None:
        self.mapping = mapping
        self.position = 0
        self.end = len(mapping)
        self.file_name = file_name

    def fail(self, what: str) -> NoReturn:
        raise InvalidFileError(
            f"{self.file_name} is not a sound GGUF file: {what}", hint="the file may be cut short: download it again"
        )

    def skip(self, nbytes: int, what: str) -> int:
        """Move on by `nbytes`; returns where they start."""
        start = self.position
        if nbytes > self.end - start:
            self.fail(f"{what} needs {nbytes} bytes at {start}, {self.end - start} remain")
        self.position = start + nbytes
        return start

    def uint32(self, what: str) -> int:
        (value,) = struct.unpack_from("<I", self.mapping, self.skip(4, what))
        return int(value)

    def uint64(self, what: str) -> int:
        (value,) = struct.unpack_from("<Q", self.mapping, self.skip(8, what))
        return int(value)

    def count(self, min_nbytes: int, what: str) -> int:
        """A 64-bit count of things that take at least `min_nbytes` each, which the rest of the file can hold."""
        value = self.uint64(f"the number of {what}")
        remaining = self.end - self.position
        if value > remaining // min_nbytes:
            self.fail(f"it claims {value} {what}, {remaining} bytes remain")
        return value

    def string(self, what: str, max_nbytes: int | None = None) -> str:
        nbytes = self.uint64(what)
        if max_nbytes is not None and nbytes > max_nbytes:
            self.fail(f"{what} has {nbytes} bytes, at most {max_nbytes} are allowed")
        start = self.skip(nbytes, what)
        return self.decode(self.mapping[start : self.position], what)

    def decode(self, raw: bytes, what: str) -> str:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.fail(f"{what} is not UTF-8")

    def strings(self, count: int, what: str) -> list[bytes]:
        """`count` strings as bytes; a tight loop, since vocabularies have hundreds of thousands."""
        mapping, end, position = self.mapping, self.end, self.position
        length_at = struct.Struct("<Q").unpack_from
        result: list[bytes] = []
        append = result.append
        last_length_at = end - 8
        for _ in range(count):
            if position > last_length_at:
                self.fail(f"{what} ends after {len(result)} of {count} strings")
            start = position + 8
            position = start + length_at(mapping, position)[0]
            if position > end:
                self.fail(f"string {len(result)} of {what} reaches beyond the file's end")
            append(mapping[start:position])
        self.position = position
        return result


def _read_version(cursor: _Cursor) -> int:
    if cursor.end < 4 or cursor.mapping[:4] != b"GGUF":
        raise InvalidFileError(
            f"{cursor.file_name} is not a GGUF file: it does not start with 'GGUF'",
            hint="give a .gguf file or a folder made by `fastgo convert`",
        )
    cursor.skip(4, "the magic")
    version = cursor.uint32("the version")
    if version in (2, 3):
        return version
    if version and version & 0xFFFF == 0:
        raise UnsupportedModelError(
            f"{cursor.file_name} is a big-endian GGUF file, expected a little-endian one",
            hint="get the little-endian file of this model",
        )
    raise UnsupportedModelError(
        f"{cursor.file_name} has GGUF version {version}, expected 2 or 3", hint="convert the model again with new tools"
    )


def _read_metadata(cursor: _Cursor, count: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for _ in range(count):
        key = cursor.string("a metadata key", MAX_KEY_NBYTES)
        if not key:
            cursor.fail("a metadata key is empty")
        if key in metadata:
            cursor.fail(f"metadata key {key[:80]!r} occurs twice")
        metadata[key] = _read_value(cursor, cursor.uint32("a value's type"), key, 0)
    return metadata


def _read_value(cursor: _Cursor, kind: int, key: str, depth: int) -> Any:
    what = f"metadata {key[:80]!r}"
    if kind == _STRING:
        return cursor.string(what)
    if kind == _ARRAY:
        return _read_array(cursor, key, depth + 1)
    if kind not in _SCALARS:
        cursor.fail(f"{what} has unknown value type {kind}")
    return _read_numbers(cursor, kind, 1, what)[0].item()


def _read_array(cursor: _Cursor, key: str, depth: int) -> Any:
    what = f"metadata {key[:80]!r}"
    if depth > MAX_ARRAY_DEPTH:
        cursor.fail(f"{what} nests arrays deeper than {MAX_ARRAY_DEPTH}")
    kind = cursor.uint32(what)
    if kind == _STRING:
        raw = cursor.strings(cursor.count(_STRING_MIN_NBYTES, f"strings in {what}"), what)
        return raw if key in RAW_STRING_KEYS else [cursor.decode(item, what) for item in raw]
    if kind == _ARRAY:
        count = cursor.count(_ARRAY_MIN_NBYTES, f"arrays in {what}")
        return [_read_array(cursor, key, depth + 1) for _ in range(count)]
    if kind not in _SCALARS:
        cursor.fail(f"{what} is an array of unknown value type {kind}")
    return _read_numbers(cursor, kind, cursor.count(_SCALARS[kind].itemsize, f"values in {what}"), what)


def _read_numbers(cursor: _Cursor, kind: int, count: int, what: str) -> np.ndarray[Any, np.dtype[Any]]:
    dtype = _SCALARS[kind]
    start = cursor.skip(count * dtype.itemsize, what)
    values = np.frombuffer(cursor.mapping[start : cursor.position], dtype)
    if kind == _BOOL:
        if count and values.max() > 1:
            cursor.fail(f"{what} has a boolean that is neither 0 nor 1")
        return values.astype(np.bool_)
    return values


def _alignment(cursor: _Cursor, metadata: Mapping[str, Any]) -> int:
    value = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(value) is not int or not 8 <= value <= MAX_ALIGNMENT or value & (value - 1):
        cursor.fail(f"general.alignment is {str(value)[:40]}, expected a power of two from 8 to {MAX_ALIGNMENT}")
    return value


@dataclass(frozen=True)
class _TensorInfo:
    name: str
    shape: tuple[int, ...]
    type: QuantFormat | Carrier
    offset: int  # from the start of the tensor data
    nbytes: int


def _read_tensors(cursor: _Cursor, count: int, alignment: int) -> dict[str, GgufTensor]:
    infos: dict[str, _TensorInfo] = {}
    for _ in range(count):
        info = _read_tensor_info(cursor)
        if info.name in infos:
            cursor.fail(f"tensor {info.name!r} occurs twice")
        infos[info.name] = info
    data_start = align_up(cursor.position, alignment)
    _check_ranges(cursor, list(infos.values()), cursor.end - data_start, alignment)
    return {
        info.name: GgufTensor(
            info.name,
            info.shape,
            info.type.format if isinstance(info.type, Carrier) else info.type,
            np.frombuffer(cursor.mapping, np.uint8, info.nbytes, data_start + info.offset),
            info.type if isinstance(info.type, Carrier) else None,
        )
        for info in infos.values()
    }


def _read_tensor_info(cursor: _Cursor) -> _TensorInfo:
    name = cursor.string("a tensor's name", MAX_TENSOR_NAME_NBYTES)
    if not name:
        cursor.fail("a tensor's name is empty")
    dimensions = cursor.uint32(f"tensor {name!r}")
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        cursor.fail(f"tensor {name!r} has {dimensions} dimensions, expected 1 to {MAX_DIMENSIONS}")
    shape = tuple(reversed([cursor.uint64(f"tensor {name!r}") for _ in range(dimensions)]))
    if 0 in shape or math.prod(shape) >= 1 << 63:
        cursor.fail(f"tensor {name!r} has the impossible shape {shape}")
    type_id = cursor.uint32(f"tensor {name!r}")
    offset = cursor.uint64(f"tensor {name!r}")
    kind: QuantFormat | Carrier | None = GGUF_FORMATS.get(type_id) or GGUF_CARRIERS.get(type_id)
    if kind is None:
        found = _OTHER_TYPE_NAMES.get(type_id, "unknown")
        names = [row.name for row in GGUF_FORMATS.values()] + [row.name for row in GGUF_CARRIERS.values()]
        raise UnsupportedModelError(
            f"{cursor.file_name}: tensor {name!r} has type {found} ({type_id}), supported are {', '.join(names)}",
            hint="get this model with another quantisation, for example Q4_K_M or Q8_0",
        )
    rows, columns = matrix_shape(shape)
    if columns % kind.block_size:
        cursor.fail(f"tensor {name!r} of type {kind.name} has {columns} columns, no multiple of {kind.block_size}")
    return _TensorInfo(name, shape, kind, offset, kind.gguf_nbytes(rows, columns))


def _check_ranges(cursor: _Cursor, infos: list[_TensorInfo], data_nbytes: int, alignment: int) -> None:
    """Every tensor aligned, inside the file's last `data_nbytes`, and apart from the others."""
    for info in infos:
        if info.offset % alignment:
            cursor.fail(f"tensor {info.name!r} starts at {info.offset}, no multiple of {alignment}")
        if info.offset + info.nbytes > data_nbytes:
            end = info.offset + info.nbytes
            cursor.fail(f"tensor {info.name!r} ends at byte {end} of the data, which has {max(data_nbytes, 0)}")
    ordered = sorted(infos, key=lambda info: info.offset)
    for before, after in itertools.pairwise(ordered):
        if before.offset + before.nbytes > after.offset:
            cursor.fail(f"tensors {before.name!r} and {after.name!r} overlap")
