"""adjust_logits: penalties and bias against float64, and the counts that a decode step keeps."""

from __future__ import annotations

import numpy as np
import pytest
from fastgo.ops.adjust_logits import SEEN_IN_PROMPT, reference
from harness import Array, error, prepared, random_rows, run
from variants import Variant

ROWS, SEQUENCES = 5, 7


def penalties_of(seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        "repetition": rng.uniform(0.5, 2.0, SEQUENCES).astype(np.float32),
        "presence": rng.uniform(-2.0, 2.0, SEQUENCES).astype(np.float32),
        "frequency": rng.uniform(-2.0, 2.0, SEQUENCES).astype(np.float32),
        "prompt_length": np.array([0, 4, 5, 6, 9, 20, 3], np.uint32),
    }


def packed(penalties: dict[str, Array]) -> Array:
    names = ("repetition", "presence", "frequency", "prompt_length")
    return np.stack([penalties[name].view(np.uint32) for name in names], axis=1)


def random_inputs(vocab_size: int) -> dict[str, Array]:
    rng = np.random.default_rng(vocab_size)
    shape = (SEQUENCES, vocab_size)
    counts = rng.integers(0, 4, shape) * (rng.random(shape) < 0.3) + SEEN_IN_PROMPT * (rng.random(shape) < 0.3)
    return {
        "logits": random_rows(31, ROWS, vocab_size + 40)[:, :vocab_size].copy(),
        "tokens": rng.integers(0, vocab_size, ROWS).astype(np.int32),
        "positions": np.array([3, 4, 5, 6, 30], np.int32),
        "sequences": np.array([6, 2, 0, 5, 3], np.int32),
        "bias": (rng.normal(0.0, 3.0, shape) * (rng.random(shape) < 0.2)).astype(np.float32),
        "seen": counts.astype(np.uint32),
    }


@pytest.mark.parametrize("vocab_size", [1, 31, 256, 257, 4097])
def test_adjust_logits(variant: Variant, vocab_size: int) -> None:
    inputs, penalties = random_inputs(vocab_size), penalties_of(vocab_size)
    want, seen = reference(
        *(inputs[n].astype(np.float64) if n == "logits" else inputs[n] for n in inputs),
        **penalties,  # type: ignore[arg-type]
    )
    got = variant.call(run, "adjust_logits", {**inputs, "penalties": packed(penalties)}, {})
    np.testing.assert_array_equal(got["seen"], seen)
    assert error(got["y"], want) < 1e-6


def repeated(inputs: dict[str, Array]) -> Array:
    bench = prepared("adjust_logits", inputs, {})
    return np.stack([bench.run()["y"] for _ in range(3)])


def test_a_replayed_step_counts_on(variant: Variant) -> None:
    """Frequency 1 takes 1 more each time for the generated token; a token of the prompt is never counted."""
    inputs = {
        "logits": np.zeros((1, 9), np.float32),
        "tokens": np.array([4], np.int32),
        "positions": np.array([8], np.int32),
        "sequences": np.array([0], np.int32),
        "bias": np.zeros((1, 9), np.float32),
        "seen": np.zeros((1, 9), np.uint32),
    }
    for prompt_length, wanted in ((8, [-1.5, -2.5, -3.5]), (9, [0.0, 0.0, 0.0])):
        words = np.concatenate([np.array([1.0, 0.5, 1.0], np.float32).view(np.uint32), [np.uint32(prompt_length)]])
        adjusted = variant.call(repeated, {**inputs, "penalties": words.astype(np.uint32).reshape(1, 4)})
        assert adjusted[:, 0, 4].tolist() == wanted
        assert not np.delete(adjusted, 4, axis=2).any()


def test_nothing_set_changes_nothing(variant: Variant) -> None:
    inputs = random_inputs(500) | {"bias": np.zeros((SEQUENCES, 500), np.float32)}
    none = np.tile(np.array([1.0, 0.0, 0.0, 0.0], np.float32).view(np.uint32), (SEQUENCES, 1))
    got = variant.call(run, "adjust_logits", {**inputs, "penalties": none}, {})
    np.testing.assert_array_equal(got["y"], inputs["logits"])
