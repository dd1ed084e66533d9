"""sample: greedy, the Philox reference, and the exact softmax, by every way to run it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from fastgo.engine.sampling import Sampling
from fastgo.ops import cases
from fastgo.ops.sample import keep, philox, reference
from harness import Array, prepared, random_rows, run
from variants import Variant

CHI_SQUARE_LIMIT = 39.1  # exceeded once in 10,000 times with 12 degrees of freedom
COUNTER = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
KEY = (0xA4093822, 0x299F31D0)
RESULT = (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)


POSITIONS = 40  # of a history


def packed(samplings: Sequence[Sampling]) -> Array:
    return np.stack([np.frombuffer(sampling.pack(), np.uint32) for sampling in samplings])


def sample_inputs(logits: Array, samplings: Sequence[Sampling], positions: Sequence[int]) -> dict[str, Array]:
    """Row r belongs to the r-th sequence from the end, so that the two can't be mixed up."""
    rows = len(samplings)
    return {
        "logits": logits.reshape(rows, -1).astype(np.float32),
        "parameters": packed(samplings[::-1]),
        "positions": np.array(positions, np.int32),
        "sequences": np.arange(rows, dtype=np.int32)[::-1],
        "token": np.full(rows, -7, np.int32),
        "next_position": np.full(rows, -7, np.int32),
        "history": np.full((rows, POSITIONS), -7, np.int32),
    }


def sample_rows(logits: Array, samplings: Sequence[Sampling], positions: Sequence[int]) -> list[int]:
    """The token of each row; checks what else must be written."""
    got = run("sample", sample_inputs(logits, samplings, positions), {})
    tokens = got["token"].tolist()
    history = np.full((len(tokens), POSITIONS), -7, np.int32)
    history[np.arange(len(tokens))[::-1], positions] = tokens
    np.testing.assert_array_equal(got["history"], history)
    np.testing.assert_array_equal(got["next_position"], np.array(positions) + 1)
    return tokens


def sample_once(logits: Array, temperature: float, seed: int, position: int) -> int:
    return sample_rows(logits, [Sampling(temperature, seed)], [position])[0]


def sample_often(logits: Array, sampling: Sampling, count: int, rows: int = 50) -> Array:
    """Tokens of `count` seeds and positions, a batch of `rows` at a time."""
    bench = prepared("sample", sample_inputs(np.tile(logits, (rows, 1)), [sampling] * rows, [0] * rows), {})
    tokens = []
    for first in range(0, count, rows):
        seeds = range(first, first + rows)
        bench.write("parameters", packed([replace(sampling, seed=seed * 0x1_0000_0003) for seed in seeds][::-1]))
        bench.write("positions", np.array([seed % POSITIONS for seed in seeds], np.int32))
        tokens.append(bench.run()["token"])
    return np.concatenate(tokens)


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


FILTERS = {
    "none": {},
    "top-k": {"top_k": 7},
    "top-p": {"top_p": 0.6},
    "min-p": {"min_p": 0.2},
    "all": {"top_k": 10, "top_p": 0.9, "min_p": 0.1},
}


def check_distribution(
    variant: Variant, name: str, sampling: Sampling, logits: Array, likely: Array, count: int, rows: int
) -> None:
    """Pearson's chi-square over the `likely` tokens, and all others together."""
    kept = keep(
        logits,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
    )
    exact = np.zeros(logits.size)
    exact[kept.ids] = kept.probabilities
    tokens = variant.call(sample_often, logits, sampling, count, rows)[:count]
    assert np.all(exact[tokens] > 0.0)
    probabilities = np.append(exact[likely], 1.0 - exact[likely].sum())
    observed = np.array([*(np.sum(tokens == token) for token in likely), np.sum(~np.isin(tokens, likely))])
    expected = count * probabilities
    possible = expected > 5.0
    assert np.count_nonzero(possible) > 3
    statistic = np.sum((observed - expected)[possible] ** 2 / expected[possible])
    print(
        f"chi-square {variant.name}, {name}: {statistic:.1f} with {np.count_nonzero(possible) - 1} degrees of freedom"
    )
    assert statistic < CHI_SQUARE_LIMIT


LIKELY = np.array([0, 1, 77, 4000, 4095, 4096, 4097, 5000, 8191, 8192, 8500, 8999])


@pytest.mark.parametrize("name", FILTERS)
def test_draws_follow_the_exact_distribution(variant: Variant, name: str) -> None:
    """12 likely tokens, spread over three spans."""
    logits = np.full(9000, -8.0)
    logits[LIKELY] = np.linspace(-1.0, 1.0, LIKELY.size)
    sampling = Sampling(0.7, **FILTERS[name])  # type: ignore[arg-type]
    check_distribution(variant, name, sampling, logits, LIKELY, 3000, 50)


@pytest.mark.parametrize("rows", [1, 2, 7, 31, 64])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_draws_of_any_batch_follow_the_exact_distribution(variant: Variant, rows: int, temperature: float) -> None:
    """Neighbours, whose noise comes from the same counters, and tokens a run of them apart."""
    logits = np.full(1100, -9.0)
    likely = np.array([0, 1, 2, 3, 127, 128, 129, 256, 384, 512, 640, 1099])
    logits[likely] = np.linspace(-1.0, 1.0, likely.size)
    count = 600 if rows == 1 else 2000
    check_distribution(variant, f"{rows} rows", Sampling(temperature), logits, likely, count, rows)


