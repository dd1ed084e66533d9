"""The one exception of mslc: a message with the place in the shader that caused it."""

from __future__ import annotations


class MslError(Exception):
    """A shader that mslc does not accept.

    Args:
        file: path of the file as the user named it.
        line: 1-based line in that file.
        message: what is wrong, in one line.
    """

    def __init__(self, file: str, line: int, message: str) -> None:
        super().__init__(f"{file}:{line}: error: {message}")
        self.file = file
        self.line = line
        self.message = message
