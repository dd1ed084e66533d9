"""Text files that options name."""

from __future__ import annotations

from pathlib import Path

from fastgo.errors import UsageError


def read_text(path: Path) -> str:
    """The file's text; bytes that are not UTF-8 become U+FFFD. Raises UsageError."""
    try:
        return path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror or error}", hint="check the path") from None
