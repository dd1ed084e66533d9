"""Keeps what the tokenizers' libraries print off the terminal: they report a bad file themselves, beside our one line.

They are native code and write to the process's stderr, so that is what is held. Units: bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock

_STDERR = 2
_MAX_NBYTES = 1 << 16
_PANIC = "PanicException"  # how the bindings of a Rust library name it; it is no Exception
_lock = Lock()


@contextmanager
def panics_are_errors() -> Iterator[None]:
    """Raises RuntimeError in place of a panic."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ == _PANIC:
            raise RuntimeError(str(error)) from None
        raise


@contextmanager
def quiet_library() -> Iterator[None]:
    """What is written to stderr inside comes out afterwards, and not at all if an error ends it.

    It holds what other threads write too, so it is for the loading of a file, not for each text. Panics are errors.
    """
    with _lock:
        try:
            terminal = os.dup(_STDERR)
        except OSError:  # closed: nothing can be printed
            terminal = None
        reader, writer = os.pipe()
        for end in (reader, writer):
            os.set_blocking(end, False)
        is_error = True
        try:
            if terminal is not None:
                os.dup2(writer, _STDERR)
            with panics_are_errors():
                yield
            is_error = False
        finally:
            if terminal is not None:
                os.dup2(terminal, _STDERR)
                os.close(terminal)
            os.close(writer)
            held = b""
            with suppress(BlockingIOError):  # a program that was started meanwhile has the other end
                held = os.read(reader, _MAX_NBYTES)
            os.close(reader)
            if held and not is_error:
                with suppress(OSError):
                    os.write(_STDERR, held)
