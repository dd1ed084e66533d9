"""What the tests of models have a variant's process do: open a model once, and run it in several ways."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from fastgo.assets.repository import open_model
from fastgo.engine.devices import open_device
from fastgo.engine.engine import Engine
from fastgo.engine.sampling import Sampling
from fastgo.engine.session import Session
from fastgo.text.tokenizer import Tokenizer

Float32s = npt.NDArray[np.float32]
GREEDY = Sampling()


@dataclass(frozen=True)
class Golden:
    """What the reference computed; see tools/make_goldens.py."""

    path: str
    prompt: list[int]
    logits: Float32s
    greedy: list[int]


@lru_cache(maxsize=2)
def engine(model: str) -> Engine:
    """A model's name or file on the process's device."""
    return Engine(open_device(None), open_model(model))


def all_logits(model: str, ids: list[int], parts: list[int]) -> Float32s:
    """Logits after each id, with the prompt cut into parts of the given lengths, the last of which repeats."""
    session = Session(engine(model))
    lengths = iter(parts)
    length, begin, found = 0, 0, []
    while begin < len(ids):
        length = next(lengths, length)
        found.append(session.all_logits(ids[begin : begin + length]))
        begin += length
    return np.concatenate(found)


def last_logits(model: str, ids: list[int], chunk: int) -> Float32s:
    return Session(engine(model)).logits(ids, chunk=chunk)


def greedy(model: str, ids: list[int], count: int) -> tuple[list[int], float]:
    """The tokens, and how many of them a second after the first."""
    tokens, times = [], []
    for token in Session(engine(model)).generate(ids, GREEDY, count):
        tokens.append(token)
        times.append(time.perf_counter())
    return tokens, (count - 1) / (times[-1] - times[0])


def encode_prompt(model: str, text: str) -> list[int]:
    """Token ids of plain text as `generate` would feed it."""
    folder = open_model(model)
    info: Any = folder.manifest.tokenizer
    return list(Tokenizer.load(folder.path, info).encode_prompt(text))
