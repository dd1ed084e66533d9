"""Sampling options of the command line: reading what has no type of its own, checks before a model is loaded, and the
lines of --logprobs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastgo.cli import ui
from fastgo.errors import UsageError

if TYPE_CHECKING:
    from fastgo import LLM
    from fastgo.engine.steps import LogProbabilities
    from fastgo.text.tokenizer import Tokenizer


def read_logit_bias(items: Sequence[str]) -> dict[int, float]:
    """TOKEN=VALUE items as a mapping; the last one of a token counts. Raises UsageError."""
    found = {}
    for item in items:
        token, _, value = item.partition("=")
        try:
            found[int(token)] = float(value)
        except ValueError:
            raise UsageError(
                f"--logit-bias {item[:80]!r}: expected TOKEN=VALUE, a token id and a number",
                hint="for example --logit-bias 108=-inf",
            ) from None
    return found


def check(options: Mapping[str, Any]) -> None:
    """Raises UsageError for sampling options that make no sense, whatever the model."""
    from fastgo.engine.sampling import Sampling

    Sampling(**{name: value for name, value in options.items() if name != "thinking"})


class LogprobWriter:
    """Writes one JSON object a token to stdout, with the OpenAI API's names, as the tokens come."""

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._written = 0

    def write(self, piece: str) -> None:
        """Writes the tokens that came since the last call; a piece of text may be several."""
        found = self._llm.log_probabilities()
        for token, logprobs in found[self._written :]:
            ui.data(json.dumps(_line(self._llm.tokenizer, token, logprobs)))
        self._written = len(found)

    def end(self) -> None:
        """Writes what is left: tokens of no text, such as the end of the answer."""
        self.write("")


def _line(tokenizer: Tokenizer, token: int, logprobs: LogProbabilities) -> dict[str, Any]:
    likely = [_entry(tokenizer, other, value) for other, value in logprobs.likely]
    return {**_entry(tokenizer, token, logprobs.token), "top_logprobs": likely}


def _entry(tokenizer: Tokenizer, token: int, value: float) -> dict[str, Any]:
    return {
        "token": tokenizer.token_text(token),
        "id": token,
        "bytes": list(tokenizer.token_bytes(token)),
        "logprob": value,
    }
