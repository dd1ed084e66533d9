"""Several sequences decoded together: one pass reads every weight once and gives each sequence its next token.

Prompts are run one after the other, then each pass holds one row a sequence. Rows of sequences that have ended are
closed up, so a pass never computes for nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from fastgo import _fastmetal
from fastgo.engine.engine import Engine
from fastgo.engine.kv_cache import KvCache
from fastgo.engine.pass_graph import MAX_ROWS
from fastgo.engine.sampling import Sampling
from fastgo.engine.steps import LogProbabilities, Output, State, StepBuilder
from fastgo.errors import UsageError

MAX_SEQUENCES = 64


@dataclass(eq=False)
class _Row:
    """One running sequence: its place in the cache, how many of its tokens are cached, and the token that follows."""

    sequence: int
    length: int
    token: int
    drawn: int = 1


@dataclass(frozen=True)
class _Pass:
    """A pass under way, over the last token of each row."""

    rows: list[_Row]
    submission: _fastmetal.Submission


class Batch:
    """Room for `num_sequences` timelines of at most `context` tokens each. Not for use from several threads at once.

    Raises UsageError for sizes or token ids that don't fit.
    """

    def __init__(self, engine: Engine, num_sequences: int, context: int) -> None:
        if not 1 <= num_sequences <= MAX_SEQUENCES:
            raise UsageError(f"{num_sequences} sequences, expected 1 to {MAX_SEQUENCES}")
        engine.check_context(context)
        self.context = context
        self.num_sequences = num_sequences
        self._engine = engine
        self.log_probabilities: list[LogProbabilities | None] = []
        self._state = State(engine.device, context, num_sequences)
        self._cache = KvCache(engine.device, engine.config, context, engine.cache_dtype, num_sequences)
        self._builder = StepBuilder(engine, self._state, self._cache)
        self._generation: object | None = None  # the one that may go on
        self._ahead: deque[_Pass] = deque()  # its passes under way, the oldest first

    @property
    def memory_nbytes(self) -> int:
        """KV cache and arenas of the recorded passes."""
        return self._cache.nbytes + self._builder.arenas_nbytes

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        samplings: Sequence[Sampling],
        max_tokens: int,
        stop_ids: Collection[int] = (),
    ) -> Iterator[list[tuple[int, int]]]:
        """Continues each prompt by up to `max_tokens` tokens, with the sampling of the same index.

        Yields, for each pass, the pairs (index of the prompt, token) of the sequences that are still running. One ends
        after a token of `stop_ids`, which is yielded, or when its context is full. `log_probabilities`, by prompt, are
        those of the token yielded last, where a sampling asks for them. Once another generation was begun, the iterator
        raises UsageError.
        """
        self._interrupt()
        if not 1 <= len(prompts) <= self.num_sequences or len(samplings) != len(prompts):
            raise UsageError(
                f"{len(prompts)} prompts and {len(samplings)} samplings, expected pairs, at most {self.num_sequences}"
            )
        for ids in prompts:
            self._engine.check_ids(ids, self.context)
        self._state.expect(samplings, self._engine.config.vocab_size)
        self.log_probabilities = [None] * len(prompts)
        rows = [self._start(sequence, ids, samplings[sequence]) for sequence, ids in enumerate(prompts)]
        # A pass that waits behind another hides the host's answer to the device; with several sequences that is worth a
        # row for nothing where one ends, on CPUs too. Log-probabilities are kept of one pass only.
        runs_ahead = all(sampling.logprobs is None for sampling in samplings)
        ahead = self._ahead
        self._generation = generation = object()
        try:
            while rows:
                kept = [row for row in rows if self._goes_on(row, max_tokens, stop_ids)]
                if kept and not ahead:
                    ahead.append(self._submit(kept))
                if runs_ahead and kept and self._stays_whole(ahead, kept, max_tokens):
                    ahead.append(self._submit_same(kept))
                yield [(row.sequence, row.token) for row in rows]
                if kept:
                    if self._generation is not generation:
                        raise UsageError("another generation of this batch was begun", hint="use another batch")
                    self._finish(ahead.popleft(), kept, samplings)
                rows = kept
        finally:
            if self._generation is generation:
                self._interrupt()

    def _interrupt(self) -> None:
        """Ends a generation that was left unfinished: its passes under way would meet whatever comes next."""
        self._generation = None
        while self._ahead:
            self._ahead.popleft().submission.wait()

    def _finish(self, done: _Pass, kept: list[_Row], samplings: Sequence[Sampling]) -> None:
        """Waits for a pass and reads what it drew for `kept`; rows that have ended meanwhile are left alone."""
        done.submission.wait()
        for index, row in enumerate(done.rows):
            if row not in kept:
                continue
            row.token = self._state.drawn(row.length, row.sequence)
            self.log_probabilities[row.sequence] = self._state.log_probabilities(samplings[row.sequence], index)
            row.length += 1
            row.drawn += 1

    def _stays_whole(self, ahead: deque[_Pass], kept: list[_Row], max_tokens: int) -> bool:
        """Whether the one pass ahead is over `kept`, and only a stop token could end one of them before the next."""
        return (
            len(ahead) == 1
            and ahead[0].rows == kept
            and all(row.drawn + 1 < max_tokens and row.length + 1 < self.context for row in kept)
        )

    def _start(self, sequence: int, ids: Sequence[int], sampling: Sampling) -> _Row:
        """Runs a prompt and draws what follows it."""
        self._state.set_sampling(sampling, ids, sequence)
        for begin in range(0, len(ids), MAX_ROWS):
            part = ids[begin : begin + MAX_ROWS]
            is_last = begin + MAX_ROWS >= len(ids)
            step = self._builder.step(len(part), Output.NEXT_TOKEN if is_last else Output.NOTHING)
            self._state.tokens[: len(part)] = part
            self._state.positions[: len(part)] = range(begin, begin + len(part))
            self._state.sequences[: len(part)] = sequence
            self._engine.device.submit([step.program]).wait()
        self.log_probabilities[sequence] = self._state.log_probabilities(sampling)
        return _Row(sequence, len(ids), self._state.drawn(len(ids) - 1, sequence))

    def _submit(self, rows: list[_Row]) -> _Pass:
        """Starts the pass over the last tokens of `rows`; only while nothing runs."""
        for index, row in enumerate(rows):
            self._state.tokens[index] = row.token
            self._state.positions[index] = row.length
            self._state.sequences[index] = row.sequence
        return self._submit_same(rows)

    def _submit_same(self, rows: list[_Row]) -> _Pass:
        """Starts a pass over the tokens that the pass before draws for the same rows."""
        program = self._builder.step(len(rows), Output.NEXT_TOKENS).program
        return _Pass(list(rows), self._engine.device.submit([program]))

    def _goes_on(self, row: _Row, max_tokens: int, stop_ids: Collection[int]) -> bool:
        return row.drawn < max_tokens and row.length < self.context and row.token not in stop_ids
