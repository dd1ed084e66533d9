"""The command line as a process: Ctrl-C, pipes, terminals, exit codes."""

from __future__ import annotations

import importlib.util
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hf_builder import write_hf

FAKE = [sys.executable, str(Path(__file__).parent / "fake_model.py")]
ON_POSIX = pytest.mark.skipif(os.name != "posix", reason="signals and terminals of POSIX")


def allow_interrupts() -> None:
    """Undoes the ignored Ctrl-C that a test run started in the background hands down to its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def start(*arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*FAKE, *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=allow_interrupts,
    )


@ON_POSIX
def test_ctrl_c_ends_the_line_shows_the_telemetry_and_exits_130() -> None:
    process = start("run", "-m", "fake", "slow")
    assert process.stdout is not None
    assert process.stdout.read(10) == b"echo: slow"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert output.endswith(b"\n")
    assert errors.startswith(b"prompt 7 tokens") and b"Traceback" not in errors and errors.count(b"\n") == 1


@ON_POSIX
def test_a_closed_pipe_ends_quietly() -> None:
    process = start("run", "-m", "fake", "slow")
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.read(4) == b"echo"
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=20) == 0


def test_a_prompt_through_a_pipe_in_any_locale() -> None:
    process = subprocess.run(
        [*FAKE, "run", "-m", "fake"],
        input="日本 é".encode(),
        capture_output=True,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
        timeout=20,
    )
    assert (process.returncode, process.stdout) == (0, b"echo: ?? ?\n")


def test_exit_codes_of_a_process() -> None:
    for arguments, code in (("run -m nosuch x", 3), ("run -m fake fault", 70), ("run", 2), ("-x", 2), ("nosuch", 2)):
        process = start(*arguments.split())
        _, errors = process.communicate(timeout=20)
        assert process.returncode == code
        first, second = errors.decode().splitlines()
        assert first.startswith("fastgo: error: ") and second.startswith("hint: ")


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        import pty

        self._master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
        self.process = subprocess.Popen(
            [*FAKE, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
            preexec_fn=allow_interrupts,
        )
        os.close(slave)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 20
        while text not in self.seen:
            assert time.monotonic() < deadline and self._read(), f"{text!r} is not in {self.seen!r}"
        self.seen = self.seen[self.seen.index(text) + len(text) :]

    def finish(self) -> int:
        while self._read():
            pass
        os.close(self._master)
        return self.process.wait(timeout=20)

    def _read(self) -> bool:
        """Adds what the process wrote; False at its end, or if it writes nothing for long."""
        ready, _, _ = select.select([self._master], [], [], 20)
        try:
            chunk = os.read(self._master, 4096) if ready else b""
        except OSError:  # how Linux reports that the other end has gone
            chunk = b""
        self.seen += chunk.decode(errors="replace")
        return bool(chunk)


@ON_POSIX
def test_a_conversion_on_a_terminal_shows_its_speed_and_the_time_left(tmp_path: Path) -> None:
    write_hf(tmp_path / "m")
    terminal = Terminal("convert", str(tmp_path / "m"), str(tmp_path / "out"), "--quantize", "q8")
    terminal.wait_for("importing m")
    assert terminal.finish() == 0
    assert re.search(r"[0-9.]+ [kMG]?B/s.*[0-9]:[0-9]{2}:[0-9]{2}", terminal.seen), terminal.seen


@ON_POSIX
def test_a_conversation_on_a_terminal() -> None:
    terminal = Terminal("run", "-m", "fake")
    terminal.wait_for(">>>")
    terminal.type("first\n")
    terminal.wait_for("echo: first")
    terminal.wait_for("pipelines 12 cached")
    terminal.wait_for(">>>")
    terminal.type("/bye\n")
    assert terminal.finish() == 0


@ON_POSIX
@pytest.mark.parametrize("model", ["fake", "base"])
def test_the_end_of_input_ends_a_conversation(model: str) -> None:
    terminal = Terminal("run", "-m", model)
    terminal.wait_for(">>>")
    terminal.type("\x04")
    assert terminal.finish() == 0
    assert "Traceback" not in terminal.seen


@ON_POSIX
def test_ctrl_c_at_the_prompt_of_a_conversation_exits_130() -> None:
    terminal = Terminal("run", "-m", "fake")
    terminal.wait_for(">>>")
    time.sleep(0.3)  # until it reads: a signal just before the read would only be seen after it
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.finish() == 130
    assert "Traceback" not in terminal.seen


@ON_POSIX
def test_an_answer_cannot_send_control_sequences_to_a_terminal() -> None:
    terminal = Terminal("run", "-m", "fake", "a\x1b]0;title\x07\tb\nc")
    assert terminal.finish() == 0
    assert "echo: a\ufffd]0;title\ufffd\tb\r\nc" in terminal.seen


@pytest.mark.real
@pytest.mark.skipif(importlib.util.find_spec("fastgo._fastmetal") is None, reason="the native part is not built")
def test_a_real_model_answers(smollm2_gguf: Path, tmp_path: Path) -> None:
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "fastgo",
            "run",
            "-m",
            str(smollm2_gguf),
            "--raw",
            "-n",
            "4",
            "The capital of France is",
        ],
        capture_output=True,
        env={**os.environ, "FASTGO_CACHE_DIR": str(tmp_path)},
        timeout=300,
    )
    assert process.returncode == 0, process.stderr
    assert b"Paris" in process.stdout
    assert b"decode" in process.stderr
