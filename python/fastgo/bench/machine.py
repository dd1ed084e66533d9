"""What a measurement ran on: facts that go with every row, and the machine's own limits. Bytes, seconds."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import fastgo
from fastgo import _fastmetal, switches
from fastgo.engine.devices import device_kind

_PASSES = 6
_READ_BYTES_A_THREAD = 128 << 20  # far beyond any cache
_COPIED_BYTES = 1 << 30
_PRODUCT_SIZE = 1024
# How softmetal's CPU driver names itself: "softmetal CPU (AMD EPYC, 2 threads, avx512)".
_CPU_NAME = re.compile(r", (\d+) threads?, ([^,)]+)\)$")


@dataclass(frozen=True)
class Limits:
    """What the machine was measured to do, a second: bytes read from memory, float32 operations of NumPy's product."""

    bytes_per_s: float
    operations_per_s: float

    @classmethod
    def measure(cls, device: _fastmetal.Device) -> Limits:
        """Takes about a second. Memory is read by as many threads as the device has; a GPU copies its own memory."""
        if not device.info["has_unified_memory"]:
            return cls(copy_bandwidth(device), float32_operations())
        return cls(read_bandwidth(facts(device)["threads"] or os.cpu_count() or 1), float32_operations())

    def to_json(self) -> dict[str, Any]:
        """In the form of a row."""
        return {
            "test": "limits",
            "read_bytes_per_s": self.bytes_per_s,
            "float32_operations_per_s": self.operations_per_s,
        }


def facts(device: _fastmetal.Device) -> dict[str, Any]:
    """Machine, device, build and switches, as plain JSON. `threads` and `isa` are None on anything but the CPU."""
    name = str(device.info["name"])
    cpu = _CPU_NAME.search(name)
    return {
        "device": device_kind(device.info),
        "machine": f"{name}, {platform.system()} {platform.machine()}",
        "threads": int(cpu[1]) if cpu else None,
        "isa": cpu[2] if cpu else None,
        "version": fastgo.__version__,
        "commit": _commit(),
        "switches": {name: text for name, text in switches.set_switches().items() if name != "FASTGO_CACHE_DIR"},
    }


def peak_memory() -> int | None:
    """The most memory that this process has had resident so far, mapped files too; None where that is unknown."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def read_bandwidth(threads: int) -> float:
    """Bytes a second at which `threads` threads read memory beyond the caches: the best of some passes of NumPy."""
    memory = np.ones(threads * _READ_BYTES_A_THREAD // 8, np.int64)
    parts = np.array_split(memory, threads)
    with ThreadPoolExecutor(threads) as pool:
        seconds = [_seconds(lambda: list(pool.map(np.max, parts))) for _ in range(_PASSES)]
    return memory.nbytes / min(seconds)


def copy_bandwidth(device: _fastmetal.Device) -> float:
    """Bytes a second that the device reads and writes when it copies within its own memory: the best of some passes."""
    source, target = (device.buffer(_COPIED_BYTES, "copy bandwidth", False) for _ in range(2))
    seconds = []
    for _ in range(_PASSES):
        submission = device.copy(source, 0, target, 0, _COPIED_BYTES)
        submission.wait()
        seconds.append(submission.device_seconds)
    return 2 * _COPIED_BYTES / min(seconds)


def float32_operations() -> float:
    """Operations a second of NumPy's float32 matrix product, on all cores: the best of some passes."""
    a: npt.NDArray[np.float32] = np.ones((_PRODUCT_SIZE, _PRODUCT_SIZE), np.float32)
    return 2 * _PRODUCT_SIZE**3 / min(_seconds(lambda: a @ a) for _ in range(_PASSES))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _commit() -> str | None:
    """The commit of the source tree that fastgo is run from; None for an installed package."""
    root = Path(fastgo.__file__).resolve().parents[2]
    if not (root / "pyproject.toml").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
