"""sample: any logits, with equals, infinities and NaN, and extreme parameters, against the float64 reference."""

from __future__ import annotations

import numpy as np
from fastgo.engine.sampling import Sampling
from fastgo.ops.sample import gumbel_noise, keep, reference
from harness import Array
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_sample import POSITIONS, sample_rows
from variants import Variant

LARGEST = 60.0  # of the logits; with the least temperature below, what float32 can still tell apart


@st.composite
def rows_of_logits(draw: st.DrawFn) -> Array:
    """Up to four spans of normal or of few different values, some of them never to be drawn."""
    vocab_size = draw(st.sampled_from([1, 2, 5, 31, 127, 128, 129, 511, 512, 513, 4095, 4096, 4097, 12289]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if draw(st.booleans()):
        logits = rng.normal(0.0, draw(st.sampled_from([1e-6, 0.1, 1.0, 3.0, 12.0])), vocab_size)
    else:
        values = draw(st.lists(st.floats(-LARGEST, LARGEST, width=32), min_size=1, max_size=4))
        logits = rng.choice(values, vocab_size)
    for outlaw in draw(st.lists(st.sampled_from([-np.inf, np.nan, -3e38, -0.0, LARGEST]), max_size=3)):
        logits[rng.random(vocab_size) < draw(st.sampled_from([0.01, 0.5, 1.0]))] = outlaw
    return np.clip(logits, -np.inf, LARGEST).astype(np.float32)


parts = st.sampled_from([0.0, 1.0]) | st.floats(0.0, 1.0, width=32) | st.sampled_from([1e-30, 1e-6, 0.5, 0.95])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    logits=rows_of_logits(),
    temperature=st.sampled_from([0.0, 0.01, 0.3, 1.0, 30.0, 1e6]),
    top_k=st.sampled_from([0, 1, 2, 40, 2049, 2**31 - 1]) | st.integers(1, 13000),
    top_p=parts,
    min_p=parts,
    seed=st.integers(0, 2**64 - 1),
    position=st.integers(0, POSITIONS - 1),
)
def test_any_row_and_parameters(
    variant: Variant,
    logits: Array,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    seed: int,
    position: int,
) -> None:
    sampling = Sampling(temperature, seed, top_k, float(np.float32(top_p)), float(np.float32(min_p)))
    filters = {"top_k": top_k, "top_p": sampling.top_p, "min_p": sampling.min_p}
    exact = logits.astype(np.float64)
    if np.any(exact > -3e38) and not sampling.is_greedy:
        # What float32 can't decide: filters that nearly decide otherwise, and two scores that are nearly equal.
        kept = keep(exact, temperature=temperature, **filters)  # type: ignore[arg-type]
        scores = np.sort(exact[kept.ids] / temperature + gumbel_noise(kept.ids, seed=seed, position=position))
        rounding = 1e-5 + 3e-7 * LARGEST / temperature
        assume(kept.margin > rounding and (scores.size == 1 or scores[-1] - scores[-2] > rounding))
    wanted = reference(
        exact,
        temperature=0.0 if sampling.is_greedy else temperature,
        seed=seed,
        position=position,
        **filters,  # type: ignore[arg-type]
    )
    assert variant.call(sample_rows, logits, [sampling], [position]) == [wanted]
