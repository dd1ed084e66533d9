"""sample: greedy, the Philox reference, and the exact softmax, by every way to run it."""

from __future__ import annotations

import numpy as np
import pytest
from fastgo.engine.sampling import Sampling
from fastgo.ops import cases
from fastgo.ops.sample import philox, reference
from harness import Array, prepared, random_rows, run
from variants import Variant

CHI_SQUARE_LIMIT = 39.1  # exceeded once in 10,000 times with 12 degrees of freedom
COUNTER = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
KEY = (0xA4093822, 0x299F31D0)
RESULT = (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


def sample_inputs(logits: Array, temperature: float, seed: int, position: int) -> dict[str, Array]:
    return {
        "logits": logits.reshape(1, -1).astype(np.float32),
        "parameters": np.frombuffer(Sampling(temperature, seed).pack(), np.uint32),
        "positions": np.array([position], np.int32),
        "token": np.array([-7], np.int32),
        "next_position": np.array([-7], np.int32),
        "history": np.full(40, -7, np.int32),
    }


def sample_once(logits: Array, temperature: float, seed: int, position: int) -> int:
    """The token; checks what else must be written."""
    got = run("sample", sample_inputs(logits, temperature, seed, position), {})
    token = int(got["token"][0])
    history = np.full(40, -7, np.int32)
    history[position] = token
    np.testing.assert_array_equal(got["history"], history)
    assert got["next_position"][0] == position + 1
    return token


def sample_often(logits: Array, temperature: float, count: int) -> Array:
    """Tokens of `count` seeds and positions."""
    bench = prepared("sample", sample_inputs(logits, temperature, 0, 0), {})
    tokens = np.empty(count, np.int64)
    for i in range(count):
        bench.write("parameters", np.frombuffer(Sampling(temperature, i * 0x1_0000_0003).pack(), np.uint32))
        bench.write("positions", np.array([i % 40], np.int32))
        tokens[i] = bench.run()["token"][0]
    return tokens


def test_philox_known_answers() -> None:
    """From the test vectors of the paper's own library, Random123."""
    assert tuple(philox(KEY, np.array([COUNTER], np.uint32))[0]) == RESULT
    assert tuple(philox((0, 0), np.zeros((1, 4), np.uint32))[0]) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)


@pytest.mark.parametrize("vocab_size", cases.VOCABULARIES)
def test_greedy(variant: Variant, vocab_size: int) -> None:
    logits = random_rows(24, vocab_size)
    for best in {0, vocab_size // 2, vocab_size - 1}:
        peaked = logits.copy()
        peaked[best] = 99.0
        assert variant.call(sample_once, peaked, 0.0, 5, 39) == best


def test_greedy_takes_the_lowest_of_equals(variant: Variant) -> None:
    logits = np.zeros(9000, np.float32)
    assert variant.call(sample_once, logits, 0.0, 0, 0) == 0
    logits[[8999, 4096, 5000]] = 1.0
    assert variant.call(sample_once, logits, 0.0, 0, 0) == 4096


def test_greedy_of_very_low_logits(variant: Variant) -> None:
    logits = np.full(70, -3e38, np.float32)
    logits[33] = -2e38
    assert variant.call(sample_once, logits, 0.0, 0, 0) == 33


def test_logits_without_a_number_give_no_token(variant: Variant) -> None:
    for temperature in (0.0, 1.0):
        assert variant.call(sample_once, np.full(70, np.nan, np.float32), temperature, 0, 0) == -1


@pytest.mark.parametrize("vocab_size", cases.VOCABULARIES)
def test_drawn_tokens_are_the_reference(variant: Variant, vocab_size: int) -> None:
    logits = random_rows(25, vocab_size)
    for seed, position, temperature in ((0, 0, 1.0), (1 << 63 | 12345, 7, 0.3), (0xFFFFFFFF, 39, 4.0)):
        want = reference(logits.astype(np.float64), temperature=temperature, seed=seed, position=position)
        assert variant.call(sample_once, logits, temperature, seed, position) == want


def test_draws_follow_the_softmax(variant: Variant) -> None:
    """Pearson's chi-square over 12 likely tokens spread over three spans, and all others together."""
    count, temperature = 3000, 0.7
    logits = np.full(9000, -8.0)
    likely = np.array([0, 1, 77, 4000, 4095, 4096, 4097, 5000, 8191, 8192, 8500, 8999])
    logits[likely] = np.linspace(-1.0, 1.0, likely.size)
    exact = np.exp(logits / temperature)
    exact /= exact.sum()
    probabilities = np.append(exact[likely], 1.0 - exact[likely].sum())
    tokens = variant.call(sample_often, logits, temperature, count)
    observed = np.array([*(np.sum(tokens == token) for token in likely), np.sum(~np.isin(tokens, likely))])
    expected = count * probabilities
    assert expected.min() > 5
    statistic = np.sum((observed - expected) ** 2 / expected)
    print(f"chi-square {variant.name}: {statistic:.1f} with {likely.size} degrees of freedom")
    assert statistic < CHI_SQUARE_LIMIT


def test_seed_position_and_temperature_matter(variant: Variant) -> None:
    logits = np.zeros(5000, np.float32)
    base = variant.call(sample_once, logits, 1.0, 1, 1)
    assert variant.call(sample_once, logits, 1.0, 1, 1) == base
    others = [variant.call(sample_once, logits, 1.0, *other) for other in ((2, 1), (1, 2), (1 + (1 << 32), 1))]
    assert base not in others and len(set(others)) == 3
