"""Safetensors shards: a writer that streams planar tensors with bounded memory, and a reader of headers.

Each plane of a tensor is one entry, `<tensor>.<role>`; a format with a single plane has the entry `<tensor>`. The file
format forbids holes, so padding has entries of its own, `__padding__.N`. The data starts at a page boundary and every
tensor at a multiple of 64 bytes. Layout: https://github.com/huggingface/safetensors

Units: bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType

import numpy as np

from fastgo.assets.quant import (
    Array,
    Bytes,
    QuantFormat,
    align_up,
    layout,
    matrix_shape,
    plane_views,
    total_nbytes,
)
from fastgo.assets.storage import open_regular
from fastgo.assets.strict_json import DAMAGED_HINT, Fields, parse_object
from fastgo.errors import InvalidFileError

DATA_ALIGNMENT = 4096
MAX_HEADER_NBYTES = 100_000_000  # the public library's limit
MAX_DIMENSIONS = 8
_LENGTH_NBYTES = 8
_HASH_CHUNK_NBYTES = 4 << 20
_DTYPES: Mapping[str, str] = MappingProxyType(
    {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "I8", "uint8": "U8", "uint32": "U32"}
)
_ITEMSIZES: Mapping[str, int] = MappingProxyType(
    {
        **{name: 1 for name in ("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2")},
        **{name: 2 for name in ("U16", "I16", "F16", "BF16")},
        **{name: 4 for name in ("U32", "I32", "F32")},
        **{name: 8 for name in ("U64", "I64", "F64")},
    }
)


@dataclass(frozen=True)
class TensorPlan:
    """A tensor that a shard will hold: its planes follow from format and shape (NumPy order)."""

    name: str
    format: QuantFormat
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size of the planar tensor with padding."""
        return total_nbytes(self.format, *matrix_shape(self.shape))


@dataclass(frozen=True)
class WrittenTensor:
    """Where a tensor lies: `offset` in the file; `sha256` of its `nbytes` there."""

    offset: int
    nbytes: int
    sha256: str


@dataclass(frozen=True)
class HeaderEntry:
    """One entry of a header: safetensors dtype name, shape, and byte range in the file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


class ShardWriter:
    """Writes one shard: the header at once, since formats and shapes say all, then tensors in the planned order.

    A tensor may come in pieces of some rows, so that it never has to be in memory as a whole. `left` are the first
    tensors of a file that a killed writer left there: those that have their hash still are kept, `kept` of them.
    Raises OSError as the file system does. Durable after `close`.
    """

    def __init__(self, path: Path, plans: Sequence[TensorPlan], left: Sequence[WrittenTensor] = ()) -> None:
        self._pending = list(reversed(plans))
        self._digest = hashlib.sha256()
        self._file = path.open("r+b" if left else "x+b", buffering=0)
        self.kept = 0
        header = encode_header(plans)
        if self._file.read(len(header)) != header:
            left = ()
            self._write_at(0, header)
        self._digest.update(header)
        self.nbytes = len(header)
        while self.kept < len(left) and self._keep(left[self.kept]):
            self.kept += 1
        self._file.truncate(self.nbytes)

    @property
    def sha256(self) -> str:
        """Of everything written so far, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, planar: Bytes) -> WrittenTensor:
        """Append the next planned tensor, uint8 (its plan's nbytes,)."""
        plan = self._pending[-1]
        if planar.size != plan.nbytes:
            raise ValueError(f"tensor {plan.name} has {planar.size} bytes, planned {plan.nbytes}")
        return self.write_rows([plane_views(plan.format, planar, *matrix_shape(plan.shape))])

    def write_rows(self, pieces: Iterable[Mapping[str, Array]]) -> WrittenTensor:
        """Append the next planned tensor, whose rows come in pieces, each as planes by role."""
        plan = self._pending.pop()
        rows, columns = matrix_shape(plan.shape)
        planes = layout(plan.format, rows, columns)
        done = 0
        for piece in pieces:
            for plane in planes:
                values = np.ascontiguousarray(piece[plane.role], plane.numpy_dtype)
                if values.shape[1:] != plane.shape[1:] or done + len(values) > rows:
                    raise ValueError(f"{plan.name}.{plane.role}: {values.shape} after row {done} of {plane.shape}")
                row_nbytes = plane.nbytes // rows
                self._write_at(self.nbytes + plane.offset + done * row_nbytes, values.view(np.uint8).reshape(-1).data)
            done += len(values)
        if done != rows:
            raise ValueError(f"tensor {plan.name} has {done} rows, planned {rows}")
        self._file.truncate(self.nbytes + plan.nbytes)
        return self._hash(plan.nbytes)

    def close(self) -> None:
        """Flush to the disk. Raises ValueError if planned tensors were not written."""
        if self._pending:
            raise ValueError(f"tensor {self._pending[-1].name} was planned and not written")
        os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()

    def _write_at(self, offset: int, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file.fileno(), view, offset)
            view = view[written:]
            offset += written

    def _keep(self, left: WrittenTensor) -> bool:
        """Take the next planned tensor from the file if it is there as it was written."""
        before = self._digest.copy()
        if self._hash(self._pending[-1].nbytes) == left:
            self._pending.pop()
            return True
        self._digest, self.nbytes = before, self.nbytes - self._pending[-1].nbytes
        return False

    def _hash(self, nbytes: int) -> WrittenTensor:
        """Hash the tensor that comes next in the file; its pages are mostly in memory still."""
        digest, offset = hashlib.sha256(), self.nbytes
        self.nbytes += nbytes
        self._file.seek(offset)
        while chunk := self._file.read(min(_HASH_CHUNK_NBYTES, self.nbytes - offset)):
            digest.update(chunk)
            self._digest.update(chunk)
            offset += len(chunk)
        return WrittenTensor(self.nbytes - nbytes, nbytes, digest.hexdigest())


