"""One timeline: rewinding, reuse of prefixes, growth of the cache, and the ends of a generation."""

from __future__ import annotations

import time

import numpy as np
import pytest
from fastgo.engine import kv_cache
from fastgo.engine.engine import Engine
from fastgo.engine.sampling import Sampling
from fastgo.engine.session import Session
from fastgo.errors import DeviceError, FastgoError, UsageError

GREEDY = Sampling()


def ids_of(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(0, 297, count).tolist()


def logits_from_scratch(engine: Engine, ids: list[int]) -> np.ndarray:
    return Session(engine).logits(ids)


def assert_same_timeline(session: Session, engine: Engine, ids: list[int]) -> None:
    """The session is where a fresh one would be after `ids`, to the next token's logits."""
    assert session.tokens == ids
    next_id = [7]
    np.testing.assert_allclose(session.logits(next_id), logits_from_scratch(engine, [*ids, *next_id]), atol=1e-4)


def test_prefill_then_logits(engine: Engine) -> None:
    session, ids = Session(engine), ids_of(30)
    session.prefill(ids, chunk=11)
    assert_same_timeline(session, engine, ids)


@pytest.mark.parametrize("length", [0, 1, 13, 39])
def test_rewind(engine: Engine, length: int) -> None:
    session, ids = Session(engine), ids_of(40)
    session.prefill(ids)
    session.rewind(length)
    session.prefill(ids_of(5, seed=1))
    assert_same_timeline(session, engine, ids[:length] + ids_of(5, seed=1))


def test_rewind_beyond_the_end_keeps_all(engine: Engine) -> None:
    session = Session(engine)
    session.prefill(ids_of(4))
    session.rewind(9)
    assert_same_timeline(session, engine, ids_of(4))


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ([1, 2, 3], [1, 2, 4, 5], 2),
        ([1, 2, 3], [1, 2, 3], 2),
        ([1, 2, 3], [9], 0),
        ([1, 2, 3], [1, 2, 3, 4], 3),
        ([1], [1], 0),
    ],
)
def test_reuse_prefix(engine: Engine, first: list[int], second: list[int], shared: int) -> None:
    session = Session(engine)
    session.prefill(first)
    session.reuse_prefix(second)
    assert session.tokens == second[:shared]
    session.prefill(second[shared:])
    assert_same_timeline(session, engine, second)


@pytest.mark.parametrize(
    ("tokens", "limit", "capacity"), [(1, 2048, 512), (513, 2048, 1024), (1025, 1500, 1500), (1, 9, 9)]
)
def test_cache_capacity(tokens: int, limit: int, capacity: int) -> None:
    assert kv_cache.cache_capacity(tokens, limit) == capacity


def test_cache_grows_in_prefill(engine: Engine) -> None:
    """From 512 over 1024 to 2048 positions, with what was cached carried over."""
    session, ids = Session(engine), ids_of(1100)
    sizes = []
    for begin, end in ((0, 500), (500, 600), (600, 1100)):
        session.prefill(ids[begin:end])
        sizes.append(session._cache.capacity)
    assert sizes == [512, 1024, 2048]
    np.testing.assert_allclose(session.logits([5]), logits_from_scratch(engine, [*ids, 5]), atol=1e-4)


def test_cache_grows_in_decode(engine: Engine) -> None:
    ids = ids_of(505)
    growing, large = Session(engine), Session(engine)
    large.prefill(ids_of(600))
    large.rewind(0)
    tokens = list(growing.generate(ids, GREEDY, 20))
    assert tokens == list(large.generate(ids, GREEDY, 20))
    assert (growing._cache.capacity, len(growing.tokens)) == (1024, 524)
    np.testing.assert_array_equal(growing.logits([3]), large.logits([3]))


def test_generation_ends_when_the_context_is_full(engine: Engine) -> None:
    session = Session(engine, context=50)
    tokens = list(session.generate(ids_of(40), GREEDY, 100))
    assert len(tokens) == 11  # the one that follows the 50th token has no place in the timeline
    assert session.tokens == [*ids_of(40), *tokens[:10]]
    assert tokens == list(Session(engine).generate(ids_of(40), GREEDY, 11))
    with pytest.raises(UsageError, match="has 1 tokens, the context has room for 0"):
        session.prefill([1])
    session.rewind(49)
    session.prefill([1])


def test_stop_ids(engine: Engine) -> None:
    free = list(Session(engine).generate(ids_of(20), GREEDY, 12))
    stop = free[5]
    expected = free[: free.index(stop) + 1]
    session = Session(engine)
    assert list(session.generate(ids_of(20), GREEDY, 12, {stop, 298})) == expected
    assert_same_timeline(session, engine, ids_of(20) + expected[:-1])


@pytest.mark.parametrize("taken", [1, 4])
def test_closing_a_generation_early(engine: Engine, taken: int) -> None:
    session = Session(engine)
    generation = session.generate(ids_of(20), GREEDY, 50)
    tokens = [next(generation) for _ in range(taken)]
    generation.close()
    assert_same_timeline(session, engine, ids_of(20) + tokens[:-1])


