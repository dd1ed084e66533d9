"""Rotary tables against transformers' formulas, and against what the papers say of their ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fastgo.ops.rope_table import linear, llama3, rope_table, yarn, yarn_attention_factor

LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_context": 8192}
YARN = {"factor": 4.0, "original_context": 32768}


def official(rope_type: str, head_dim: int, parameters: dict[str, Any]) -> tuple[np.ndarray, float]:
    """transformers' table and factor for the same parameters."""
    utils = pytest.importorskip("transformers.modeling_rope_utils")
    config_class = pytest.importorskip("transformers").LlamaConfig
    rope = {"rope_type": rope_type, **parameters}
    config = config_class(hidden_size=4 * head_dim, num_attention_heads=4, head_dim=head_dim, rope_parameters=rope)
    table, factor = utils.ROPE_INIT_FUNCTIONS[rope_type](config)
    return table.numpy(), factor


def hugging_face_names(parameters: dict[str, Any]) -> dict[str, Any]:
    return {("original_max_position_embeddings" if k == "original_context" else k): v for k, v in parameters.items()}


@pytest.mark.parametrize("head_dim", [64, 80, 128, 256])
@pytest.mark.parametrize("theta", [10_000.0, 500_000.0, 1_000_000.0])
def test_scaled_tables_are_transformers(head_dim: int, theta: float) -> None:
    table = rope_table(theta, head_dim)
    want, _ = official("linear", head_dim, {"rope_theta": theta, "factor": 8.0})
    np.testing.assert_allclose(linear(table, 8.0), want, rtol=3e-7)
    for changes in ({}, {"factor": 32.0}, {"high_freq_factor": 2.0}):
        parameters = LLAMA3 | changes
        want, _ = official("llama3", head_dim, {"rope_theta": theta, **hugging_face_names(parameters)})
        np.testing.assert_allclose(llama3(table, **parameters), want, rtol=3e-6)
    for changes in ({}, {"factor": 40.0, "original_context": 4096}, {"beta_fast": 16.0, "beta_slow": 2.0}):
        parameters = YARN | changes
        want, factor = official("yarn", head_dim, {"rope_theta": theta, **hugging_face_names(parameters)})
        np.testing.assert_allclose(yarn(table, theta=theta, **parameters), want, rtol=1e-6)
        assert yarn_attention_factor(parameters["factor"]) == pytest.approx(factor)


def test_untruncated_yarn_is_transformers() -> None:
    want, _ = official("yarn", 64, {"rope_theta": 150_000.0, "truncate": False, **hugging_face_names(YARN)})
    table = yarn(rope_table(150_000.0, 64), theta=150_000.0, truncate=False, **YARN)
    np.testing.assert_allclose(table, want, rtol=1e-6)


def test_ends_of_the_tables() -> None:
    """Fast pairs are untouched, slow ones divided by the factor."""
    plain = rope_table(500_000.0, 128)
    for table, factor in (
        (llama3(plain, **LLAMA3), 8.0),
        (yarn(plain, theta=500_000.0, **YARN), 4.0),
    ):
        np.testing.assert_array_equal(table[:8], plain[:8])
        np.testing.assert_allclose(table[-4:], plain[-4:] / factor, rtol=1e-6)
        assert np.all(np.diff(table) < 0)


def test_yarn_attention_factor() -> None:
    assert yarn_attention_factor(1.0) == 1.0
    assert yarn_attention_factor(4.0) == pytest.approx(1.1386294)  # 0.1 ln 4 + 1
    assert yarn_attention_factor(40.0, 1.0, 1.0) == 1.0
    _, factor = official(
        "yarn", 64, {"rope_theta": 1e4, "mscale": 0.7, "mscale_all_dim": 1.1, **hugging_face_names(YARN)}
    )
    assert yarn_attention_factor(4.0, 0.7, 1.1) == pytest.approx(factor)
