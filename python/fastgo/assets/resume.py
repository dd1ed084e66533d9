"""The log of a conversion: which shards and tensors are written, so that the next run after a kill goes on from there.

Whole shards are on the disk when they are noted. Tensors of the shard in the making are noted now and then, and may not
be: whoever goes on compares their hashes.

Units: bytes.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastgo.assets.manifest import ShardEntry, TensorEntry, check_file_name
from fastgo.assets.storage import read_at_most, replace_durably
from fastgo.assets.strict_json import Fields, parse_object
from fastgo.errors import InvalidFileError

_FILE_NAME = "conversion.json"
_MAX_NBYTES = 64 << 20
NOTE_EVERY_NBYTES = 32 << 20  # what a kill costs at most, beside the tensor in work


class ConversionLog:
    """The log in the folder `folder`, for the conversion that `key` (source, recipe and version, digested) stands for.

    What another conversion left in the folder is removed, as is every file that is no whole shard. Raises OSError.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._path = folder / _FILE_NAME
        self._key = key
        self.shards: list[ShardEntry] = []
        self.tensors: dict[str, TensorEntry] = {}
        self.begun: tuple[str, dict[str, TensorEntry]] = ("", {})
        """File of the shard in the making, and its first tensors; "" if there is none."""
        self._noted_nbytes = 0
        wanted = set()
        if self._read(folder):
            wanted = {_FILE_NAME, self.begun[0], *(shard.file for shard in self.shards)}
        else:
            self.shards, self.tensors, self.begun = [], {}, ("", {})
        for path in folder.iterdir():
            if path.name not in wanted:
                path.unlink()

    def add(self, shard: ShardEntry, tensors: dict[str, TensorEntry]) -> None:
        """Note a shard that is on the disk."""
        self.shards.append(shard)
        self.tensors |= tensors
        self.begun, self._noted_nbytes = ("", {}), 0
        self._write()

    def note(self, file: str, tensors: dict[str, TensorEntry]) -> None:
        """Note the first tensors of a shard in the making, if much was written since the last time."""
        nbytes = sum(tensor.nbytes for tensor in tensors.values())
        if nbytes - self._noted_nbytes >= NOTE_EVERY_NBYTES:
            self.begun, self._noted_nbytes = (file, tensors), nbytes
            self._write()

    def remove(self) -> None:
        """All shards are written."""
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        file, begun = self.begun
        record = {
            "key": self._key,
            "shards": [asdict(shard) for shard in self.shards],
            "tensors": {name: asdict(tensor) for name, tensor in self.tensors.items()},
            "file": file,
            "begun": {name: asdict(tensor) for name, tensor in begun.items()},
        }
        replace_durably(self._path, json.dumps(record).encode())

    def _read(self, folder: Path) -> bool:
        """False if there is no log of this conversion, or the files don't agree with it."""
        try:
            data = parse_object(read_at_most(self._path, _MAX_NBYTES), _FILE_NAME)
            if data.get("key") != self._key:
                return False
            fields = Fields(data, _FILE_NAME, frozenset({"key", "shards", "tensors", "file", "begun"}))
            self.shards = [ShardEntry(**item) for item in fields.items("shards")]
            self.tensors = _tensors(data["tensors"])
            self.begun = (fields.text("file"), _tensors(data["begun"]))
            files_there = self.begun[0] == "" or (folder / check_file_name(self.begun[0], _FILE_NAME)).is_file()
            return files_there and all((folder / shard.file).stat().st_size == shard.nbytes for shard in self.shards)
        except (OSError, InvalidFileError, TypeError, KeyError, AttributeError):
            return False


def _tensors(data: dict[str, Any]) -> dict[str, TensorEntry]:
    return {name: TensorEntry(**(item | {"shape": tuple(item["shape"])})) for name, item in data.items()}
