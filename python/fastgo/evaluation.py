"""How far two models are apart: Kullback-Leibler divergence and perplexity over the same text.

The text is cut into windows that are run on their own, so that memory stays bounded. Units: nats a token for the
divergence; perplexity is e to the mean negative log likelihood in nats.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastgo.api import LLM
from fastgo.errors import UsageError
from fastgo.text.tokenizer import Tokenizer

WINDOW = 128
_MAX_TOKENS = 1 << 14

TEXT = """\
The harbour was quiet when the last boat came in. Two men tied it up, counted the boxes and argued about the weather,
which had been kinder than the forecast. A kilogram of sardines cost 3.20 that morning; by noon it would cost half.
"If you want to know why the lamp turns," said the keeper, "look at the gears: a weight of forty kilograms falls nine
metres each night, and every hour one of us winds it up again." In 1871 the old mechanism was replaced, and the
engineer left a note in the log: energy is never lost, it only becomes harder to use.

def mean(values):
    total = 0.0
    for value in values:
        total += value
    return total / len(values)

Water boils at 100 degrees Celsius at sea level, and at about 93 degrees in Addis Ababa, because the air presses less.
La biblioteca abre a las nueve. Der Zug nach Basel fährt heute von Gleis 7. 今日は天気がいいですね。
"""


@dataclass(frozen=True)
class Comparison:
    """Mean divergence of the other model from the source, the share of tokens with the same arg-max, perplexities."""

    tokens: int
    kl_divergence: float
    same_top: float
    source_perplexity: float
    perplexity: float


def compare(source: LLM, other: LLM, text: str = TEXT) -> Comparison:
    """Runs both models over `text`. Raises UsageError if it has fewer than two tokens."""
    ids = source.tokenizer.encode_prompt(text)[:_MAX_TOKENS]
    divergences: list[npt.NDArray[np.float64]] = []
    losses: list[npt.NDArray[np.float64]] = []
    same = 0
    for window in windows(ids, source.tokenizer, source.context):
        ours, theirs = (_log_probabilities(model.logits(window, all_positions=True)) for model in (source, other))
        divergences.append((np.exp(ours) * (ours - theirs)).sum(axis=1, dtype=np.float64))
        same += int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
        rows = np.arange(len(window) - 1)
        losses.append(-np.array([ours[rows, window[1:]], theirs[rows, window[1:]]], np.float64))
    loss, other_loss = np.concatenate(losses, axis=1).mean(axis=1)
    divergence = np.concatenate(divergences)
    return Comparison(
        tokens=divergence.size,
        kl_divergence=float(divergence.mean()),
        same_top=same / divergence.size,
        source_perplexity=math.exp(loss),
        perplexity=math.exp(other_loss),
    )


def windows(ids: Sequence[int], tokenizer: Tokenizer, context: int) -> list[list[int]]:
    """Pieces of two tokens to WINDOW; each begins with the beginning-of-sequence token where the model wants one.

    Raises UsageError if there are none.
    """
    length = min(WINDOW, context)
    head = [tokenizer.bos_id] if tokenizer.add_bos and tokenizer.bos_id is not None else []
    body = list(ids[len(head) :])
    step = length - len(head)
    pieces = [head + body[start : start + step] for start in range(0, len(body), max(step, 1))]
    found = [piece for piece in pieces if len(piece) >= 2]
    if not found:
        raise UsageError("the text has fewer than two tokens", hint="give a longer text")
    return found


def _log_probabilities(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    shifted: npt.NDArray[np.float32] = logits - logits.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True, dtype=np.float64)).astype(np.float32)
    return shifted
