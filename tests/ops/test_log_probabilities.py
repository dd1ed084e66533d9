"""log_probabilities: log-softmax of the chosen and of the likeliest tokens against float64."""

from __future__ import annotations

import numpy as np
import pytest
from fastgo.ops.log_probabilities import MOST_LIKELY, reference
from harness import Array, run
from variants import Variant


def measured(variant: Variant, logits: Array, token: Array) -> tuple[Array, Array]:
    rows = token.size
    inputs = {
        "logits": logits,
        "token": token.astype(np.int32),
        "values": np.full((rows, 1 + MOST_LIKELY), np.nan, np.float32),
        "likely": np.full((rows, MOST_LIKELY), -7, np.int32),
    }
    got = variant.call(run, "log_probabilities", inputs, {})
    return got["values"], got["likely"]


@pytest.mark.parametrize("vocab_size", [1, 7, 255, 4097, 49152, 262144])
def test_log_probabilities(variant: Variant, vocab_size: int) -> None:
    rng = np.random.default_rng(vocab_size)
    rows = 3 if vocab_size > 10_000 else 64
    logits = rng.normal(0.0, 3.0, (rows, vocab_size)).astype(np.float32)
    logits[0] = np.round(logits[0])  # equal ones
    logits[1:2, 1:] -= 90.0
    token = rng.integers(0, vocab_size, rows)
    values, likely = measured(variant, logits, token)
    want_values, want_likely = reference(logits.astype(np.float64), token)
    np.testing.assert_array_equal(likely, want_likely)
    np.testing.assert_allclose(values, want_values, rtol=1e-6, atol=1e-5)


def test_what_is_never_drawn_has_no_probability(variant: Variant) -> None:
    logits = np.full((2, 600), np.nan, np.float32)
    logits[0, [5, 300]] = (1.0, 1.0)
    logits[0, 100:200] = -np.inf
    values, likely = measured(variant, logits, np.array([300, 2]))
    assert likely[0].tolist() == [5, 300] + [-1] * (MOST_LIKELY - 2)
    np.testing.assert_allclose(values[0, :3], np.log(0.5), rtol=1e-6)
    assert np.all(values[0, 3:] == -np.inf) and np.all(values[1] == -np.inf) and np.all(likely[1] == -1)
