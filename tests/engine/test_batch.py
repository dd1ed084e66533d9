"""Several sequences together: each must go as it would alone, whatever the others do."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
from fastgo.engine.batch import Batch
from fastgo.engine.engine import Engine
from fastgo.engine.sampling import Sampling
from fastgo.engine.session import Session
from fastgo.errors import DeviceError, UsageError

GREEDY = Sampling()
PROMPTS = [np.random.default_rng(length).integers(0, 299, length).tolist() for length in (3, 17, 1, 40, 9)]


def together(
    engine: Engine, samplings: list[Sampling], count: int, stop_ids: Collection[int] = (), context: int = 128
) -> list[list[int]]:
    """What each prompt was continued by."""
    found: list[list[int]] = [[] for _ in PROMPTS]
    for step in Batch(engine, len(PROMPTS), context).generate(PROMPTS, samplings, count, stop_ids):
        for sequence, token in step:
            found[sequence].append(token)
    return found


def alone(
    engine: Engine, samplings: list[Sampling], count: int, stop_ids: Collection[int] = (), context: int = 128
) -> list[list[int]]:
    pairs = zip(PROMPTS, samplings, strict=True)
    return [list(Session(engine, context).generate(ids, s, count, stop_ids)) for ids, s in pairs]


def test_batch_goes_as_each_sequence_alone(engine: Engine) -> None:
    greedy = [GREEDY] * len(PROMPTS)
    assert together(engine, greedy, 24) == alone(engine, greedy, 24)


def test_samplings_are_each_sequence_s_own(engine: Engine) -> None:
    samplings = [Sampling(temperature=0.5 * i, seed=i) for i in range(len(PROMPTS))]
    assert together(engine, samplings, 12) == alone(engine, samplings, 12)


def test_sequences_end_at_stop_ids_and_the_others_go_on(gemma_engine: Engine) -> None:
    samplings = [Sampling(temperature=2.0, seed=i) for i in range(len(PROMPTS))]
    stops = range(0, 299, 9)
    expected = alone(gemma_engine, samplings, 30, stops)
    assert len({len(tokens) for tokens in expected}) > 2, "the stop ids end sequences at different times"
    assert together(gemma_engine, samplings, 30, stops) == expected


def test_sequences_end_when_the_context_is_full(gemma_engine: Engine) -> None:
    greedy = [GREEDY] * len(PROMPTS)
    found = together(gemma_engine, greedy, 100, context=42)
    assert [len(tokens) for tokens in found] == [42 - len(ids) + 1 for ids in PROMPTS]
    assert found == alone(gemma_engine, greedy, 100, context=42)


def test_passes_ahead_of_the_host_change_nothing(gemma_engine: Engine) -> None:
    """A second pass is under way while the host reads; stops and full contexts end rows."""
    samplings = [Sampling(temperature=2.0, seed=i) for i in range(len(PROMPTS))]
    stops = range(0, 299, 9)
    for count, context in ((30, 128), (5, 128), (100, 42)):
        expected = alone(gemma_engine, samplings, count, stops, context)
        assert together(gemma_engine, samplings, count, stops, context) == expected
    batch = Batch(gemma_engine, 2, 64)
    closed = batch.generate(PROMPTS[:2], [GREEDY] * 2, 5)
    next(closed)
    closed.close()
    assert len(list(batch.generate(PROMPTS[:2], [GREEDY] * 2, 5))) == 5


def test_a_new_generation_ends_one_that_was_left(gemma_engine: Engine) -> None:
    """Passes of the old one are under way when the new one begins, whose steps are recorded already."""
    batch = Batch(gemma_engine, 2, 128)
    expected = list(batch.generate(PROMPTS[1:3], [GREEDY] * 2, 5))
    for _ in range(20):
        left = batch.generate(PROMPTS[3:], [GREEDY] * 2, 50)
        next(left)
        assert list(batch.generate(PROMPTS[1:3], [GREEDY] * 2, 5)) == expected
        with pytest.raises(UsageError, match="another generation"):
            next(left)


def test_a_batch_can_be_used_again(gemma_engine: Engine) -> None:
    batch = Batch(gemma_engine, 2, 64)
    runs = [list(batch.generate(PROMPTS[:2], [GREEDY] * 2, 5)) for _ in range(2)]
    assert runs[0] == runs[1] and len(runs[0]) == 5
    closed = batch.generate(PROMPTS[:2], [GREEDY] * 2, 5)
    next(closed)
    closed.close()
    assert list(batch.generate(PROMPTS[:2], [GREEDY] * 2, 5)) == runs[0]


@pytest.mark.parametrize(
    ("sequences", "context", "message"),
    [(0, 8, "0 sequences"), (65, 8, "65 sequences"), (1, 0, "context is 0"), (1, 4096, "context is 4096")],
)
def test_sizes_that_make_no_sense(gemma_engine: Engine, sequences: int, context: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Batch(gemma_engine, sequences, context)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "0 prompts"),
        ([[1]] * 3, "3 prompts"),
        ([[1], []], "empty"),
        ([[299]], "outside"),
        ([[1] * 33], "has 33 tokens"),
    ],
)
def test_prompts_that_can_t_be_run(gemma_engine: Engine, prompts: list[list[int]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        next(Batch(gemma_engine, 2, 32).generate(prompts, [GREEDY] * len(prompts), 4))


def test_weights_that_give_no_finite_logits(gemma_engine: Engine) -> None:
    batch = Batch(gemma_engine, 1, 32)
    batch._state.drawn(0)  # history starts as token 0
    batch._state.history[0, 0] = -1
    with pytest.raises(DeviceError, match="no finite logits"):
        batch._state.drawn(0)
