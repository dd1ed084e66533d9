"""What is kept of repeated measurements: the median and how far they are apart. Units are those of the samples."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of some samples."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """Raises ValueError if there are no samples."""
        return cls(statistics.median(samples), min(samples), max(samples))

    def map(self, change: Callable[[float], float]) -> Spread:
        """The spread of samples that a monotonic function changed; a falling one swaps smallest and largest."""
        ends = (change(self.min), change(self.max))
        return Spread(change(self.median), min(ends), max(ends))

    @property
    def width(self) -> float:
        """How far the samples are apart."""
        return self.max - self.min

    def to_json(self) -> dict[str, float]:
        """As the rows of `fastgo bench` hold it."""
        return {"median": self.median, "min": self.min, "max": self.max}


def percentile(samples: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest sample that at least `percent` of all do not exceed."""
    ordered = sorted(samples)
    rank = math.ceil(len(ordered) * percent / 100)
    return ordered[max(0, rank - 1)]