def test_going_on_after_a_generation(engine: Engine) -> None:
    session = Session(engine)
    first = list(session.generate(ids_of(20), GREEDY, 5))
    second = list(session.generate([first[-1]], GREEDY, 5))
    assert first + second == list(Session(engine).generate(ids_of(20), GREEDY, 10))


@pytest.mark.parametrize("use", ["generate", "logits", "rewind"])
def test_an_unfinished_generation_does_not_disturb_the_next(engine: Engine, use: str) -> None:
    """Its pass in flight is waited for, and it can't go on."""
    session = Session(engine)
    left = session.generate(ids_of(20), GREEDY, 50)
    kept = [next(left)]
    next(left)  # in flight is the pass over this one
    if use == "generate":
        got = list(session.generate([9], GREEDY, 6))
        assert got == list(Session(engine).generate([*ids_of(20), *kept, 9], GREEDY, 6))
        expected = [*ids_of(20), *kept, 9, *got[:-1]]
    elif use == "logits":
        session.logits([9])
        expected = [*ids_of(20), *kept, 9]
    else:
        session.rewind(10)
        expected = ids_of(20)[:10]
    with pytest.raises(UsageError, match="before this generation ended"):
        next(left)
    assert_same_timeline(session, engine, expected)


def test_temperature_is_repeatable_by_seed(engine: Engine) -> None:
    def draw(seed: int, temperature: float = 1.5) -> list[int]:
        return list(Session(engine).generate(ids_of(20), Sampling(temperature, seed), 16))

    assert draw(1) == draw(1)
    assert len({tuple(draw(seed)) for seed in (1, 2, 1 << 40)}) == 3
    assert draw(1, temperature=1e-6) == list(Session(engine).generate(ids_of(20), GREEDY, 16))


def test_two_sessions_share_an_engine(engine: Engine) -> None:
    """Interleaved token by token, each goes its own way."""
    prompts = [ids_of(20), ids_of(33, seed=5)]
    alone = [list(Session(engine).generate(prompt, GREEDY, 10)) for prompt in prompts]
    generations = [Session(engine).generate(prompt, GREEDY, 10) for prompt in prompts]
    together = list(zip(*generations, strict=True))
    assert [list(tokens) for tokens in zip(*together, strict=True)] == alone


def test_an_idle_session_leaves_the_processor_alone(engine: Engine) -> None:
    """Threads that wait for the next pass spin for a moment only."""
    session = Session(engine)
    list(session.generate(ids_of(5), Sampling(), 4))
    time.sleep(0.1)
    used = time.process_time()
    time.sleep(0.4)
    assert time.process_time() - used < 0.04


def test_single_token_prompt_and_answer(engine: Engine) -> None:
    session = Session(engine)
    assert len(list(session.generate([5], GREEDY, 1))) == 1
    assert session.tokens == [5]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([], "the prompt is empty"),
        ([1, -1], "outside the vocabulary"),
        ([100_000], "outside the vocabulary"),
        ([1] * 2049, "has 2049 tokens, the context has room for 2048"),
    ],
)
def test_senseless_prompts(engine: Engine, ids: list[int], message: str) -> None:
    session = Session(engine)
    for use in (session.prefill, session.logits, session.all_logits, lambda x: next(session.generate(x, GREEDY, 1))):
        with pytest.raises(UsageError, match=message):
            use(ids)
    assert_same_timeline(session, engine, [])


@pytest.mark.parametrize("context", [0, -1, 2049])
def test_senseless_context(engine: Engine, context: int) -> None:
    with pytest.raises(UsageError, match="expected 1 to 2048"):
        Session(engine, context)


@pytest.mark.parametrize("chunk", [0, -3, 513])
def test_senseless_chunk(engine: Engine, chunk: int) -> None:
    with pytest.raises(UsageError, match="expected 1 to 512"):
        Session(engine).logits([1], chunk=chunk)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"seed": -1},
        {"top_k": -1},
        {"top_p": -0.1},
        {"top_p": 1.5},
        {"top_p": float("nan")},
        {"min_p": 2.0},
        {"seed": 1 << 64},
    ],
)
def test_senseless_sampling(options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="expected a"):
        Sampling(**options)  # type: ignore[arg-type]


def test_weights_that_are_not_finite(gemma_engine: Engine) -> None:
    """Reported when a token is drawn, at temperature zero and above; the file keeps its weights."""
    if not gemma_engine.device.info["has_unified_memory"]:
        pytest.skip("weights lie where the host can't write")
    memory = gemma_engine.weights["model.norm.weight"].memory
    np.frombuffer(memory.buffer, np.float32, 24, memory.offset)[:] = np.nan
    for sampling in (GREEDY, Sampling(1.0)):
        with pytest.raises(DeviceError, match="no finite logits"):
            list(Session(gemma_engine).generate([1, 2], sampling, 4))


def test_errors_say_what_to_do(engine: Engine) -> None:
    with pytest.raises(FastgoError) as caught:
        Session(engine).prefill([])
    assert caught.value.hint and "\n" not in caught.value.message
