"""The one table of environment switches, for the CLI's `env` command and for all Python code that reads one.

The native part reads some of them itself; they are listed here all the same, so that a user finds every switch in one
place.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

SWITCHES: Mapping[str, str] = MappingProxyType(
    {
        "FASTGO_CACHE_DIR": "folder for imported models and compiled shaders, instead of the user's cache folder",
        "FASTGO_CUBLAS": "file of cuBLASLt for large products on NVIDIA GPUs, or 0: the shaders compute all of them",
        "FASTGO_CPU_KERNELS": "msl: the CPU runs the shaders themselves; native: its own SIMD kernels (the default)",
        "FASTGO_CPU_ISA": "instruction set of the CPU's kernels, instead of the best one that the machine has",
        "FASTGO_EXACT_HEAD": "0: decode multiplies the whole output matrix, and makes no index of it",
        "FASTGO_THREADS": "number of CPU threads, 1 to 1024, instead of one a core",
        "FASTGO_DEVICE": "name of the device to run on (cpu, cuda, cuda:1, metal), instead of the best one",
        "FASTGO_NVRTC": "file of NVRTC, CUDA's compiler, instead of the one that was installed with fastgo[cuda]",
        "FASTGO_TRACEBACK": "1: show the whole traceback of an unexpected error",
        "MTL_DEBUG_LAYER": "1: check every use of the Metal API and report mistakes",
        "MTL_DEBUG_LAYER_ERROR_MODE": "nslog: the debug layer reports a mistake and goes on, instead of stopping",
    }
)


_brought: set[str] = set()


def bring(name: str, text: str) -> None:
    """Sets a switch that the user left open, for the native half to read. It does not count as set by the user."""
    os.environ[name] = text
    _brought.add(name)


def value(name: str) -> str | None:
    """Returns a switch's value, or None if it is not set or empty. Raises KeyError for a name not in SWITCHES."""
    if name not in SWITCHES:
        raise KeyError(name)
    return os.environ.get(name) or None


def set_switches() -> dict[str, str]:
    """Returns the switches that the user has set, by name."""
    return {name: text for name in SWITCHES if name not in _brought and (text := value(name)) is not None}


def unknown_switches() -> list[str]:
    """Returns the names in the environment that look like ours but are not; most likely misspelt."""
    return sorted(name for name in os.environ if name.startswith("FASTGO_") and name not in SWITCHES)
