"""The log of a conversion: which shards are whole, so that the next run after a kill goes on from there."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from fastgo.assets.manifest import ShardEntry, TensorEntry
from fastgo.assets.storage import read_at_most, replace_durably
from fastgo.assets.strict_json import Fields, parse_object
from fastgo.errors import InvalidFileError

_FILE_NAME = "conversion.json"
_MAX_NBYTES = 64 << 20


class ConversionLog:
    """The log in the folder `folder`, for the conversion that `key` (source, recipe and version, digested) stands for.

    What another conversion left in the folder is removed, as is every file that is no whole shard. Raises OSError.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._path = folder / _FILE_NAME
        self._key = key
        self.shards: list[ShardEntry] = []
        self.tensors: dict[str, TensorEntry] = {}
        if not self._read(folder):
            self.shards, self.tensors = [], {}
        whole = {shard.file for shard in self.shards}
        for path in folder.iterdir():
            if path.name not in whole:
                path.unlink()

    def add(self, shard: ShardEntry, tensors: dict[str, TensorEntry]) -> None:
        """Note a shard that is on the disk."""
        self.shards.append(shard)
        self.tensors |= tensors
        record = {
            "key": self._key,
            "shards": [asdict(shard) for shard in self.shards],
            "tensors": {name: asdict(tensor) for name, tensor in self.tensors.items()},
        }
        replace_durably(self._path, json.dumps(record).encode())

    def remove(self) -> None:
        """All shards are written."""
        self._path.unlink(missing_ok=True)

    def _read(self, folder: Path) -> bool:
        """False if there is no log of this conversion, or the files don't agree with it."""
        try:
            data = parse_object(read_at_most(self._path, _MAX_NBYTES), _FILE_NAME)
            if data.get("key") != self._key:
                return False
            fields = Fields(data, _FILE_NAME, frozenset({"key", "shards", "tensors"}))
            self.shards = [ShardEntry(**item) for item in fields.items("shards")]
            self.tensors = {
                name: TensorEntry(**(item | {"shape": tuple(item["shape"])})) for name, item in data["tensors"].items()
            }
            return all((folder / shard.file).stat().st_size == shard.nbytes for shard in self.shards)
        except (OSError, InvalidFileError, TypeError, KeyError, AttributeError):
            return False
