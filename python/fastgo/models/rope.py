"""From a RopeConfig to its table: which of the scalings of ops/rope_table.py applies, and with which numbers."""

from __future__ import annotations

import numpy as np

from fastgo.models.config import RopeConfig
from fastgo.ops.rope_table import Table, linear, llama3, rope_table, yarn


def rope_frequencies(rope: RopeConfig, head_dim: int) -> Table:
    """Radians a position for each pair of a head, float32 (head_dim / 2,)."""
    table = rope_table(rope.theta, head_dim)
    if rope.scaling == "yarn":
        return yarn(
            table,
            theta=rope.theta,
            factor=rope.factor,
            original_context=rope.original_context,
            beta_fast=rope.high,
            beta_slow=rope.low,
        )
    if rope.scaling == "llama3":
        return llama3(
            table,
            factor=rope.factor,
            low_freq_factor=rope.low,
            high_freq_factor=rope.high,
            original_context=rope.original_context,
        )
    if rope.scaling == "divisors":
        return np.asarray(table / np.asarray(rope.divisors, np.float32), np.float32)
    return linear(table, rope.factor)