@pytest.mark.parametrize("name", ["none", "all"])
def test_draws_of_the_largest_vocabulary_follow_the_exact_distribution(variant: Variant, name: str) -> None:
    """12 likely tokens of 262,144, first and last among them, 64 rows at a time."""
    logits = np.full(262_144, -16.0)
    likely = np.array([0, 1, 4095, 4096, 65_535, 65_536, 100_000, 131_071, 131_072, 200_001, 262_142, 262_143])
    logits[likely] = np.linspace(-1.0, 1.0, likely.size)
    sampling = Sampling(0.8, **FILTERS[name])  # type: ignore[arg-type]
    check_distribution(variant, f"262144 {name}", sampling, logits, likely, 640, 64)


def check_filtered(variant: Variant, logits: Array, filters: dict[str, float], temperature: float, draws: int) -> None:
    """The device's tokens are the reference's. Skips what float32 can't decide."""
    wanted = {"temperature": temperature, **filters}
    logits = logits.astype(np.float32)
    if keep(logits.astype(np.float64), **wanted).margin < 1e-5:  # type: ignore[arg-type]
        return
    samplings = [Sampling(seed=seed, **wanted) for seed in range(draws)]  # type: ignore[arg-type]
    positions = [seed % POSITIONS for seed in range(draws)]
    want = [
        reference(logits.astype(np.float64), seed=seed, position=positions[seed], **wanted)  # type: ignore[arg-type]
        for seed in range(draws)
    ]
    assert variant.call(sample_rows, np.tile(logits, (draws, 1)), samplings, positions) == want


MANY_FILTERS: tuple[dict[str, float], ...] = (
    {"top_k": 1},
    {"top_k": 40},
    {"top_k": 1000},
    {"top_k": 3000},
    {"top_k": 10**6},
    {"top_p": 0.0},
    {"top_p": 0.5},
    {"top_p": 0.95},
    {"top_p": 0.999},
    {"min_p": 1.0},
    {"min_p": 0.05},
    {"min_p": 1e-6},
    {"top_k": 64, "top_p": 0.95},
    {"top_k": 20, "top_p": 0.8, "min_p": 0.01},
    {"top_p": 0.9, "min_p": 0.02},
)


@pytest.mark.parametrize("filters", MANY_FILTERS, ids=str)
@pytest.mark.parametrize("vocab_size", [1, 31, 4097, 49152])
def test_filtered_tokens_are_the_reference(variant: Variant, vocab_size: int, filters: dict[str, float]) -> None:
    check_filtered(variant, np.random.default_rng(vocab_size).normal(0.0, 3.0, vocab_size), filters, 1.3, 4)


@pytest.mark.parametrize("filters", [{"top_k": 64, "top_p": 0.95}, {"top_p": 0.9}, {"min_p": 0.1}], ids=str)
def test_filtered_tokens_of_a_large_vocabulary(variant: Variant, filters: dict[str, float]) -> None:
    """Also hot, where top-p keeps most of the vocabulary: far more than any list holds."""
    logits = np.random.default_rng(3).normal(0.0, 3.0, 262144)
    for temperature in (1.0, 20.0):
        check_filtered(variant, logits, filters, temperature, 2)


@pytest.mark.parametrize(
    "filters", [{"top_k": 5}, {"top_k": 2500}, {"top_p": 0.4}, {"top_k": 9, "top_p": 0.5}], ids=str
)
def test_lower_ids_of_equal_logits_are_kept(variant: Variant, filters: dict[str, float]) -> None:
    """Few values, so that every cut goes through equals; -0 equals 0."""
    rng = np.random.default_rng(9)
    for values in ([0.0], [1.0, 0.0, -0.0, -2.0], [3.0, 2.0]):
        check_filtered(variant, rng.choice(values, 5000), filters, 0.9, 16)


def test_logits_that_are_no_numbers_are_left_out(variant: Variant) -> None:
    logits = np.full(5000, np.nan, np.float32)
    logits[[7, 4100, 4999]] = (1.0, 1.1, 0.9)
    logits[8:4000] = -np.inf
    for filters in ({"top_k": 40}, {"top_p": 0.99}, {"min_p": 0.001}, {"top_k": 2}):
        samplings = [Sampling(1.0, seed, **filters) for seed in range(20)]  # type: ignore[arg-type]
        tokens = variant.call(sample_rows, np.tile(logits, (20, 1)), samplings, [3] * 20)
        assert set(tokens) == ({7, 4100} if filters == {"top_k": 2} else {7, 4100, 4999})


def test_each_row_has_parameters_of_its_own(variant: Variant) -> None:
    logits = np.random.default_rng(5).normal(0.0, 2.0, (64, 4500)).astype(np.float32)
    choices: list[dict[str, float]] = [{"temperature": 0.0}, *({"temperature": 1.1, **f} for f in MANY_FILTERS)]
    samplings = [Sampling(seed=row, **choices[row % len(choices)]) for row in range(64)]  # type: ignore[arg-type]
    positions = [row % POSITIONS for row in range(64)]
    tokens = variant.call(sample_rows, logits, samplings, positions)
    for row in range(64):
        alone = variant.call(sample_rows, logits[row], [samplings[row]], [positions[row]])
        assert tokens[row] == alone[0]


def test_seed_position_and_temperature_matter(variant: Variant) -> None:
    logits = np.zeros(5000, np.float32)
    base = variant.call(sample_once, logits, 1.0, 1, 1)
    assert variant.call(sample_once, logits, 1.0, 1, 1) == base
    others = [variant.call(sample_once, logits, 1.0, *other) for other in ((2, 1), (1, 2), (1 + (1 << 32), 1))]
    assert base not in others and len(set(others)) == 3
