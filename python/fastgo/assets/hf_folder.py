"""A folder as Hugging Face models come in: config.json and safetensors files, one or several with an index.

Everything is checked when the folder is opened: headers against the files' sizes, the index against the headers, scales
of 8-bit floats against the tensors that they belong to. Tensors are read some rows at a time.

Units: offsets and sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from fastgo.assets.float8 import DECODED
from fastgo.assets.manifest import check_file_name
from fastgo.assets.quant import Float32s, dequantize_planes, matrix_shape
from fastgo.assets.safetensors import HeaderEntry, read_header
from fastgo.assets.storage import read_at_most
from fastgo.assets.strict_json import Fields, parse_object
from fastgo.errors import InvalidFileError, ModelNotFoundError, UnsupportedModelError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
MAX_JSON_NBYTES = 256 << 20
MAX_FILES = 10_000
SCALE_SUFFIX = "_scale_inv"
_DTYPES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "F32": ("f32", "<f4"),
        "F16": ("f16", "<f2"),
        "BF16": ("bf16", "<u2"),
        "F8_E4M3": ("", "u1"),
        "F8_E5M2": ("", "u1"),
    }
)
_DAMAGED_HINT = "download the model again"


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in one of the folder's files: dtype as safetensors names it, shape, and where its bytes are.

    `scales` are the factors of an 8-bit float tensor, one for each block of `block` (rows, columns); None for others.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int
    scales: StoredTensor | None = None
    block: tuple[int, int] = (1, 1)

    @property
    def format(self) -> str:
        """The weight format that keeps it: 8-bit floats with scales become bf16, as transformers has it."""
        return _DTYPES[self.dtype][0] or "bf16"

    def read(self, wanted: slice) -> np.ndarray[Any, np.dtype[Any]]:
        """Stored elements (rows, columns) of a slice of rows; bf16 as its bits in uint16, 8-bit floats as uint8."""
        rows, columns = matrix_shape(self.shape)
        start, stop, _ = wanted.indices(rows)
        dtype = np.dtype(_DTYPES[self.dtype][1])
        try:
            values = np.fromfile(
                self.path, dtype, (stop - start) * columns, offset=self.offset + start * columns * dtype.itemsize
            )
        except OSError as error:
            raise InvalidFileError(f"can't read {self.path}: {error.strerror}", hint=_DAMAGED_HINT) from None
        if values.size != (stop - start) * columns:
            raise InvalidFileError(f"{self.path.name} was cut while it was read", hint=_DAMAGED_HINT)
        return values.reshape(stop - start, columns)

    def read_float32(self, wanted: slice) -> Float32s:
        """The weights of a slice of rows, float32 (rows, columns), 8-bit floats times their scales."""
        stored = self.read(wanted)
        if self.dtype not in DECODED:
            return dequantize_planes(self.format, {"low": stored})
        weights: Float32s = DECODED[self.dtype][stored]
        if self.scales is not None:
            start, stop, _ = wanted.indices(matrix_shape(self.shape)[0])
            blocks = self.scales.read_float32(slice(start // self.block[0], -(-stop // self.block[0])))
            by_row = blocks[np.arange(start, stop) // self.block[0] - start // self.block[0]]
            weights *= np.repeat(by_row, self.block[1], axis=1)[:, : weights.shape[1]]
        return weights


@dataclass(frozen=True)
class HfFolder:
    """An opened folder: `config` is config.json, `tensors` all tensors but scales by name."""

    path: Path
    config: dict[str, Any]
    tensors: Mapping[str, StoredTensor]
    weight_files: tuple[Path, ...]

    @classmethod
    def open(cls, path: Path) -> HfFolder:
        """Read config and headers.

        Raises:
            ModelNotFoundError: no config.json or no weights there.
            InvalidFileError: a file is damaged or missing.
            UnsupportedModelError: weights only in PyTorch's own format, or of a type that is not supported.
        """
        config = read_json(path, CONFIG_FILE)
        if config is None:
            raise ModelNotFoundError(f"no {CONFIG_FILE} in {path}", hint="give the folder of a Hugging Face model")
        files, index = _weight_files(path)
        found: dict[str, tuple[Path, HeaderEntry]] = {}
        for file in files:
            for name, entry in read_header(file).items():
                if name in found:
                    raise InvalidFileError(
                        f"tensor {name[:80]!r} is in {found[name][0].name} and in {file.name}", hint=_DAMAGED_HINT
                    )
                found[name] = (file, entry)
        for name, file_name in index.items():
            if name not in found or found[name][0].name != file_name:
                raise InvalidFileError(f"{INDEX_FILE}: tensor {name[:80]!r} is not in {file_name}", hint=_DAMAGED_HINT)
        return cls(path, config, MappingProxyType(_stored_tensors(found, config)), tuple(files))

    def json(self, name: str) -> dict[str, Any]:
        """The object in another file of the folder; empty if there is no such file. Raises InvalidFileError."""
        return read_json(self.path, name) or {}

    def raw(self, name: str, max_nbytes: int) -> bytes | None:
        """The bytes of another file of the folder, None if there is none. Raises InvalidFileError."""
        return _read(self.path / name, max_nbytes)

    def text(self, name: str, max_nbytes: int = 1 << 20) -> str | None:
        """The text of another file of the folder, None if there is none. Raises InvalidFileError."""
        raw = self.raw(name, max_nbytes)
        try:
            return None if raw is None else raw.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidFileError(f"{name} is not UTF-8", hint=_DAMAGED_HINT) from None


def is_hf_folder(path: Path) -> bool:
    """Whether a folder looks like a Hugging Face model."""
    return (path / CONFIG_FILE).is_file()


def read_json(folder: Path, name: str) -> dict[str, Any] | None:
    """The object in a JSON file, None if there is no such file. Raises InvalidFileError."""
    raw = _read(folder / name, MAX_JSON_NBYTES)
    return None if raw is None else parse_object(raw, f"{folder.name}/{name}")


def _read(path: Path, max_nbytes: int) -> bytes | None:
    try:
        raw = read_at_most(path, max_nbytes)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InvalidFileError(f"can't read {path}: {error.strerror}", hint="check its permissions") from None
    if len(raw) > max_nbytes:
        raise InvalidFileError(f"{path.name} has more than {max_nbytes} bytes", hint=_DAMAGED_HINT)
    return raw


def _weight_files(folder: Path) -> tuple[list[Path], dict[str, str]]:
    """The safetensors files, and the index: tensor name -> file name; empty without one."""
    data = read_json(folder, INDEX_FILE)
    if data is None:
        single = folder / WEIGHTS_FILE
        if single.is_file():
            return [single], {}
        if any(folder.glob("*.bin")):
            raise UnsupportedModelError(
                f"{folder} has its weights in PyTorch's pickle format, which can run any code",
                hint="get the model's safetensors files",
            )
        raise ModelNotFoundError(f"no {WEIGHTS_FILE} and no {INDEX_FILE} in {folder}", hint="get the whole model")
    where = f"{folder.name}/{INDEX_FILE}"
    fields = Fields(Fields(data, where).data.get("weight_map"), f"{where}: weight_map")
    index = {name: check_file_name(fields.text(name, 255), where) for name in fields.data}
    names = sorted(set(index.values()))
    if not names or len(names) > MAX_FILES:
        fields.fail(f"it names {len(names)} files, expected 1 to {MAX_FILES}")
    for name in names:
        if not (folder / name).is_file():
            raise InvalidFileError(f"{where} names {name}, which is missing", hint=_DAMAGED_HINT)
    return [folder / name for name in names], index


def _stored_tensors(found: Mapping[str, tuple[Path, HeaderEntry]], config: dict[str, Any]) -> dict[str, StoredTensor]:
    plain = {
        name: StoredTensor(name, entry.dtype, entry.shape, path, entry.offset) for name, (path, entry) in found.items()
    }
    tensors = {}
    for name, tensor in plain.items():
        if name.endswith(SCALE_SUFFIX) and name.removesuffix(SCALE_SUFFIX) in plain:
            continue
        if tensor.dtype not in _DTYPES:
            raise UnsupportedModelError(
                f"{tensor.path.name}: tensor {name[:80]!r} has type {tensor.dtype}, supported are {', '.join(_DTYPES)}",
                hint="get this model in bfloat16",
            )
        if not tensor.shape or 0 in tensor.shape:
            raise InvalidFileError(
                f"{tensor.path.name}: tensor {name[:80]!r} is empty, shape {list(tensor.shape)}", hint=_DAMAGED_HINT
            )
        tensors[name] = _with_scales(tensor, plain, config) if tensor.dtype in DECODED else tensor
    return tensors


def _with_scales(tensor: StoredTensor, plain: Mapping[str, StoredTensor], config: dict[str, Any]) -> StoredTensor:
    where = f"{tensor.path.name}: tensor {tensor.name[:80]!r}"
    scales = plain.get(tensor.name + SCALE_SUFFIX)
    if scales is None or scales.dtype not in ("F32", "BF16", "F16") or len(tensor.shape) != 2:
        raise UnsupportedModelError(
            f"{where} is {tensor.dtype} without the block scales {SCALE_SUFFIX[1:]}", hint="get this model in bfloat16"
        )
    quantization = Fields(config.get("quantization_config"), f"{where}: quantization_config")
    block = quantization.integers("weight_block_size", 1, 1 << 24, max_items=2)
    expected = tuple(-(-size // step) for size, step in zip(tensor.shape, block, strict=False))
    if len(block) != 2 or scales.shape != expected:
        raise InvalidFileError(
            f"{where}: scales have shape {scales.shape}, expected {expected} for blocks of {block}", hint=_DAMAGED_HINT
        )
    return StoredTensor(
        tensor.name, tensor.dtype, tensor.shape, tensor.path, tensor.offset, scales, (block[0], block[1])
    )
