"""Everything a user sees: data on stdout; errors, progress, tables' decoration and telemetry on stderr.

Owns the protection of the terminal: text from a model or a file can't send control sequences to it. Rich is imported
only by what needs it. Units: bytes and seconds in, readable units out.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from fastgo.api import Telemetry

Progress = Callable[[int, int, str], None]

_CONTROL = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def one_line(text: str) -> str:
    """Returns `text` without line breaks and control characters."""
    return " ".join(text.split()).translate(_CONTROL)


def data(text: str) -> None:
    """Writes one line of a command's result."""
    _write(text + "\n")


def json_data(value: Any) -> None:
    """Writes a result as JSON."""
    data(json.dumps(value, indent=2))


def abandon_stdout() -> None:
    """Lets the interpreter exit in peace after the reader of stdout has gone."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def error(message: str, hint: str = "") -> None:
    """Shows a failure in one line, and what to do about it in a second one."""
    _console().print(f"fastgo: error: {one_line(message)}", markup=False, style="red", soft_wrap=True)
    if hint:
        _console().print(f"hint: {one_line(hint)}", markup=False, soft_wrap=True)


def traceback(error: BaseException) -> None:
    """Shows where an unexpected error came from."""
    import traceback as library

    library.print_exception(error, file=sys.stderr)


def note(text: str) -> None:
    """Shows a dim line that is not part of the result."""
    _console().print(one_line(text), markup=False, style="dim", soft_wrap=True)


def fallback(device: str | None) -> None:
    """Says why the CPU was taken although the machine has a GPU, if so."""
    from fastgo.engine.devices import fallback_note

    reason = fallback_note(device)
    if reason is not None:
        note(f"running on the CPU: {reason}")


def telemetry(measured: Telemetry) -> None:
    """Shows what a generation took, in one dim line."""
    prefill = _rate(measured.prompt_tokens, measured.prefill_seconds)
    # The first token comes out of the prefill.
    decode = _rate(measured.generated_tokens - 1, measured.decode_seconds)
    note(
        f"prompt {measured.prompt_tokens} tokens, prefill {prefill}, "
        f"first token {measured.first_token_seconds * 1e3:.0f} ms, "
        f"{measured.generated_tokens} tokens, decode {decode}, memory {size(measured.memory_bytes)}, "
        f"pipelines {measured.pipeline_hits} cached, {measured.pipeline_misses} built"
    )


def _rate(tokens: int, seconds: float) -> str:
    return f"{tokens / seconds:.1f} tok/s" if tokens > 0 and seconds > 0 else "- tok/s"


def size(nbytes: int) -> str:
    """Returns a number of bytes in readable units (1 MB = 10^6 bytes)."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= scale:
            return f"{nbytes / scale:.1f} {unit}"
    return f"{nbytes} B"


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = (), right: Sequence[int] = ()) -> None:
    """Writes rows as aligned columns; columns in `right` are right-aligned."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    sheet = Table(box=None, show_header=bool(header), pad_edge=False, header_style="bold")
    for index in range(max(map(len, (header, *rows)), default=0)):
        title = header[index] if header else ""
        sheet.add_column(title, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        sheet.add_row(*(Text(one_line(cell)) for cell in row))
    width = None if sys.stdout.isatty() else 10_000
    console = Console(file=sys.stdout, highlight=False, width=width)
    with console.capture() as captured:
        console.print(sheet)
    _write("".join(line.rstrip() + "\n" for line in captured.get().splitlines()))


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """Gives a callback (done_bytes, total_bytes, what) that draws a bar on stderr, if that is a terminal.

    The bar appears with the first call, so that what needs no work shows nothing.
    """
    if not sys.stderr.isatty():
        yield lambda done, total, what: None
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    name = TextColumn("{task.description}", markup=False)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    bar = Bar(name, *columns, console=_console(), transient=True)
    tasks: dict[str, Any] = {}

    def report(done: int, total: int, what: str) -> None:
        if not tasks:
            bar.start()
        if what not in tasks:
            tasks[what] = bar.add_task(one_line(what), total=total)
        bar.update(tasks[what], completed=done, total=total)

    try:
        yield report
    finally:
        if tasks:
            bar.stop()


class AnswerWriter:
    """Streams an answer to stdout, piece by piece."""

    def __init__(self) -> None:
        self._ends_with_newline = True
        self._is_terminal = sys.stdout.isatty()

    def write(self, piece: str) -> None:
        """Shows a piece at once. Raises BrokenPipeError if nobody reads stdout any more."""
        if piece:
            _write(piece.translate(_CONTROL) if self._is_terminal else piece)
            sys.stdout.flush()
            self._ends_with_newline = piece.endswith("\n")

    def end(self) -> None:
        """Ends the last line."""
        if not self._ends_with_newline:
            self.write("\n")


def ask() -> str | None:
    """Asks for the next message of a conversation; None at the end of input or after `/bye`."""
    from rich.prompt import Prompt

    try:
        text = Prompt.ask("[bold]>>>[/bold]", console=_console(), default="", show_default=False)
    except EOFError:
        note("")
        return None
    return None if text.strip() == "/bye" else text


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
    except UnicodeEncodeError:
        # A terminal or pipe of another encoding than UTF-8.
        encoding = sys.stdout.encoding or "ascii"
        sys.stdout.write(text.encode(encoding, errors="replace").decode(encoding))
