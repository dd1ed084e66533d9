"""The one error of the macOS check: the check itself could not be made, which says nothing about the code."""

from __future__ import annotations


class CheckError(Exception):
    """The check could not run.

    Args:
        message: what failed, in one line.
        hint: what to do next, in one line.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
