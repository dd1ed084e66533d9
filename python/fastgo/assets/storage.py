"""Writing model folders safely: durable files, one clear error for a full disk, locks between processes, progress."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from fastgo.assets.file_pages import forget_small_pages
from fastgo.errors import CacheError

Progress = Callable[[int, int, str], None]
"""progress(done_bytes, total_bytes, what)."""

_HINTS = {
    errno.ENOSPC: "free some disk space, or set FASTGO_CACHE_DIR to a folder on another disk",
    errno.EDQUOT: "free some of your disk quota, or set FASTGO_CACHE_DIR to a folder on another disk",
    errno.EACCES: "check the folder's permissions, or set FASTGO_CACHE_DIR to a folder you can write",
    errno.EPERM: "check the folder's permissions, or set FASTGO_CACHE_DIR to a folder you can write",
    errno.EROFS: "set FASTGO_CACHE_DIR to a folder you can write",
    errno.ENOLCK: "this file system has no locks: set FASTGO_CACHE_DIR to a folder on a local disk",
}
_OTHER_HINT = "check the disk, or set FASTGO_CACHE_DIR to another folder"
_HASH_CHUNK_NBYTES = 8 << 20
_SAMPLES = 32
_SAMPLE_NBYTES = 16 << 10


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn an OSError inside into a CacheError "can't <what>: <reason>"."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = _HINTS.get(error.errno or 0, _OTHER_HINT)
        raise CacheError(f"can't {what}: {reason}", hint=hint) from None


def open_regular(path: Path) -> BinaryIO:
    """A file to read that is neither a pipe, on which a reader would wait for ever, nor a device. Raises OSError."""
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")
    if not S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is not a regular file")
    return file


def file_sha256(path: Path, progress: Progress | None = None) -> str:
    """SHA-256 of a file in hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    total = path.stat().st_size
    done = 0
    with open_regular(path) as file:
        while chunk := file.read(_HASH_CHUNK_NBYTES):
            digest.update(chunk)
            done += len(chunk)
            if progress:
                progress(done, total, f"reading {path.name}")
    return digest.hexdigest()


def fingerprint(path: Path) -> str:
    """Hexadecimal digest of a file's size, modification time and evenly spaced samples. Raises OSError."""
    with open_regular(path) as file:
        status = os.fstat(file.fileno())
        digest = hashlib.sha256(f"{status.st_size} {status.st_mtime_ns} ".encode())
        for index in range(_SAMPLES):
            file.seek(max(0, status.st_size - _SAMPLE_NBYTES) * index // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_NBYTES))
    return digest.hexdigest()


def require_space(folder: Path, nbytes: int) -> None:
    """Raises CacheError unless the disk of `folder`, which exists, has `nbytes` free."""
    with storage_errors(f"look at the disk of {folder}"):
        free = shutil.disk_usage(folder).free
    if free < nbytes:
        raise CacheError(
            f"can't write to {folder}: {nbytes / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free",
            hint=_HINTS[errno.ENOSPC],
        )


def read_at_most(path: Path, max_nbytes: int) -> bytes:
    """A file's content; one byte more than `max_nbytes` if it is larger. Raises OSError."""
    with open_regular(path) as file:
        # A read of a given size allocates all of it, whatever the file has.
        return file.read(min(os.fstat(file.fileno()).st_size, max_nbytes) + 1)


def write_durably(path: Path, data: bytes | memoryview) -> None:
    """Write a new file and flush it to the disk. Raises OSError."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        forget_small_pages(file.fileno())


def replace_durably(path: Path, data: bytes | memoryview) -> None:
    """Write a file whole or not at all, whatever was there before. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        write_durably(temporary, data)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def sync_tree(folder: Path) -> None:
    """Flush a folder's files and the folder itself to the disk. Raises OSError."""
    for path in [*folder.iterdir(), folder]:
        sync_path(path)


def sync_path(path: Path) -> None:
    """Flush one file or folder to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        forget_small_pages(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def exclusive_lock(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the lock that `path` stands for against all processes. It ends with the process, however that ends.

    Yields True when held; False, at once, if another holds it and `wait` is False. Raises CacheError.
    """
    with storage_errors(f"lock {path}"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with storage_errors(f"lock {path}"):
            held = _try_lock(descriptor, wait)
        yield held
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
