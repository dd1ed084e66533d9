"""Sampling options of the command line: their types, reading what has no type of its own, checks before a model is
loaded, and the lines of --logprobs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgo.cli import ui
from fastgo.errors import UsageError

if TYPE_CHECKING:
    from fastgo import LLM
    from fastgo.engine.steps import LogProbabilities
    from fastgo.text.tokenizer import Tokenizer


Temperature = Annotated[
    float | None, typer.Option(help="0: always the most likely token. Default: the model's own, else 0.")
]
Seed = Annotated[int | None, typer.Option(help="Start of the random numbers. Default: 0.")]
TopK = Annotated[int | None, typer.Option(help="Draw from so many likeliest tokens; 0: from all.")]
TopP = Annotated[float | None, typer.Option(help="Draw from the fewest likely tokens of this probability together.")]
MinP = Annotated[float | None, typer.Option(help="Draw from tokens at least so likely, relative to the likeliest.")]
RepeatPenalty = Annotated[float | None, typer.Option(help="Makes tokens of prompt and answer less likely; 1: none.")]
PresencePenalty = Annotated[float | None, typer.Option(help="Taken from the logits of tokens of the answer; 0: none.")]
FrequencyPenalty = Annotated[
    float | None, typer.Option(help="The same for each time that a token stands in the answer.")
]
LogitBias = Annotated[
    list[str] | None,
    typer.Option(help="Added to a token's logit, by token id; -inf: never. May be repeated.", metavar="TOKEN=VALUE"),
]
Logprobs = Annotated[
    int | None,
    typer.Option(help="Write one line of JSON for each token, with so many likeliest ones, instead of the text."),
]


def read_sampling(*, logit_bias: Sequence[str] | None, **options: Any) -> dict[str, Any]:
    """The options that were given, by the names of Sampling. Raises UsageError if they make no sense for any model."""
    from fastgo.engine.sampling import Sampling

    options["logit_bias"] = _read_logit_bias(logit_bias) if logit_bias else None
    given = {name: value for name, value in options.items() if value is not None}
    Sampling(**given)
    return given


def _read_logit_bias(items: Sequence[str]) -> dict[int, float]:
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
