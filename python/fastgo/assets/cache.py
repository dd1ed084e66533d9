"""House-keeping of the cache of imported models: what it holds, when it was last used, what can go.

Units: bytes; times are seconds since the epoch.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fastgo.assets import hub_catalog, storage
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.new_folder import TEMPORARY_MARK
from fastgo.assets.repository import cache_dir, is_current, open_named, stale_records, used_path
from fastgo.errors import FastgoError, ModelNotFoundError

USES = ("ready", "older version", "damaged", "half-made")


@dataclass(frozen=True)
class CacheEntry:
    """A folder of the cache. `use` is one of `USES`; `model` is None if it can't be opened, `last_used` if unknown."""

    path: Path
    use: str
    nbytes: int
    last_used: float | None
    model: ModelFolder | None = None


def entries() -> list[CacheEntry]:
    """Everything under the cache's folder of models, ordered by path. Raises CacheError if it can't be read."""
    folder = cache_dir() / "models"
    with storage.storage_errors(f"read {folder}"):
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [_entry(path) for path in paths]


def remove(name: str) -> list[tuple[Path, int]]:
    """Remove the imported models of that name, name of the hub, or key; returns what went, with sizes.

    Raises:
        ModelNotFoundError: there is none.
        CacheError: it can't be removed.
    """
    model = hub_catalog.find(name)
    pulled = open_named(str(model)) if model else None
    found = [
        entry
        for entry in entries()
        if entry.path.name in (name, pulled and pulled.path.name)
        or (entry.model is not None and entry.model.name in (name, f"{name}.gguf"))
    ]
    if not found:
        raise ModelNotFoundError(f"no imported model {name[:200]!r}", hint="`fastgo list` shows their names")
    return [(entry.path, entry.nbytes) for entry in found if _remove(entry.path)]


def prune() -> list[CacheEntry]:
    """Remove what is not ready and not in the making, and records of what is gone; returns the folders that went.

    Raises CacheError.
    """
    removed = [entry for entry in entries() if entry.use != "ready" and _remove(entry.path)]
    with storage.storage_errors(f"remove records of {cache_dir()}"):
        for path in stale_records():
            path.unlink(missing_ok=True)
    return removed


def last_used(path: Path) -> float | None:
    """When a model of the cache was last opened; None if that is not known."""
    try:
        return used_path(path.name).stat().st_mtime
    except OSError:
        return None


def age(when: float | None) -> str:
    """A time in the past in words."""
    if when is None:
        return "unknown"
    seconds = max(0.0, time.time() - when)
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if (count := int(seconds // length)) >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def _entry(path: Path) -> CacheEntry:
    nbytes, used = disk_nbytes(path), last_used(path)
    if path.name.startswith("."):
        return CacheEntry(path, "half-made", nbytes, used)
    try:
        model = ModelFolder.open(path)
    except FastgoError:
        model = None
    if not is_current(path):
        return CacheEntry(path, "older version", nbytes, used, model)
    return CacheEntry(path, "ready" if model else "damaged", nbytes, used, model)


def disk_nbytes(path: Path) -> int:
    """What a folder takes on the disk: weights, tokenizer, manifest."""
    return sum(_sizes(path))


def _sizes(path: Path) -> Iterator[int]:
    for parent, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                yield os.lstat(os.path.join(parent, name)).st_size


def _remove(path: Path) -> bool:
    """False if a process is making the model just now."""
    key = path.name.removeprefix(".").split(TEMPORARY_MARK)[0]
    locks = cache_dir() / "locks"
    with storage.storage_errors(f"remove {path}"):
        locks.mkdir(parents=True, exist_ok=True)
    with storage.exclusive_lock(locks / key, wait=False) as held:
        if held:
            with storage.storage_errors(f"remove {path}"):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
                used_path(key).unlink(missing_ok=True)
    return held
