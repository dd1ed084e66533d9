"""A model that answers without weights or device, for tests of the command line.

Run as a script it is the whole command line over that model: `python fake_model.py run --model fake hi`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import fastgo
from fastgo.cli import main
from fastgo.engine.steps import LogProbabilities
from fastgo.errors import ModelNotFoundError


class FakeTelemetry:
    """The figures of fastgo.Telemetry."""

    prompt_tokens = 7
    generated_tokens = 5
    prefill_seconds = 0.02
    first_token_seconds = 0.025
    decode_seconds = 0.1
    memory_bytes = 412_000_000
    pipeline_hits = 12
    pipeline_misses = 3


class FakeTokenizer:
    """What --logprobs asks of a tokenizer."""

    def token_text(self, token: int) -> str:
        return f"<{token}>"

    def token_bytes(self, token: int) -> bytes:
        return bytes([token])


class FakeModel:
    """Echoes what it is asked; "slow" never ends, "fault" and "refuse" raise."""

    tokenizer = FakeTokenizer()

    def __init__(self, is_chat: bool = True) -> None:
        self.is_chat = is_chat
        self.closed = False
        self.calls: list[tuple[str, Any, dict[str, Any]]] = []

    def generate(self, prompt: str, **options: Any) -> Iterator[str]:
        self.calls.append(("generate", prompt, options))
        return self._answer(prompt)

    def chat(self, messages: list[dict[str, str]], **options: Any) -> Iterator[str]:
        self.calls.append(("chat", messages, options))
        return self._answer(messages[-1]["content"])

    def _answer(self, prompt: str) -> Iterator[str]:
        if prompt == "fault":
            raise RuntimeError("a fault\nof two lines")
        if prompt == "refuse":
            raise ModelNotFoundError("no such thing\x1b[31m", hint="look elsewhere")
        yield "echo: "
        yield prompt
        while prompt == "slow":
            time.sleep(0.005)
            yield " again"

    def log_probabilities(self) -> list[tuple[int, LogProbabilities]]:
        return [(token, LogProbabilities(-0.5, ((9, -0.25),))) for token in (3, 1)]

    def telemetry(self) -> FakeTelemetry:
        return FakeTelemetry()

    def __enter__(self) -> FakeModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed = True


def loader(model: FakeModel) -> Callable[..., FakeModel]:
    """A stand-in for fastgo.load that knows one model."""

    def load(name: str, device: str | None = None, **options: Any) -> FakeModel:
        if name == "base":
            model.is_chat = False
        elif name != "fake":
            raise ModelNotFoundError(f"no such model: {name!r}", hint="give the fake one")
        options.pop("progress")(1, 2, "importing")
        model.calls.append(("load", name, {"device": device, **options}))
        return model

    return load


if __name__ == "__main__":
    fastgo.load = loader(FakeModel())  # type: ignore[assignment]
    sys.argv[0] = "fastgo"
    main()
