"""One timeline over an engine: tokens whose keys and values are cached, prefill, decode, rewind.

Decode runs ahead of the host: while a token is read and printed, the device computes the next ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from fastgo import _fastmetal
from fastgo.engine.devices import parallel_width
from fastgo.engine.engine import Engine
from fastgo.engine.kv_cache import KvCache, cache_capacity
from fastgo.engine.pass_graph import MAX_ROWS
from fastgo.engine.sampling import Sampling
from fastgo.engine.steps import LogProbabilities, Output, State, Step, StepBuilder, read_floats
from fastgo.errors import UsageError

_MAX_LOGITS_BYTES = 64 << 20  # of one pass that leaves the logits of all its rows


class Session:
    """A timeline of at most `context` tokens. Not for use from several threads at once.

    Raises UsageError for token ids outside the vocabulary and for more tokens than the context holds.
    """

    def __init__(self, engine: Engine, context: int | None = None) -> None:
        self._engine = engine
        self.context = engine.config.max_position_embeddings if context is None else context
        engine.check_context(self.context)
        self.tokens: list[int] = []
        self.log_probabilities: LogProbabilities | None = None
        self._state = State(engine.device, self.context)
        self._cache = self._new_cache(1)
        self._builder = StepBuilder(engine, self._state, self._cache)
        self._generation: object | None = None  # the one that may go on
        self._ahead: deque[_fastmetal.Submission] = deque()  # its passes in flight, the oldest first

    @property
    def memory_nbytes(self) -> int:
        """KV cache and arenas of the recorded passes."""
        return self._cache.nbytes + self._builder.arenas_nbytes

    def rewind(self, length: int) -> None:
        """Forgets all tokens but the first `length`."""
        self._interrupt()
        del self.tokens[length:]

    def reuse_prefix(self, ids: Sequence[int]) -> None:
        """Rewinds to what the timeline has in common with `ids`, but leaves at least their last token to be run."""
        shared = 0
        while shared < min(len(self.tokens), len(ids) - 1) and self.tokens[shared] == ids[shared]:
            shared += 1
        self.rewind(shared)

    def prefill(self, ids: Sequence[int], *, chunk: int = MAX_ROWS) -> None:
        """Appends `ids` to the timeline, in passes of `chunk` tokens."""
        self._run_chunks(ids, Output.NOTHING, Output.NOTHING, chunk)

    def logits(self, ids: Sequence[int], *, chunk: int = MAX_ROWS) -> npt.NDArray[np.float32]:
        """Appends `ids`; returns the logits after the last one, float32 (vocab_size,)."""
        step = self._run_chunks(ids, Output.NOTHING, Output.LAST_LOGITS, chunk)
        assert step.logits is not None
        return read_floats(self._engine.device, step.logits, (self._engine.config.vocab_size,))

    def all_logits(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Appends `ids`; returns the logits after each of them, float32 (len(ids), vocab_size)."""
        vocab_size = self._engine.config.vocab_size
        self._interrupt()
        self._engine.check_ids(ids, self.context - len(self.tokens))
        rows = min(MAX_ROWS, max(1, _MAX_LOGITS_BYTES // (4 * vocab_size)))
        logits = np.empty((len(ids), vocab_size), np.float32)
        for begin in range(0, len(ids), rows):
            part = ids[begin : begin + rows]
            step = self._run(part, Output.ALL_LOGITS)
            assert step.logits is not None
            logits[begin : begin + len(part)] = read_floats(
                self._engine.device, step.logits, (len(part), vocab_size)
            )  # fmt: skip
        return logits

    def states(self, ids: Sequence[int]) -> npt.NDArray[np.float32]:
        """Appends at most MAX_ROWS `ids`; returns their last hidden states, float32 (len(ids), hidden_size)."""
        step = self._run_chunks(ids, Output.NOTHING, Output.ALL_STATES, MAX_ROWS)
        assert step.logits is not None
        return read_floats(self._engine.device, step.logits, (len(ids), self._engine.config.hidden_size))

    def generate(
        self, ids: Sequence[int], sampling: Sampling, max_tokens: int, stop_ids: Collection[int] = ()
    ) -> Iterator[int]:
        """Appends `ids`, then yields up to `max_tokens` tokens drawn one after the other.

        Ends after a token of `stop_ids` (which is yielded) or when the context is full. Every yielded token but the
        last is part of the timeline when the iterator is closed. Once something else was done with the timeline, the
        iterator raises UsageError. `log_probabilities` are of the token yielded last, if `sampling` asks for them.
        """
        self._interrupt()
        self._engine.check_ids(ids, self.context - len(self.tokens))
        self._state.expect([sampling], self._engine.config.vocab_size)
        self._state.set_sampling(sampling, [*self.tokens, *ids])
        self._run_chunks(ids, Output.NOTHING, Output.NEXT_TOKEN, MAX_ROWS)
        self._generation = generation = object()
        # A pass that waits behind another hides the host's answer to the device. On the CPU there is nothing to hide,
        # and a pass for nothing at the end would cost more. Log-probabilities are kept of one pass only.
        depth = 1 if parallel_width(self._engine.device.info) == 1 or sampling.logprobs is not None else 2
        try:
            for count in range(1, max_tokens + 1):
                token = self._state.drawn(len(self.tokens) - 1)
                self.log_probabilities = self._state.log_probabilities(sampling)
                full = len(self.tokens) >= self.context
                last = count == max_tokens or full or token in stop_ids
                if not last:
                    self._submit_ahead(depth, max_tokens - count)
                yield token
                if last:
                    return
                if self._generation is not generation:
                    raise UsageError("the timeline was used before this generation ended", hint="use another session")
                self._ahead.popleft().wait()
                self.tokens.append(token)
        finally:
            if self._generation is generation:
                self._interrupt()

    def _interrupt(self) -> None:
        """Ends a generation that was left unfinished: its pass in flight would meet whatever comes next."""
        self._generation = None
        while self._ahead:
            self._ahead.popleft().wait()

    def _submit_ahead(self, depth: int, most: int) -> None:
        """Keeps `depth` passes over tokens sampled on the device under way, but no more than `most`."""
        while len(self._ahead) < min(depth, most):
            length = len(self.tokens) + len(self._ahead) + 1
            if self._ahead and length > min(self.context, self._cache.capacity):
                return
            self._reserve(length)
            self._ahead.append(self._engine.device.submit([self._builder.step(1, Output.NEXT_TOKEN).program]))

    def _run_chunks(self, ids: Sequence[int], between: Output, last: Output, chunk: int) -> Step:
        self._interrupt()
        self._engine.check_ids(ids, self.context - len(self.tokens))
        if not 1 <= chunk <= MAX_ROWS:
            raise UsageError(f"chunk is {chunk}, expected 1 to {MAX_ROWS}")
        self._reserve(len(self.tokens) + len(ids))
        for begin in range(0, len(ids), chunk):
            part = ids[begin : begin + chunk]
            step = self._run(part, last if begin + chunk >= len(ids) else between)
        return step

    def _run(self, ids: Sequence[int], output: Output) -> Step:
        rows, start = len(ids), len(self.tokens)
        self._reserve(start + rows)
        step = self._builder.step(rows, output)
        self._state.tokens[:rows] = ids
        self._state.positions[:rows] = np.arange(start, start + rows)
        self._engine.device.submit([step.program]).wait()
        self.tokens.extend(ids)
        return step

    def _reserve(self, tokens: int) -> None:
        """Makes room for `tokens` positions; only while nothing runs."""
        if tokens <= self._cache.capacity:
            return
        larger = self._new_cache(tokens)
        if self.tokens:
            larger.copy_from(self._cache, len(self.tokens))
        self._cache = larger
        self._builder = StepBuilder(self._engine, self._state, larger)

    def _new_cache(self, tokens: int) -> KvCache:
        engine = self._engine
        return KvCache(engine.device, engine.config, cache_capacity(tokens, self.context), engine.cache_dtype)