def encode_header(plans: Sequence[TensorPlan]) -> bytes:
    """Length and JSON of a shard's header, padded with spaces so that the data starts at `DATA_ALIGNMENT`."""
    entries: dict[str, object] = {"__metadata__": {"format": "fastgo"}}
    offset = 0
    paddings = 0

    def add(name: str, dtype: str, shape: tuple[int, ...], nbytes: int) -> None:
        nonlocal offset
        if name in entries:
            raise ValueError(f"two entries are named {name}")
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + nbytes]}
        offset += nbytes

    for plan in plans:
        planes = layout(plan.format, *matrix_shape(plan.shape))
        for plane in planes:
            name, shape = f"{plan.name}.{plane.role}", (*plan.shape[:-1], plane.shape[1])
            add(plan.name if len(planes) == 1 else name, _DTYPES[plane.dtype], shape, plane.nbytes)
            padding = align_up(plane.nbytes) - plane.nbytes
            if padding:
                add(f"__padding__.{paddings}", "U8", (padding,), padding)
                paddings += 1
    text = json.dumps(entries, separators=(",", ":")).encode("utf-8")
    nbytes = align_up(_LENGTH_NBYTES + len(text), DATA_ALIGNMENT) - _LENGTH_NBYTES
    return nbytes.to_bytes(_LENGTH_NBYTES, "little") + text.ljust(nbytes)


def read_header(path: Path) -> dict[str, HeaderEntry]:
    """The entries of a safetensors file by name, in the order of their data.

    Raises:
        InvalidFileError: unreadable or damaged. Every range must lie in the file, agree with dtype and shape, and
            follow the one before without hole or overlap.
    """
    where = f"the header of {path.name}"
    try:
        file_nbytes = path.stat().st_size
        with open_regular(path) as file:
            length = int.from_bytes(file.read(_LENGTH_NBYTES), "little")
            if file_nbytes < _LENGTH_NBYTES or length > min(MAX_HEADER_NBYTES, file_nbytes - _LENGTH_NBYTES):
                raise InvalidFileError(
                    f"{where} claims {length} bytes, the file has {file_nbytes}, the limit is {MAX_HEADER_NBYTES}",
                    hint=DAMAGED_HINT,
                )
            raw = file.read(length)
    except OSError as error:
        raise InvalidFileError(f"can't read {path}: {error.strerror}", hint="check the path and permissions") from None
    data = parse_object(raw, where)
    data.pop("__metadata__", None)
    start = _LENGTH_NBYTES + length
    entries = {name: _read_entry(value, f"{where}: entry {name[:80]!r}", start) for name, value in data.items()}
    return _in_order(entries, where, start, file_nbytes)


def _read_entry(value: object, where: str, data_start: int) -> HeaderEntry:
    fields = Fields(value, where, frozenset({"dtype", "shape", "data_offsets"}))
    dtype = fields.text("dtype")
    if dtype not in _ITEMSIZES:
        fields.fail(f"unknown dtype {dtype[:40]!r}")
    shape = tuple(fields.integers("shape", max_items=MAX_DIMENSIONS))
    offsets = fields.integers("data_offsets", max_items=2)
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        fields.fail(f"'data_offsets' is {offsets}, expected [start, end]")
    nbytes = math.prod(shape) * _ITEMSIZES[dtype]
    found = offsets[1] - offsets[0]
    if nbytes != found:
        fields.fail(f"{dtype} of shape {list(shape)} needs {nbytes} bytes, 'data_offsets' give {found}")
    return HeaderEntry(dtype, shape, data_start + offsets[0], nbytes)


def _in_order(entries: dict[str, HeaderEntry], where: str, start: int, end: int) -> dict[str, HeaderEntry]:
    ordered = sorted(entries.items(), key=lambda item: (item[1].offset, item[1].nbytes))
    for name, entry in ordered:
        if entry.offset != start:
            kind = "overlaps the one before" if entry.offset < start else "leaves a hole before it"
            raise InvalidFileError(f"{where}: entry {name[:80]!r} {kind}", hint=DAMAGED_HINT)
        start += entry.nbytes
    if start != end:
        raise InvalidFileError(f"{where}: entries end at byte {start}, the file has {end}", hint=DAMAGED_HINT)
    return dict(ordered)
