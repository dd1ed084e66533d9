"""The one table of what can go wrong for a user, and the exit code of each.

Every error ends in one line on stderr: what failed, what was expected and found; then `hint:` with what to do next.
"""

from __future__ import annotations


class FastgoError(Exception):
    """Base of every error that a user can cause.

    Args:
        message: what failed, what was expected and what was found, in one line.
        hint: what to do next, in one line; the class's `usual_hint` if nothing better can be said.
    """

    exit_code = 1
    usual_hint = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.usual_hint


class UsageError(FastgoError):
    """An option or argument that makes no sense."""

    exit_code = 2
    usual_hint = "--help describes every command and option"


class ModelNotFoundError(FastgoError):
    """No model under that name or path."""

    exit_code = 3


class InvalidFileError(FastgoError):
    """A file that is damaged, hostile or not what it claims to be."""

    exit_code = 4
    usual_hint = "the file is damaged or was converted wrongly; get it again"


class UnsupportedModelError(FastgoError):
    """A sound file whose architecture, tensor type or version is not supported."""

    exit_code = 5
    usual_hint = "use a model of a supported family"


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


class RegressionError(FastgoError):
    """`fastgo bench --baseline`: a test is significantly slower than before."""

    exit_code = 10


UNEXPECTED_EXIT_CODE = 70  # a fault of fastgo itself
INTERRUPTED_EXIT_CODE = 130
