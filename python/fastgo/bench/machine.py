"""What a measurement ran on: facts that go with every row, and the machine's own limits. Bytes, seconds."""

from __future__ import annotations

import os
import platform
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
_PRODUCT_SIZE = 1024
# Features that /proc/cpuinfo must name for each instruction set of the CPU's kernels, best first.
_X86_SETS = {
    "avx512": {"avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"},
    "avx2": {"avx2", "fma", "f16c"},
    "x86-64-v2": set[str](),
}


@dataclass(frozen=True)
class Limits:
    """What the machine was measured to do, a second: bytes read from memory, float32 operations of NumPy's product."""

    bytes_per_s: float
    operations_per_s: float

    @classmethod
    def measure(cls) -> Limits:
        """Takes about a second."""
        return cls(read_bandwidth(cpu_threads()), float32_operations())

    def to_json(self) -> dict[str, Any]:
        """In the form of a row."""
        return {
            "test": "limits",
            "read_bytes_per_s": self.bytes_per_s,
            "float32_operations_per_s": self.operations_per_s,
        }


def facts(device: _fastmetal.Device) -> dict[str, Any]:
    """Machine, device, build and switches, as plain JSON. `threads` and `isa` are None on anything but the CPU."""
    is_cpu = device_kind(device.info) == "cpu"
    return {
        "device": device_kind(device.info),
        "machine": f"{device.info['name']}, {platform.system()} {platform.machine()}",
        "threads": cpu_threads() if is_cpu else None,
        "isa": _instruction_set() if is_cpu else None,
        "version": fastgo.__version__,
        "commit": _commit(),
        "switches": {name: text for name, text in switches.set_switches().items() if name != "FASTGO_CACHE_DIR"},
    }


def cpu_threads() -> int:
    """The threads that were asked for, else the processors that this process may use."""
    asked = switches.value("FASTGO_THREADS") or ""
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


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


def float32_operations() -> float:
    """Operations a second of NumPy's float32 matrix product, on all cores: the best of some passes."""
    a: npt.NDArray[np.float32] = np.ones((_PRODUCT_SIZE, _PRODUCT_SIZE), np.float32)
    return 2 * _PRODUCT_SIZE**3 / min(_seconds(lambda: a @ a) for _ in range(_PASSES))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _instruction_set() -> str:
    if switches.value("FASTGO_CPU_KERNELS") == "msl":
        return "msl"
    asked = switches.value("FASTGO_CPU_ISA")
    if asked:
        return asked
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return "neon"
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return "unknown"
    flags = set(next((line for line in text.splitlines() if line.startswith("flags")), "").split())
    return next(name for name, needed in _X86_SETS.items() if needed <= flags)


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
