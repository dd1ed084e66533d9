"""What speed tests feed to a model: English text, or random ids for a model without a tokenizer.

The exact output head reads more rows the less usual a hidden state is, and after hundreds of random tokens no state is
usual: decode would be timed on what nobody runs. Units: token ids.
"""

from __future__ import annotations

from itertools import cycle, islice
from typing import NamedTuple

import numpy as np

from fastgo.assets.model_folder import ModelFolder
from fastgo.text.tokenizer import Tokenizer

_SEED = 20240229
_CHARACTERS = 8  # of text for each token that is wanted: more than any supported vocabulary needs


class BenchTokens(NamedTuple):
    """Token ids, and what they are: "text" or "random"."""

    ids: list[int]
    content: str


def bench_tokens(folder: ModelFolder, count: int) -> BenchTokens:
    """`count` tokens. Raises InvalidFileError for a damaged tokenizer."""
    tokenizer, text = folder.manifest.tokenizer, _text(count * _CHARACTERS)
    if tokenizer is None or not text:
        ids = np.random.default_rng(_SEED).integers(0, folder.config.vocab_size, count).tolist()
        return BenchTokens(ids, "random")
    ids = Tokenizer.load(folder.path, tokenizer).encode_prompt(text)
    return BenchTokens(list(islice(cycle(ids), count)), "text")


def _text(length: int) -> str:
    """Python's own description of its language, up to `length` characters; empty where it is not installed."""
    try:
        from pydoc_data import topics
    except ImportError:
        return ""
    return "\n\n".join(text for _, text in sorted(topics.topics.items()))[:length]
