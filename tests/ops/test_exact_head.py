"""The exact output head: finished logits have the product's bits, and no row is left out that could win."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from fastgo.assets import head_index, quant
from fastgo.assets.head_index import DIRECTIONS, HeadIndex, Spread
from fastgo.ops.exact_head import NOT_FINISHED, IndexTensors, exact_head
from fastgo.ops.matmul import matmul
from harness import Array, Bench, Weight
from hypothesis import given, settings
from hypothesis import strategies as st
from variants import Variant

VOCAB, COLUMNS = 5000, 192  # the last group is short


def head(rng: np.random.Generator, rows: int, columns: int) -> Weight:
    """A matrix as a model's: rows of different lengths, integers that fill their range."""
    low = np.clip(rng.normal(0.0, 45.0, (rows, columns)), -128, 127).astype(np.int8)
    planar = np.zeros(quant.total_nbytes("q8_0", rows, columns), np.uint8)
    views = quant.plane_views("q8_0", planar, rows, columns)
    views["low"][:] = low
    views["scales"][:] = rng.uniform(0.5, 1.5, views["scales"].shape) * rng.lognormal(-6.0, 0.3, (rows, 1))
    return Weight("q8_0", (rows, columns), planar)


def states(rng: np.random.Generator, count: int, columns: int) -> Array:
    """Hidden states that mostly lie along a few directions, as a model's do."""
    mixing = rng.normal(0.0, 1.0, (columns, columns)) * np.geomspace(30.0, 0.3, columns)[:, None]
    return np.asarray(rng.normal(0.0, 1.0, (count, columns)) @ mixing / np.sqrt(columns), np.float32)


@cache
def model() -> tuple[Weight, Array, dict[str, Array | Weight]]:
    """A head, hidden states that calibration did not see, and the index."""
    rng = np.random.default_rng(5)
    weight, x = head(rng, VOCAB, COLUMNS), states(rng, 700, COLUMNS)
    planes = quant.plane_views("q8_0", weight.planar, VOCAB, COLUMNS)
    index = head_index.build(planes, Spread.of(x[:600]))
    arrays: dict[str, Array | Weight] = {
        "tiles": index.tiles,
        "basis": index.basis,
        "norms": index.norms,
    }
    return weight, x[600:], arrays


def run_head(wanted: list[int], count: int) -> list[tuple[Array, Array]]:
    """For hidden states and numbers of wanted logits: the logits of the full product, and those of the exact head."""
    weight, x, index = model()
    # Wide devices have a one-row product of their own, which adds in another order; decode there has no exact head.
    bench = Bench({"x": x[:1], "weight": weight, "wanted": np.zeros(1, np.uint32), **index}, width=1)
    t = bench.tensors
    tensors = IndexTensors(*(t[name] for name in ("tiles", "basis", "norms")))
    bench.prepare({"full": matmul(t["x"], t["weight"]), "exact": exact_head(t["x"], t["weight"], tensors, t["wanted"])})
    results = []
    for state in x[:count]:
        bench.write("x", state)
        for number in wanted:
            bench.write("wanted", np.array([number], np.uint32))
            outputs = bench.run()
            results.append((outputs["full"][0], outputs["exact"][0]))
    return results


def test_wanted_logits_have_the_bits_of_the_full_product(variant: Variant) -> None:
    wanted = [1, 7, 20]
    results = variant.call(run_head, wanted, 40 if variant.is_native else 6)
    left: dict[int, list[int]] = {number: [] for number in wanted}
    for i, (full, exact) in enumerate(results):
        number = wanted[i % len(wanted)]
        least = np.sort(full)[-number]
        finished = exact != NOT_FINISHED
        assert finished[full >= least].all()
        assert np.array_equal(exact[finished].view(np.uint32), full[finished].view(np.uint32))
        left[number].append(int(finished.sum()))
    assert np.median(left[1]) < VOCAB / 20, "the bound leaves too many rows"


@pytest.mark.parametrize("wanted", [0, 21, 5000])
def test_all_logits_when_all_or_too_many_are_wanted(variant: Variant, wanted: int) -> None:
    for full, exact in variant.call(run_head, [wanted], 2):
        assert np.array_equal(full.view(np.uint32), exact.view(np.uint32))


def run_nan() -> Array:
    weight, x, index = model()
    bench = Bench({"x": np.full_like(x[:1], np.nan), "weight": weight, "wanted": np.ones(1, np.uint32), **index})
    t = bench.tensors
    tensors = IndexTensors(*(t[name] for name in ("tiles", "basis", "norms")))
    bench.prepare({"exact": exact_head(t["x"], t["weight"], tensors, t["wanted"])})
    return bench.run()["exact"]


def test_a_nan_is_not_hidden(variant: Variant) -> None:
    assert np.isnan(variant.call(run_nan)).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    pairs=st.integers(1, 3),
    scale=st.floats(1e-4, 1e4),
    outlier=st.floats(0.0, 1e3),
    is_calibrated=st.booleans(),
)
def test_the_bound_holds(seed: int, pairs: int, scale: float, outlier: float, is_calibrated: bool) -> None:
    """In float64, with float32's rounding of the index and of the coordinates, for states of any kind."""
    rng = np.random.default_rng(seed)
    columns = 64 * pairs
    weight = head(rng, 64, columns)
    x = states(rng, 50, columns) * np.float32(scale)
    x[:, seed % columns] += np.float32(outlier * scale)
    seen = x[:40] if is_calibrated else rng.normal(0.0, 1.0, (40, columns)).astype(np.float32)
    planes = quant.plane_views("q8_0", weight.planar, 64, columns)
    index = head_index.build(planes, Spread.of(seen))
    dense = weight.dense()
    scales = np.repeat(planes["scales"].astype(np.float64), 32, axis=1)
    low = scales * ((planes["low"].astype(np.int64) + 128) % 16 - 7.5)
    sketch, bounds = sketch_and_bounds(index, columns)
    for state in x[40:]:
        y = index.basis @ state
        estimate = (dense - low) @ state.astype(np.float64) + sketch @ y.astype(np.float64)
        length = float(np.square(state.astype(np.float64)).sum())
        weights, (rest_weight, reach_error, rounding) = index.norms[:DIRECTIONS], index.norms[DIRECTIONS:]
        rest = max(length - float(np.square(y.astype(np.float64)).sum()), 0.0) + 1e-4 * length
        reach = 1.001 * np.sqrt(np.square(y.astype(np.float64)) @ weights + rest * rest_weight)
        bound = bounds * (reach + reach_error * np.sqrt(length)) + rounding * np.sqrt(length)
        assert (np.abs(dense @ state.astype(np.float64) - estimate) <= bound).all()


def sketch_and_bounds(index: HeadIndex, columns: int) -> tuple[Array, Array]:
    """The dense sketch (rows, DIRECTIONS) and bounds (rows,) that tiles hold."""
    tiles = index.tiles.reshape(-1, head_index.tiles_nbytes(16, columns))
    begin = columns * 9
    end = begin + DIRECTIONS * 16
    sketch = tiles[:, begin:end].reshape(-1, DIRECTIONS // 4, 16, 4).transpose(0, 2, 1, 3).reshape(-1, DIRECTIONS)
    floats = np.ascontiguousarray(tiles[:, end : end + 128]).view(np.float32)
    scales, bounds = floats[:, :16].reshape(-1, 1), floats[:, 16:].reshape(-1)
    return (sketch.astype(np.float64) - 128) * scales, bounds
