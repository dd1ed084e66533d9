"""The one table of weight formats: what a block means in a GGUF file and how a tensor is laid out here.

A tensor has shape (rows, columns), row-major; columns are the contraction dimension. GGUF interleaves the fields of
each block; we store planes, so that every device reads aligned runs of one field. Planes follow each other in table
order, each starting at a multiple of `PLANE_ALIGNMENT` bytes from the tensor's start, zero padded, as is the end.

Units: offsets and sizes are bytes unless a name says otherwise. All values are little-endian.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgo.assets.gguf_fields import regroup_nibbles, transpose_bits, unpack_six_bit_pairs
from fastgo.errors import InvalidFileError, UnsupportedModelError

Bytes = npt.NDArray[np.uint8]
Float32s = npt.NDArray[np.float32]
Array = npt.NDArray[Any]

PLANE_ALIGNMENT = 64
SUB_BLOCK = 32  # weights that share one word of high bits and 16 bytes of nibbles
_CHUNK_WEIGHTS = 1 << 18  # rows are converted in chunks of about this many weights, so that temporaries stay in cache

NUMPY_DTYPES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        "float32": np.dtype("<f4"),
        "float16": np.dtype("<f2"),
        "bfloat16": np.dtype("<u2"),  # NumPy has no bfloat16: its bits
        "int8": np.dtype("i1"),
        "uint8": np.dtype("u1"),
        "uint32": np.dtype("<u4"),
    }
)


@dataclass(frozen=True)
class Plane:
    """One field of a format: an array of `dtype` with one element for every `weights_per_element` weights of a row."""

    role: str  # "low" | "high" | "scales" | "mins" | "zeros" | "super_scales" | "super_mins"
    dtype: str  # a key of NUMPY_DTYPES
    weights_per_element: int  # 0: the whole row shares one

    def row_elements(self, columns: int) -> int:
        """Elements for a row of `columns` weights."""
        return columns // self.weights_per_element if self.weights_per_element else 1


@dataclass(frozen=True)
class QuantFormat:
    """Facts of one format.

    `gguf_fields` are a GGUF block's fields in order with their sizes. A field with a plane's name holds that plane;
    "packed_scales" holds the 6-bit scales and mins of the 4- and 5-bit k formats. `zero_point` is subtracted from the
    integer. `gguf_nibble_run` is how many consecutive weights a GGUF block keeps in low nibbles before the next as many
    go to the high ones; where it differs from 16, the high bits are also kept one bit per 32 weights in each byte.
    `group_size` is set for our own formats: how many weights of a row share a scale and a zero point, 0 for all.
    """

    name: str
    gguf_type_id: int | None
    block_size: int
    planes: tuple[Plane, ...]
    gguf_fields: tuple[tuple[str, int], ...]
    zero_point: int = 0
    gguf_nibble_run: int = 16
    group_size: int | None = None

    @property
    def kernel(self) -> str:
        """What its kernels are called: one name for all groups of an own format."""
        return self.name if self.group_size is None else self.name.partition("_")[0]

    @property
    def gguf_block_nbytes(self) -> int:
        """Size of one block in a GGUF file."""
        return sum(nbytes for _, nbytes in self.gguf_fields)

    @property
    def is_quantised(self) -> bool:
        """False for f32, f16 and bf16."""
        return self.block_size > 1

    def gguf_nbytes(self, rows: int, columns: int) -> int:
        """Size of a (rows, columns) tensor in a GGUF file. Columns must be a multiple of `block_size`."""
        return rows * (columns // self.block_size) * self.gguf_block_nbytes


@dataclass(frozen=True)
class PlaneRange:
    """Where a plane lies: `offset` from the tensor's start, `nbytes` without padding, `shape` in `dtype` elements."""

    role: str
    dtype: str
    shape: tuple[int, int]
    offset: int
    nbytes: int

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of an element (bfloat16: its bits as uint16)."""
        return NUMPY_DTYPES[self.dtype]


_NIBBLES = Plane("low", "uint8", 2)
_FIFTH_BITS = Plane("high", "uint32", SUB_BLOCK)
_SCALES, _MINS = Plane("scales", "float16", SUB_BLOCK), Plane("mins", "float16", SUB_BLOCK)
_K_SCALES, _K_MINS = Plane("scales", "uint8", SUB_BLOCK), Plane("mins", "uint8", SUB_BLOCK)
_SUPER_SCALES, _SUPER_MINS = Plane("super_scales", "float16", 256), Plane("super_mins", "float16", 256)
_D, _DMIN, _K_PACKED = ("super_scales", 2), ("super_mins", 2), ("packed_scales", 12)

_TABLE = (
    QuantFormat("f32", 0, 1, (Plane("low", "float32", 1),), (("low", 4),)),
    QuantFormat("f16", 1, 1, (Plane("low", "float16", 1),), (("low", 2),)),
    QuantFormat("bf16", 30, 1, (Plane("low", "bfloat16", 1),), (("low", 2),)),
    QuantFormat("q8_0", 8, 32, (Plane("low", "int8", 1), _SCALES), (("scales", 2), ("low", 32))),
    QuantFormat("q4_0", 2, 32, (_NIBBLES, _SCALES), (("scales", 2), ("low", 16)), zero_point=8),
    QuantFormat("q4_1", 3, 32, (_NIBBLES, _SCALES, _MINS), (("scales", 2), ("mins", 2), ("low", 16))),
    QuantFormat(
        "q5_0", 6, 32, (_NIBBLES, _FIFTH_BITS, _SCALES), (("scales", 2), ("high", 4), ("low", 16)), zero_point=16
    ),
    QuantFormat(
        "q5_1", 7, 32, (_NIBBLES, _FIFTH_BITS, _SCALES, _MINS), (("scales", 2), ("mins", 2), ("high", 4), ("low", 16))
    ),
    QuantFormat(
        "q4_k",
        12,
        256,
        (_NIBBLES, _K_SCALES, _K_MINS, _SUPER_SCALES, _SUPER_MINS),
        (_D, _DMIN, _K_PACKED, ("low", 128)),
        gguf_nibble_run=32,
    ),
    QuantFormat(
        "q5_k",
        13,
        256,
        (_NIBBLES, _FIFTH_BITS, _K_SCALES, _K_MINS, _SUPER_SCALES, _SUPER_MINS),
        (_D, _DMIN, _K_PACKED, ("high", 32), ("low", 128)),
        gguf_nibble_run=32,
    ),
    QuantFormat(
        "q6_k",
        14,
        256,
        (_NIBBLES, Plane("high", "uint32", 16), Plane("scales", "int8", 16), _SUPER_SCALES),
        (("low", 128), ("high", 64), ("scales", 16), _D),
        zero_point=32,
        gguf_nibble_run=64,
    ),
)


def _own_format(bits: int, group_size: int, has_zeros: bool) -> QuantFormat:
    """Our own integers: scale * (q - zero), with one scale for a group or a row (group size 0).

    Without a plane of zero points `zero` is 0 for eight bits, whose integers are signed, and 8 for four bits.
    """
    suffix = f"g{group_size}" if group_size else "channel"
    low = Plane("low", "int8", 1) if bits == 8 else _NIBBLES
    zeros = Plane("zeros", "int8" if bits == 8 else "uint8", group_size)
    return QuantFormat(
        f"int{bits}_{suffix}{'_zero' if has_zeros else ''}",
        None,
        group_size or SUB_BLOCK,
        (low, Plane("scales", "float16", group_size), *((zeros,) if has_zeros else ())),
        (),
        zero_point=8 if bits == 4 and not has_zeros else 0,
        group_size=group_size,
    )


_OWN_TABLE = tuple(
    _own_format(bits, group_size, has_zeros)
    for bits in (8, 4)
    for group_size in (0, 32, 64, 128)
    for has_zeros in (False, True)
)

FORMATS: Mapping[str, QuantFormat] = MappingProxyType({f.name: f for f in (*_TABLE, *_OWN_TABLE)})
GGUF_FORMATS: Mapping[int, QuantFormat] = MappingProxyType(
    {f.gguf_type_id: f for f in _TABLE if f.gguf_type_id is not None}
)


def get_format(format: QuantFormat | str) -> QuantFormat:
    """The table's row of that name. Raises UnsupportedModelError if there is none."""
    if isinstance(format, QuantFormat):
        return format
    if format not in FORMATS:
        raise UnsupportedModelError(f"unknown weight format {format[:40]!r}; known: {', '.join(FORMATS)}")
    return FORMATS[format]


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """(rows, columns) of a tensor: the last dimension is columns; a vector is one row."""
    return math.prod(shape[:-1]), shape[-1]


