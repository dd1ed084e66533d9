"""The two sides of a comparison: how each program is called, and how its figures are read.

Owns the processes. Times are seconds of wall time, memory is the peak of resident bytes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fastgo.assets import repository
from fastgo.bench.speed import SpeedTest
from fastgo.errors import FastgoError, UsageError
from fastgo.text.tokenizer import Tokenizer
from llama_bench import LlamaCpp

_WORDS = ("the", "river", "runs", "down", "to", "a", "town", "and", "people", "walk", "along", "it", "in", "peace")


def label_of(test: SpeedTest) -> str:
    """A test as tables name it."""
    together = f" of {test.batch} sequences" if test.batch > 1 else ""
    return f"{test.name}{together}" + (f" at depth {test.depth}" if test.depth else "")


def _sizes(test: SpeedTest) -> list[str]:
    """A test's sizes as options that both programs know."""
    prefill, decode = (test.tokens, 0) if test.kind == "pp" else (0, test.tokens)
    return ["-p", str(prefill), "-n", str(decode)]


class Peer(Protocol):
    """A program to be measured. `facts` grows as its output tells more about it."""

    name: str
    facts: dict[str, Any]

    def tokens_per_s(self, test: SpeedTest, repeats: int) -> float:
        """The median of one process's measurements."""

    def first_token(self, prompt: Path) -> tuple[float, int]:
        """Seconds from the process's start to its first output, and its peak memory."""


_COMMAND = str(Path(sys.executable).with_name("fastgo"))


@dataclass
class FastgoPeer:
    """fastgo as users run it: the command that lies beside this Python."""

    file: Path
    threads: int
    name: str = "fastgo"
    facts: dict[str, Any] = field(default_factory=dict)

    def tokens_per_s(self, test: SpeedTest, repeats: int) -> float:
        options = ["--depth", str(test.depth), "--batch", str(test.batch), "-r", str(repeats), "--format", "json"]
        command = [_COMMAND, "bench", "--model", str(self.file), *_sizes(test), *options]
        row = _output(command, self._environment)[0]
        self.facts |= {name: row[name] for name in ("version", "commit", "machine", "isa", "switches")}
        return float(row["tokens_per_s"]["median"])

    def first_token(self, prompt: Path) -> tuple[float, int]:
        command = [_COMMAND, "run", "--model", str(self.file), "--raw", "-n", "1"]
        return _first_output([*command, "--file", str(prompt)], self._environment)

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "FASTGO_THREADS": str(self.threads)}


@dataclass
class LlamaPeer:
    """llama-bench, and llama.cpp's programs that continue a prompt and that decode several sequences."""

    programs: LlamaCpp
    file: Path
    threads: int
    name: str = "llama.cpp"
    facts: dict[str, Any] = field(default_factory=dict)

    def tokens_per_s(self, test: SpeedTest, repeats: int) -> float:
        if test.batch > 1:
            return statistics.median(self._batched_tokens_per_s(test) for _ in range(repeats))
        options = ["-m", str(self.file), "-t", str(self.threads), "-r", str(repeats), "-d", str(test.depth)]
        row = _output([str(self.programs.bench), *options, *_sizes(test), "-o", "json"], dict(os.environ))[0]
        self.facts |= {name: row.get(name) for name in ("build_commit", "cpu_info", "backends")}
        return statistics.median(map(float, row["samples_ts"]))

    def _batched_tokens_per_s(self, test: SpeedTest) -> float:
        """The sum of all sequences; each begins with one token or with the depth's."""
        prompt = max(1, test.depth)
        sizes = ["-npp", str(prompt), "-ntg", str(test.tokens), "-npl", str(test.batch)]
        context = ["-c", str(2 * test.batch * (prompt + test.tokens)), "--output-format", "jsonl"]
        command = [str(self.programs.batched), "-m", str(self.file), "-t", str(self.threads), *sizes, *context]
        lines = _output_text(command, dict(os.environ)).splitlines()
        return float(json.loads(next(line for line in lines if line.startswith("{")))["speed_tg"])

    def first_token(self, prompt: Path) -> tuple[float, int]:
        options = ["-m", str(self.file), "-t", str(self.threads), "-f", str(prompt), "-n", "1", "--temp", "0"]
        quiet = ["-no-cnv", "--no-display-prompt"]
        return _first_output([str(self.programs.complete), *options, *quiet], dict(os.environ))


def prompt_of(tokens: int, file: Path) -> str:
    """English words that this model's tokenizer turns into exactly `tokens` tokens, those it adds itself included.

    Raises UsageError for a model without a tokenizer, or one that cuts words so small that none fits.
    """
    folder = repository.open_model(file)
    if folder.manifest.tokenizer is None:
        raise UsageError(f"{file.name} has no tokenizer", hint="use a model with one")
    tokenizer = Tokenizer.load(folder.path, folder.manifest.tokenizer)
    words: list[str] = []
    while (count := len(tokenizer.encode_prompt(" ".join(words)))) < tokens:
        words.append(_WORDS[len(words) % len(_WORDS)])
    if count != tokens:
        raise UsageError(f"no prompt of {tokens} tokens for {file.name}, but of {count}", hint="use another model")
    return " ".join(words)


def _output(command: list[str], environment: dict[str, str]) -> Any:
    return json.loads(_output_text(command, environment))


def _output_text(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise _failure(command, done.returncode, done.stderr)
    return done.stdout


def _first_output(command: list[str], environment: dict[str, str]) -> tuple[float, int]:
    """Seconds until the process writes its first byte (a token may be an empty text: then until its end)."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    os.read(process.stdout.fileno(), 1)
    seconds = time.perf_counter() - start
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise _failure(command, process.returncode, "")
    return seconds, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _failure(command: list[str], code: int, output: str) -> FastgoError:
    last = (output.strip().splitlines() or ["no output"])[-1]
    return FastgoError(f"{Path(command[0]).name} ended with {code}: {last}", hint=f"run it alone: {' '.join(command)}")
