"""The exact output head of a model: where it pays, and its index, a file of the model's folder that is mapped.

docs/exact_head.md tells how it works. The file: a page that says which matrix it belongs to, then norms, basis and
tiles of assets/head_index.py, each from a multiple of 64 on. Units: bytes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from fastgo import _fastmetal, switches
from fastgo.assets import storage
from fastgo.assets.head_index import DIRECTIONS, NORM_VALUES, HeadIndex, tiles_nbytes
from fastgo.assets.manifest import TensorEntry
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.quant import align_up
from fastgo.engine.devices import has_vnni
from fastgo.graph.dag import Storage, Tensor
from fastgo.graph.lower import Memory
from fastgo.ops.exact_head import IndexTensors, exact_head

FILE_NAME = "head_index.bin"
MOST_WANTED = 20  # logits of a row; with more, too many rows have to be finished
_FORMAT = "fastgo head index 1"  # counts up when the same matrix gives another file
_PAGE_NBYTES = 4096
_LEAST_HEAD_NBYTES = 16 << 20  # smaller ones cost more in stages than they save in reading
_LEAST_SHARE = 1 / 8  # of all weights: below it, decode gains too little for the memory
_MEMORY_PARTS = 4  # weights and index may fill one of these parts of the memory


@dataclass(frozen=True)
class ExactHead:
    """A mapped index. `memory` is where its tensors lie, by their names in a graph."""

    rows: int
    columns: int
    memory: dict[str, Memory]

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """As matmul, but only the largest logits, as many as the state tensor `wanted` says; for one row."""

        def tensor(name: str, dtype: str, *shape: int) -> Tensor:
            return x.graph.tensor(name, shape, dtype, Storage.STATE)

        index = IndexTensors(
            tensor("head tiles", "u8", tiles_nbytes(self.rows, self.columns)),
            tensor("head basis", "f32", DIRECTIONS, self.columns),
            tensor("head norms", "f32", DIRECTIONS + NORM_VALUES),
        )
        return exact_head(x, weight, index, tensor("wanted", "u32", 1))


def open_exact_head(device: _fastmetal.Device, folder: ModelFolder) -> ExactHead | None:
    """Maps a model's index; None where there is none, or it would not pay."""
    if not pays(device, folder) or not is_made(folder):
        return None
    entry = head_entry(folder)
    rows, columns = entry.shape
    buffer = device.map_file(str(folder.path / FILE_NAME))
    offsets, _ = _layout(rows, columns)
    return ExactHead(rows, columns, {name: Memory(buffer, *place) for name, place in offsets.items()})


def pays(device: _fastmetal.Device, folder: ModelFolder) -> bool:
    """Whether the exact head makes this model's decode faster on this device, and there is memory for its index."""
    entry = head_entry(folder)
    if not has_vnni(device.info) or switches.value("FASTGO_EXACT_HEAD") == "0":
        return False
    if entry.format != "q8_0" or entry.shape[1] % 64 or entry.nbytes < _LEAST_HEAD_NBYTES:
        return False
    fits = _MEMORY_PARTS * (folder.nbytes + file_nbytes(folder)) <= int(device.info["memory_bytes"])
    return fits and entry.nbytes >= _LEAST_SHARE * folder.nbytes


def is_made(folder: ModelFolder) -> bool:
    """Whether an index of just this model's head is there."""
    path, page = folder.path / FILE_NAME, _first_page(head_entry(folder))
    try:
        with storage.open_regular(path) as file:
            return os.fstat(file.fileno()).st_size == file_nbytes(folder) and file.read(len(page)) == page
    except OSError:
        return False


def planned_nbytes(device: _fastmetal.Device, folder: ModelFolder) -> int:
    """What the index of a model takes, made already or by its first use; 0 if it will not be used."""
    if not pays(device, folder) or not (is_made(folder) or os.access(folder.path, os.W_OK)):
        return 0
    return file_nbytes(folder)


def file_nbytes(folder: ModelFolder) -> int:
    """Size of the index's file."""
    return _layout(*head_entry(folder).shape)[1]


def write(folder: ModelFolder, index: HeadIndex) -> None:
    """Makes the file, durably and at once. Raises OSError."""
    entry = head_entry(folder)
    data = np.zeros(file_nbytes(folder), np.uint8)
    page = _first_page(entry)
    data[: len(page)] = np.frombuffer(page, np.uint8)
    for name, (offset, nbytes) in _layout(*entry.shape)[0].items():
        array = np.ascontiguousarray(getattr(index, name.removeprefix("head ")))
        data[offset : offset + nbytes] = array.reshape(-1).view(np.uint8)
    storage.replace_durably(folder.path / FILE_NAME, data.data)


def head_entry(folder: ModelFolder) -> TensorEntry:
    """The output matrix."""
    return folder.tensors[head_name(folder)]


def head_name(folder: ModelFolder) -> str:
    """The name of the output matrix: the embedding table where they are tied."""
    return "model.embed_tokens.weight" if folder.config.tie_word_embeddings else "lm_head.weight"


def _first_page(entry: TensorEntry) -> bytes:
    return f"{_FORMAT}\n{entry.sha256}\n".encode().ljust(_PAGE_NBYTES, b"\0")


def _layout(rows: int, columns: int) -> tuple[dict[str, tuple[int, int]], int]:
    """Offset and size of each array by its tensor's name, and the file's size."""
    sizes = {
        "head norms": (DIRECTIONS + NORM_VALUES) * 4,
        "head basis": DIRECTIONS * columns * 4,
        "head tiles": tiles_nbytes(rows, columns),
    }
    places, end = {}, _PAGE_NBYTES
    for name, nbytes in sizes.items():
        places[name] = (end, nbytes)
        end = align_up(end + nbytes)
    return places, end
