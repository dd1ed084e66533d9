"""What a native library prints is held back, and given up where its error says it all."""

from __future__ import annotations

import os

import pytest
from fastgo.text.quiet_library import quiet_library


class PanicException(BaseException):
    """As the bindings of Rust libraries have it."""


def test_what_was_printed_comes_out_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_library():
        os.write(2, b"a warning\n")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "a warning\n"


@pytest.mark.parametrize(
    ("error", "becomes"),
    [(ValueError, ValueError), (KeyboardInterrupt, KeyboardInterrupt), (PanicException, RuntimeError)],
)
def test_an_error_says_it_all(
    capfd: pytest.CaptureFixture[str], error: type[BaseException], becomes: type[BaseException]
) -> None:
    with pytest.raises(becomes, match="it"), quiet_library():
        os.write(2, b"a page of text\n")
        raise error("it")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_more_than_a_pipe_holds(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_library():
        written = 0
        try:
            while written < 1 << 20:
                written += os.write(2, bytes(4096))
        except BlockingIOError:
            pass
    assert len(capfd.readouterr().err) == written < 1 << 20


def test_a_closed_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    kept = os.dup(2)
    os.close(2)
    try:
        with quiet_library():
            pass
    finally:
        os.dup2(kept, 2)
        os.close(kept)
