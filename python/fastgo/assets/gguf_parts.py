"""A GGUF model that is split over several files: NAME-00001-of-00003.gguf and so on, as gguf-split makes them.

Any of the files stands for the model. The first has all metadata, each has some of the tensors and says which it is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from fastgo.assets.gguf import GgufFile, GgufTensor
from fastgo.assets.storage import Progress, file_sha256, fingerprint
from fastgo.errors import InvalidFileError

_PART_NAME = re.compile(r"(.+)-([0-9]{5})-of-([0-9]{5})\.gguf", re.DOTALL | re.ASCII)
_HINT = "download all parts of the model into one folder, and keep their names"


def part_paths(path: Path) -> tuple[Path, ...]:
    """The files of the model that `path` belongs to, in order; itself alone if its name is not that of a part.

    Raises InvalidFileError if one is missing.
    """
    match = _PART_NAME.fullmatch(path.name)
    if match is None or not 1 <= int(match[2]) <= int(match[3]):
        return (path,)
    count = int(match[3])
    paths = tuple(path.with_name(f"{match[1]}-{number:05d}-of-{match[3]}.gguf") for number in range(1, count + 1))
    for part in paths:
        if not part.is_file():
            raise InvalidFileError(f"{part.name} is missing, one of the {count} files of this model", hint=_HINT)
    return paths


def model_name(path: Path) -> str:
    """The file's name, without the number of a part."""
    match = _PART_NAME.fullmatch(path.name)
    return f"{match[1]}.gguf" if match else path.name


def join_tensors(files: Sequence[GgufFile]) -> dict[str, GgufTensor]:
    """The tensors of all parts. Raises InvalidFileError if the files don't belong together."""
    tensors: dict[str, GgufTensor] = {}
    for index, file in enumerate(files):
        number, count = (file.metadata.get(f"split.{key}", default) for key, default in (("no", 0), ("count", 1)))
        if (number, count or 1) != (index, len(files)):
            raise InvalidFileError(
                f"{file.path.name} holds part {number} of {count}, counted from 0, expected {index} of {len(files)}",
                hint=_HINT,
            )
        for name, tensor in file.tensors.items():
            if name in tensors:
                raise InvalidFileError(f"{file.path.name}: tensor {name!r} is in another part too", hint=_HINT)
            tensors[name] = tensor
    expected = files[0].metadata.get("split.tensors.count", len(tensors))
    if expected != len(tensors):
        raise InvalidFileError(
            f"{files[0].path.name}: its parts hold {len(tensors)} tensors, expected {expected}", hint=_HINT
        )
    return tensors


def parts_sha256(paths: Sequence[Path], progress: Progress | None) -> str:
    """Of a single file, or of the list of several files' SHA-256. Raises OSError."""
    hashes = [file_sha256(path, progress) for path in paths]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def parts_fingerprint(paths: Sequence[Path]) -> str:
    """As `storage.fingerprint`, of all files together. Raises OSError."""
    prints = [fingerprint(path) for path in paths]
    return prints[0] if len(prints) == 1 else hashlib.sha256("\n".join(prints).encode()).hexdigest()
