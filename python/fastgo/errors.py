"""The one table of what can go wrong for a user, and the exit code of each.

Every error ends in one line on stderr: what failed, what was expected and found; then `hint:` with what to do next.
"""

from __future__ import annotations


class FastgoError(Exception):
    """Base of every error that a user can cause.

    Args:
        message: what failed, what was expected and what was found, in one line.
        hint: what to do next, in one line; empty if there is nothing to say.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(FastgoError):
    """An option or argument that makes no sense."""

    exit_code = 2


class ModelNotFoundError(FastgoError):
    """No model under that name or path."""

    exit_code = 3


class InvalidFileError(FastgoError):
    """A file that is damaged, hostile or not what it claims to be."""

    exit_code = 4


class UnsupportedModelError(FastgoError):
    """A sound file whose architecture, tensor type or version is not supported."""

    exit_code = 5


class DeviceError(FastgoError):
    """No such device, a fault on it, or a kernel that can't run there."""

    exit_code = 6


class OutOfMemoryError(FastgoError):
    """The model or its context does not fit."""

    exit_code = 7


class CacheError(FastgoError):
    """The cache of imported models can't be read or written (disk full, permissions, lock)."""

    exit_code = 8


class DownloadError(FastgoError):
    """A model can't be downloaded: no network, no access to it, or a fault of the hub."""

    exit_code = 9


INTERRUPTED_EXIT_CODE = 130
