"""A model folder in the making: hidden beside its target until it is whole; a target is complete or absent.

The hidden folder is locked while a process fills it; another that wants the same target waits. What a killed process
left is handed to the next one, which may go on from there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastgo.assets.manifest import FILE_NAME
from fastgo.assets.storage import storage_errors, sync_path
from fastgo.errors import UsageError

TEMPORARY_MARK = ".importing-"
WORK_MARK = TEMPORARY_MARK + "work"


@contextmanager
def new_folder(target: Path, force: bool = False) -> Iterator[Path]:
    """Yields a folder that becomes `target` when the context ends well, goes when it fails, and stays on Ctrl-C.

    Raises:
        UsageError: `target` exists; with `force`, only if it is something else than a model folder.
        CacheError: the disk refuses.
    """
    check_target(target, force)
    with storage_errors(f"write {target}"):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent / f".{target.name}{WORK_MARK}") as folder:
            try:
                check_target(target, force)
                yield folder
                folder.chmod(0o755)
                _replace(folder, target)
            except Exception:  # Ctrl-C is like a kill
                shutil.rmtree(folder, ignore_errors=True)
                raise


def check_target(target: Path, force: bool) -> None:
    """Raises UsageError unless `target` may be made: it is absent or, with `force`, a model folder."""
    if not os.path.lexists(target):
        return
    if not force:
        raise UsageError(f"{target} exists already", hint="give another folder, or --force to replace a model")
    is_model = target.is_dir() and ((target / FILE_NAME).is_file() or not any(target.iterdir()))
    if target.is_symlink() or not is_model:
        raise UsageError(f"{target} is no model folder: it is not replaced", hint="give another folder")


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Makes the folder if it is not there and holds its lock; waits for a process that has it. Raises OSError."""
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_same(descriptor, folder):
                yield folder
                return
        finally:
            os.close(descriptor)


def _is_same(descriptor: int, folder: Path) -> bool:
    """False if the folder was renamed or removed while we waited for its lock."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.lstat())
    except FileNotFoundError:
        return False


def _replace(folder: Path, target: Path) -> None:
    if not target.exists():
        folder.rename(target)
        sync_path(target.parent)
        return
    with tempfile.TemporaryDirectory(prefix=f".{target.name}{TEMPORARY_MARK}", dir=target.parent) as old:
        target.rename(Path(old) / target.name)
        folder.rename(target)
        sync_path(target.parent)
