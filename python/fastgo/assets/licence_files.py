"""The files in which a model's licence stands. They go with the model wherever it is converted to.

Units: bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

_NAMES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "USE_POLICY")
_ENDINGS = ("", ".txt", ".md")
_MAX_NBYTES = 1 << 20


def is_licence_file(name: str) -> bool:
    """Whether a file of that name holds a licence, or a notice or policy that belongs to it."""
    path = Path(name)
    return path.stem.upper() in _NAMES and path.suffix.lower() in _ENDINGS


def licence_files(folder: Path) -> tuple[Path, ...]:
    """Those of a folder, by name. Raises OSError."""
    return tuple(
        path
        for path in sorted(folder.iterdir())
        if is_licence_file(path.name) and path.is_file() and path.stat().st_size <= _MAX_NBYTES
    )


def copy_licences(files: Sequence[Path], folder: Path) -> None:
    """Copy them into a model folder. Raises OSError."""
    for path in files:
        shutil.copyfile(path, folder / path.name)
