"""Rotary tables: radians a position for each pair of a head, under every scaling of long contexts.

A table is (rotary_dim / 2,) float32, computed in float32 as checkpoints were trained with it. `rotary_dim` is the part
of a head that is rotated. Scalings take a plain table and return another; YaRN also has a factor for cosines and sines.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[np.float32]


def rope_table(theta: float, rotary_dim: int) -> Table:
    """theta^(-2i / rotary_dim). Su et al. 2021."""
    exponents = np.arange(0, rotary_dim, 2, dtype=np.float32) / np.float32(rotary_dim)
    return np.asarray(np.float32(1.0) / np.float32(theta) ** exponents, np.float32)


def linear(table: Table, factor: float) -> Table:
    """Positions divided by `factor`. Chen et al. 2023."""
    return np.asarray(table / np.float32(factor), np.float32)


def llama3(
    table: Table, *, factor: float, low_freq_factor: float, high_freq_factor: float, original_context: int
) -> Table:
    """Llama 3.1: slow pairs divided by `factor`, fast ones kept, a blend between.

    A pair counts as slow below `low_freq_factor` turns within `original_context` positions, as fast above
    `high_freq_factor` turns.
    """
    turns = np.float32(original_context) * table / np.float32(2.0 * math.pi)
    kept = np.clip((turns - low_freq_factor) / (high_freq_factor - low_freq_factor), 0.0, 1.0).astype(np.float32)
    return np.asarray((1 - kept) * table / np.float32(factor) + kept * table, np.float32)


def yarn(
    table: Table,
    *,
    theta: float,
    factor: float,
    original_context: int,
    beta_fast: float = 32.0,
    beta_slow: float = 1.0,
    truncate: bool = True,
) -> Table:
    """YaRN: slow pairs divided by `factor`, fast ones kept, a ramp over the pairs between. Peng et al. 2023.

    A pair counts as fast above `beta_fast` turns within `original_context` positions, as slow below `beta_slow`;
    `truncate` rounds the two ends of the ramp outwards to whole pairs.
    """
    rotary_dim = 2 * table.size

    def pair_with(turns: float) -> float:
        return rotary_dim * math.log(original_context / (turns * 2.0 * math.pi)) / (2.0 * math.log(theta))

    first, last = pair_with(beta_fast), pair_with(beta_slow)
    if truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, rotary_dim - 1)
    if first == last:
        last += 0.001
    ramp = np.clip((np.arange(table.size, dtype=np.float32) - np.float32(first)) / np.float32(last - first), 0.0, 1.0)
    return np.asarray(table / np.float32(factor) * ramp + table * (1 - ramp), np.float32)


def yarn_attention_factor(factor: float, mscale: float = 0.0, mscale_all_dim: float = 0.0) -> float:
    """What cosines and sines are multiplied by under YaRN where the checkpoint names no `attention_factor`.

    The square of it sharpens the scores of a context that is `factor` times longer. DeepSeek's checkpoints give it as
    the ratio of two.
    """

    def temperature(scale: float) -> float:
        return 0.1 * scale * math.log(factor) + 1.0 if factor > 1.0 else 1.0

    if mscale and mscale_all_dim:
        return temperature(mscale) / temperature(mscale_all_dim)
    return temperature(1.0)
