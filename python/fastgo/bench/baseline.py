"""Comparing rows of `fastgo bench` with those of an earlier run.

A test is significantly slower when its median is, both, more than 5 % below the earlier one and further below it than
the samples of either run lie apart.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastgo.bench.spread import Spread
from fastgo.errors import InvalidFileError, RegressionError, UsageError

_TOLERANCE = 0.05
_MAX_FILE_BYTES = 16 << 20
_KEY = ("model", "device", "test", "batch", "depth")
_HINT = "give a file that `fastgo bench --format json` wrote"


@dataclass(frozen=True)
class Comparison:
    """One test now and then, in tokens a second."""

    name: str
    now: Spread
    then: Spread

    @property
    def change(self) -> float:
        """Relative change of the median; negative is slower."""
        return self.now.median / self.then.median - 1.0

    @property
    def is_regression(self) -> bool:
        noise = max(self.now.width, self.then.width)
        return self.change < -_TOLERANCE and self.then.median - self.now.median > noise

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.now.median:.1f} tok/s, baseline {self.then.median:.1f} "
            f"({100 * self.change:+.1f} %{', slower' if self.is_regression else ''})"
        )


def load(path: Path) -> list[dict[str, Any]]:
    """The rows of a file. Raises UsageError if it can't be read, InvalidFileError if it holds no rows."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror or error}", hint=_HINT) from None
    try:
        if len(data) > _MAX_FILE_BYTES:
            raise ValueError(f"larger than {_MAX_FILE_BYTES} bytes")
        rows = json.loads(data)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError("expected a list of rows")
    except (ValueError, RecursionError) as error:
        raise InvalidFileError(f"{path} is no result of a benchmark: {str(error)[:100]}", hint=_HINT) from None
    return [row for row in rows if "tokens_per_s" in row]


def compare(rows: Sequence[dict[str, Any]], baseline: Sequence[dict[str, Any]]) -> list[Comparison]:
    """Pairs the rows that measure the same test of the same model on the same kind of device.

    Raises InvalidFileError for a baseline without sound figures, UsageError if nothing can be compared.
    """
    then = {_key(row): row for row in baseline}
    comparisons = [
        Comparison(f"{row['test']} at depth {row['depth']}", _spread(row), _spread(then[_key(row)]))
        for row in rows
        if _key(row) in then
    ]
    if not comparisons:
        raise UsageError(
            "the baseline has none of these tests", hint="compare the same model, sizes, depths and device"
        )
    return comparisons


def check(comparisons: Sequence[Comparison]) -> None:
    """Raises RegressionError if a test is significantly slower."""
    slower = [c for c in comparisons if c.is_regression]
    if slower:
        raise RegressionError(
            f"{len(slower)} of {len(comparisons)} tests are slower than the baseline; {slower[0]}",
            hint="run again on a quiet machine to rule out chance",
        )


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(repr(row.get(name)) for name in _KEY)


def _spread(row: dict[str, Any]) -> Spread:
    figures = row["tokens_per_s"]
    try:
        low, middle, high = (float(figures[name]) for name in ("min", "median", "max"))
        if not (0.0 < low <= middle <= high and math.isfinite(high)):
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InvalidFileError(f"the baseline's tokens_per_s of {row['test']!r} make no sense", hint=_HINT) from None
    return Spread(middle, low, high)
