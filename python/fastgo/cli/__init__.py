"""The command line. One file a command; ui.py holds all output that is not plain data.

Data goes to stdout, everything else to stderr. Exit codes are those of fastgo.errors, 2 for wrong usage, 130 after
Ctrl-C, 70 for a fault of fastgo itself.
"""

from __future__ import annotations

import gc
import sys

from fastgo.errors import INTERRUPTED_EXIT_CODE

_GARBAGE_THRESHOLD = 50_000  # objects made between two looks for garbage


def main() -> None:
    """Runs the command line on sys.argv and exits with the command's code."""
    # A start makes many thousands of objects that stay; looking through them again and again was a tenth of it.
    gc.set_threshold(_GARBAGE_THRESHOLD)
    try:
        from fastgo.cli.app import app

        app(prog_name="fastgo")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED_EXIT_CODE)