def align_up(nbytes: int, alignment: int = PLANE_ALIGNMENT) -> int:
    """The smallest multiple of `alignment` that is not below `nbytes`."""
    return -(-nbytes // alignment) * alignment


def layout(format: QuantFormat | str, rows: int, columns: int) -> list[PlaneRange]:
    """The planes of a (rows, columns) tensor in storage order.

    Raises InvalidFileError if a dimension is not positive or columns are no multiple of the format's block size.
    """
    fmt = get_format(format)
    if rows < 1 or columns < 1 or columns % fmt.block_size:
        raise InvalidFileError(
            f"a {fmt.name} tensor can't have shape ({rows}, {columns}): "
            f"dimensions must be positive, columns a multiple of {fmt.block_size}"
        )
    ranges = []
    offset = 0
    for plane in fmt.planes:
        shape = (rows, plane.row_elements(columns))
        nbytes = rows * shape[1] * NUMPY_DTYPES[plane.dtype].itemsize
        ranges.append(PlaneRange(plane.role, plane.dtype, shape, offset, nbytes))
        offset += align_up(nbytes)
    return ranges


def total_nbytes(format: QuantFormat | str, rows: int, columns: int) -> int:
    """Size of a planar tensor with all padding: a multiple of `PLANE_ALIGNMENT`. Raises as `layout`."""
    last = layout(format, rows, columns)[-1]
    return last.offset + align_up(last.nbytes)


def plane_views(format: QuantFormat | str, planar: Bytes, rows: int, columns: int) -> dict[str, Array]:
    """Views of the planes in a planar tensor by role, each of its own dtype and shape. Raises as `layout`."""
    expected = total_nbytes(format, rows, columns)
    if planar.dtype != np.uint8 or planar.ndim != 1 or planar.size != expected:
        raise InvalidFileError(f"a planar tensor has {planar.size} bytes, expected {expected}")
    return {
        plane.role: planar[plane.offset : plane.offset + plane.nbytes].view(plane.numpy_dtype).reshape(plane.shape)
        for plane in layout(format, rows, columns)
    }


def from_gguf(format: QuantFormat | str, raw: Bytes, rows: int, columns: int) -> Bytes:
    """Planar form of a GGUF tensor, without loss.

    Args:
        raw: the tensor's bytes as in the file, uint8, any shape, contiguous.
        rows, columns: its shape in weights.
    Returns:
        uint8 (total_nbytes,).
    Raises:
        InvalidFileError: wrong number of bytes, or as `layout`.
    """
    fmt = get_format(format)
    planar = np.zeros(total_nbytes(fmt, rows, columns), np.uint8)
    expected = fmt.gguf_nbytes(rows, columns)
    if raw.dtype != np.uint8 or raw.size != expected:
        raise InvalidFileError(f"a {fmt.name} tensor of ({rows}, {columns}) has {raw.size} bytes, expected {expected}")
    if not fmt.is_quantised:
        planar[:expected] = raw.reshape(-1)
        return planar
    views = plane_views(fmt, planar, rows, columns)
    blocks = raw.reshape(rows, -1)
    for chunk in row_chunks(rows, columns):
        for role, plane in gguf_planes(fmt, blocks[chunk], columns).items():
            views[role][chunk] = plane
    return planar


def gguf_planes(format: QuantFormat | str, raw: Bytes, columns: int) -> dict[str, Array]:
    """The planes of some rows as a GGUF file stores them, by role, each of its own dtype and shape.

    Args:
        raw: uint8 (rows, bytes of a row).
    """
    fmt = get_format(format)
    rows = raw.shape[0]
    shapes = {plane.role: (plane.numpy_dtype, plane.shape) for plane in layout(fmt, rows, columns)}
    if not fmt.is_quantised:
        return {role: raw.reshape(-1).view(dtype).reshape(shape) for role, (dtype, shape) in shapes.items()}
    planes = _split_blocks(fmt, raw.reshape(rows, columns // fmt.block_size, fmt.gguf_block_nbytes))
    return {
        role: np.ascontiguousarray(plane).reshape(-1).view(shapes[role][0]).reshape(shapes[role][1])
        for role, plane in planes.items()
    }


def dequantize(format: QuantFormat | str, planar: Bytes, rows: int, columns: int) -> Float32s:
    """The weights of a planar tensor, float32 (rows, columns), bit-identical to `gguf.quants.dequantize`.

    Raises InvalidFileError as `plane_views`.
    """
    views = plane_views(format, planar, rows, columns)
    weights: Float32s = np.empty((rows, columns), np.float32)
    for chunk in row_chunks(rows, columns):
        weights[chunk] = dequantize_planes(format, {role: view[chunk] for role, view in views.items()})
    return weights


def dequantize_planes(format: QuantFormat | str, planes: Mapping[str, Array]) -> Float32s:
    """The weights of some rows, float32 (rows, columns), from their planes by role, each of its own dtype and shape."""
    fmt = get_format(format)
    low = planes["low"]
    if fmt.name == "bf16":
        bits: npt.NDArray[np.uint32] = low.astype(np.uint32) << np.uint32(16)
        return bits.view(np.float32)
    if not fmt.is_quantised:
        return low.astype(np.float32)
    weights: Float32s = np.empty((low.shape[0], low.shape[1] * fmt.planes[0].weights_per_element), np.float32)
    _dequantize_rows(fmt, planes, weights)
    return weights


def row_chunks(rows: int, columns: int, weights: int = _CHUNK_WEIGHTS) -> Iterator[slice]:
    """Slices of rows that cover a tensor, each with about `weights` weights."""
    step = max(1, weights // columns)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def _split_blocks(fmt: QuantFormat, blocks: Bytes) -> dict[str, Bytes]:
    """Planes of some rows' GGUF blocks, uint8 (rows, blocks, block bytes): by role, bytes (rows, blocks, ...)."""
    planes: dict[str, Bytes] = {}
    start = 0
    for name, nbytes in fmt.gguf_fields:
        field = blocks[:, :, start : start + nbytes]
        start += nbytes
        if name == "packed_scales":
            planes["scales"], planes["mins"] = unpack_six_bit_pairs(field)
        elif name == "low" and fmt.gguf_nibble_run > 16:
            planes[name] = regroup_nibbles(field, fmt.gguf_nibble_run)
        elif name == "high" and fmt.gguf_nibble_run > 16:
            planes[name] = transpose_bits(field)
        else:
            planes[name] = field
    return planes


def _integers(fmt: QuantFormat, planes: Mapping[str, Array], rows: int, columns: int) -> Float32s:
    """The stored integers less the zero point as float32 (rows, columns // 32, 32)."""
    low = planes["low"]
    if low.dtype == np.int8:
        return low.astype(np.float32).reshape(rows, columns // SUB_BLOCK, SUB_BLOCK)
    pairs = low.reshape(rows, columns // SUB_BLOCK, 16)
    values: Bytes = np.concatenate((pairs & 0x0F, pairs >> 4), axis=-1)
    if "high" in planes:
        words = planes["high"].reshape(rows, columns // SUB_BLOCK, -1, 1).view(np.uint8)
        for bit in range(words.shape[2]):
            values |= np.unpackbits(words[:, :, bit], axis=-1, bitorder="little") << np.uint8(4 + bit)
    centred: npt.NDArray[np.int8] = values.astype(np.int8) - np.int8(fmt.zero_point)
    return centred.astype(np.float32)


def _dequantize_rows(fmt: QuantFormat, planes: Mapping[str, Array], weights: Float32s) -> None:
    """Fill `weights` (rows, columns) from these rows' planes."""
    rows, columns = weights.shape
    scales = planes["scales"].astype(np.float32)
    with np.errstate(all="ignore"):  # hostile scales may be infinite or NaN
        if "super_scales" in planes:
            scales = _times_super(planes["super_scales"], scales)
        values = _integers(fmt, planes, rows, columns).reshape(rows, scales.shape[1], -1)
        if "zeros" in planes:
            values -= planes["zeros"].astype(np.float32)[:, :, None]
        values *= scales[:, :, None]
        if "super_mins" in planes:
            values -= _times_super(planes["super_mins"], planes["mins"].astype(np.float32))[:, :, None]
        elif "mins" in planes:
            values += planes["mins"].astype(np.float32)[:, :, None]
    weights[...] = values.reshape(rows, columns)


def _times_super(supers: Array, values: Float32s) -> Float32s:
    """Each 256 weights' super scale times their scales: float32 (rows, scales)."""
    product = supers.astype(np.float32)[:, :, None] * values.reshape(*supers.shape, -1)
    return product.reshape(values.shape)
