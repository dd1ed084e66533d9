"""Spreads, percentiles, comparisons with a baseline, and rows as text."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from fastgo.bench import baseline, report
from fastgo.bench.spread import Spread, percentile
from fastgo.errors import InvalidFileError, RegressionError, UsageError
from hypothesis import given
from hypothesis import strategies as st


def row(median: float, low: float, high: float, **other: Any) -> dict[str, Any]:
    figures = {"median": median, "min": low, "max": high}
    return {"test": "tg128", "batch": 1, "depth": 0, "model": "m", "device": "cpu", "tokens_per_s": figures, **other}


def test_seconds_become_rates_with_the_ends_swapped() -> None:
    assert Spread.of([4.0, 1.0, 2.0]).map(lambda s: 8 / s) == Spread(median=4.0, min=2.0, max=8.0)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(1, 100))
def test_a_percentile_is_the_smallest_sample_that_covers_so_many(samples: list[float], percent: float) -> None:
    found = percentile(samples, percent)
    covered = sum(sample <= found for sample in samples)
    below = sum(sample < found for sample in samples)
    assert found in samples
    assert covered >= len(samples) * percent / 100 > below


@pytest.mark.parametrize(
    ("now", "then", "is_regression"),
    [
        (row(90, 89, 91), row(100, 99, 101), True),
        (row(96, 95.9, 96.1), row(100, 99.9, 100.1), False),
        (row(90, 80, 100), row(100, 99, 101), False),
        (row(90, 89, 91), row(100, 88, 101), False),
        (row(110, 109, 111), row(100, 99, 101), False),
    ],
    ids=["slower", "within 5 %", "noisy now", "noisy then", "faster"],
)
def test_what_is_a_regression(now: dict[str, Any], then: dict[str, Any], is_regression: bool) -> None:
    comparisons = baseline.compare([now], [then])
    assert [c.is_regression for c in comparisons] == [is_regression]
    if is_regression:
        with pytest.raises(RegressionError, match=r"1 of 1 tests .* \(-10\.0 %, slower\)"):
            baseline.check(comparisons)
    else:
        baseline.check(comparisons)


def test_only_equal_tests_are_compared() -> None:
    rows = [row(50, 50, 50), row(50, 50, 50, depth=2048)]
    assert len(baseline.compare(rows, [row(100, 100, 100, depth=2048), row(100, 100, 100, model="n")])) == 1
    with pytest.raises(UsageError, match="none of these tests"):
        baseline.compare(rows, [row(100, 100, 100, device="metal")])


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", "[" * 100_000, "\udcff"], ids=["empty", "object", "number", "deep", "bytes"]
)
def test_a_baseline_that_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InvalidFileError, match="no result of a benchmark"):
        baseline.load(path)


@pytest.mark.parametrize(
    "figures",
    [None, {}, {"median": "x"}, {"median": 1, "min": 2, "max": 3}, {"median": 1, "min": 0, "max": float("nan")}],
)
def test_figures_that_make_no_sense_are_refused(tmp_path: Path, figures: Any) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps([row(1, 1, 1) | {"tokens_per_s": figures}, {"test": "stages"}]))
    earlier = baseline.load(path)
    with pytest.raises(InvalidFileError, match="make no sense"):
        baseline.compare([row(1, 1, 1)], earlier)


def test_an_absent_baseline_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't read"):
        baseline.load(tmp_path / "nosuch.json")


def test_rows_as_markdown_and_comma_separated() -> None:
    rows = [row(1.25, 1, 2, memory_bytes=2_500_000, peak_memory_bytes=None, machine='a "b", c')]
    lines = report.markdown(rows).splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[1:5]] == ["tg128", "1", "0", "1.2"]
    assert len({line.count("|") for line in lines}) == 1
    parsed = list(csv.DictReader(io.StringIO(report.comma_separated(rows))))
    assert parsed[0]["tokens_per_s.max"] == "2" and parsed[0]["machine"] == 'a "b", c'
