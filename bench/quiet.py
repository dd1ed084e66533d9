"""How much of the machine others use while something is measured; a comparison on a busy machine is worth little.

Programs differ in how they stand being disturbed (one that spins at barriers loses most), so ratios of a busy machine
are not those of a quiet one. Fractions are of all processors; known on Linux only.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
_IDLE_COLUMNS = (3, 4)  # idle and waiting for input or output
_GUEST_COLUMNS = 8  # later columns are counted in the first ones already
_PROBE_S = 0.5


class OthersLoad:
    """The processor time that processes other than this one and its ended children have used since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._others = _others_seconds()

    def fraction(self) -> float | None:
        """Of all processors since the start; None where the system does not tell."""
        others = _others_seconds()
        if others is None or self._others is None:
            return None
        elapsed = time.perf_counter() - self._start
        return max(0.0, others - self._others) / elapsed / (os.cpu_count() or 1)


def wait_until_quiet(limit: float, deadline: float) -> None:
    """Waits until others use less than the fraction `limit`, at most until `deadline` (time.monotonic())."""
    while time.monotonic() < deadline:
        load = OthersLoad()
        time.sleep(_PROBE_S)
        if (load.fraction() or 0.0) <= limit:
            return


def _others_seconds() -> float | None:
    try:
        line = Path("/proc/stat").read_text().splitlines()[0]
        ticks = [int(text) for text in line.split()[1 : 1 + _GUEST_COLUMNS]]
    except (OSError, ValueError, IndexError):
        return None
    busy = sum(count for column, count in enumerate(ticks) if column not in _IDLE_COLUMNS) * _TICK_S
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return busy - sum(usage.ru_utime + usage.ru_stime for usage in own)
