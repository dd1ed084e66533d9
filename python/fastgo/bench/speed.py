"""Tokens a second of prefill and decode, named as llama-bench names them: pp512, tg128.

pp512 appends 512 tokens and leaves the logits after the last. tg128 appends one token, then 127 that the model draws
itself, sampled on the device. Tokens are those of a text (tokens.py). A test at a depth begins after that many tokens.
A batch decodes several sequences together; its rate is their sum.
Times are seconds of wall time, seen from the host.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fastgo.bench.spread import Spread, percentile
from fastgo.bench.tokens import BenchTokens, bench_tokens
from fastgo.engine.batch import MAX_SEQUENCES, Batch
from fastgo.engine.devices import device_errors, memory_in_use
from fastgo.engine.engine import Engine
from fastgo.engine.sampling import Sampling
from fastgo.engine.session import Session
from fastgo.errors import UsageError
from fastgo.models.config import ModelConfig


@dataclass(frozen=True)
class SpeedTest:
    """`tokens` of "pp" (prefill) or "tg" (decode), for `batch` sequences that hold `depth` tokens already."""

    kind: str
    tokens: int
    depth: int = 0
    batch: int = 1

    @property
    def name(self) -> str:
        return f"{self.kind}{self.tokens}"

    @property
    def tokens_needed(self) -> int:
        """How many it is fed: each sequence of a batch has a prompt of its own."""
        return self.batch * max(1, self.depth) + self.tokens


def plan(
    prefills: Iterable[int], decodes: Iterable[int], depths: Iterable[int], batches: Iterable[int], config: ModelConfig
) -> list[SpeedTest]:
    """All combinations; sizes of 0 leave a kind out, and prefill is measured for one sequence alone.

    Raises UsageError for what the engine or the model can't do.
    """
    tests = []
    sizes = [("pp", size) for size in prefills if size] + [("tg", size) for size in decodes if size]
    for batch in batches:
        if batch > MAX_SEQUENCES:
            raise UsageError(f"--batch {batch} is more than the {MAX_SEQUENCES} sequences that run together")
        tests += [
            SpeedTest(kind, size, depth, batch)
            for depth in depths
            for kind, size in sizes
            if kind == "tg" or batch == 1
        ]
    for test in tests:
        needed, limit = test.depth + test.tokens, config.max_position_embeddings
        if needed > limit:
            raise UsageError(
                f"{test.name} at depth {test.depth} needs {needed} tokens, the model's context holds {limit}",
                hint="use smaller sizes or depths",
            )
    return tests


def tokens_for(engine: Engine, tests: Sequence[SpeedTest]) -> BenchTokens:
    """Tokens enough for each of the tests. Raises as bench_tokens does."""
    return bench_tokens(engine.folder, max((test.tokens_needed for test in tests), default=0))


def run(engine: Engine, test: SpeedTest, tokens: BenchTokens, repeats: int) -> dict[str, Any]:
    """Measures one test after a warm-up; returns its figures in the form of a row of JSON."""
    ids = tokens.ids
    with device_errors():
        if test.batch > 1:
            length = max(1, test.depth)
            prompts = [ids[i * length : (i + 1) * length] for i in range(test.batch)]
            batch = Batch(engine, test.batch, len(prompts[0]) + test.tokens)
            return _row(engine, test, tokens.content, _decode_batch(batch, prompts, test.tokens, repeats))
        session = Session(engine, test.depth + test.tokens)
        if test.depth:
            session.prefill(ids[: test.depth])
        measure = _prefill if test.kind == "pp" else _decode
        figures = measure(session, ids[test.depth : test.depth + test.tokens], repeats)
    return _row(engine, test, tokens.content, figures)


def _row(engine: Engine, test: SpeedTest, content: str, figures: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"test": test.name, "batch": test.batch, "depth": test.depth, "content": content}
    return {**row, **figures, "memory_bytes": memory_in_use(engine.device)}


def _prefill(session: Session, ids: list[int], repeats: int) -> dict[str, Any]:
    depth = len(session.tokens)
    seconds: list[float] = []
    first_token: list[float] = []
    for _ in range(1 + repeats):
        session.rewind(depth)
        start = time.perf_counter()
        session.logits(ids)
        seconds.append(time.perf_counter() - start)
        session.rewind(depth)
        start = time.perf_counter()
        list(session.generate(ids, Sampling(), 1))
        first_token.append(time.perf_counter() - start)
    return {
        "tokens_per_s": Spread.of(seconds[1:]).map(lambda s: len(ids) / s).to_json(),
        "first_token_s": Spread.of(first_token[1:]).to_json(),
    }


def _decode(session: Session, ids: list[int], repeats: int) -> dict[str, Any]:
    depth = len(session.tokens)
    seconds: list[float] = []
    gaps: list[float] = []
    for repeat in range(1 + repeats):
        session.rewind(depth)
        times = [time.perf_counter()]
        for _ in session.generate(ids[:1], Sampling(), len(ids)):
            times.append(time.perf_counter())
        if repeat > 0:
            seconds.append(times[-1] - times[0])
            gaps += [later - earlier for earlier, later in itertools.pairwise(times[1:])]
    return _decode_figures(len(ids), seconds, gaps)


def _decode_batch(batch: Batch, prompts: list[list[int]], tokens: int, repeats: int) -> dict[str, Any]:
    seconds: list[float] = []
    gaps: list[float] = []
    for repeat in range(1 + repeats):
        # The first pass yields what the prompts drew; the clock starts there.
        times = [time.perf_counter() for _ in batch.generate(prompts, [Sampling()] * len(prompts), tokens + 1)]
        if repeat > 0:
            seconds.append(times[-1] - times[0])
            gaps += [later - earlier for earlier, later in itertools.pairwise(times)]
    return _decode_figures(len(prompts) * tokens, seconds, gaps)


def _decode_figures(tokens: int, seconds: list[float], gaps: list[float]) -> dict[str, Any]:
    figures: dict[str, Any] = {"tokens_per_s": Spread.of(seconds).map(lambda s: tokens / s).to_json()}
    if gaps:
        figures["between_tokens_s"] = {"p50": percentile(gaps, 50), "p99": percentile(gaps, 99)}
    return figures
