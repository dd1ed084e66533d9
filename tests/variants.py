"""The ways in which this machine can run the kernels, each in a process of its own: a process reads its switches once.

A variant is an instruction set of the CPU's native kernels, "msl" for the shaders themselves on the CPU, or "device"
for whatever the first device is where that is not the CPU.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from fastgo import _fastmetal
from fastgo.engine.devices import device_kind, open_device
from fastgo.graph.dag import KernelCall
from fastgo.graph.lower import Lowering

Result = TypeVar("Result")

_AVX512_BF16 = frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16"})
# What /proc/cpuinfo must list for the driver to use that instruction set.
_X86_FLAGS: Mapping[str, frozenset[str]] = {
    "avx512_amx": _AVX512_BF16 | {"amx_tile", "amx_bf16", "amx_int8"},
    "avx512_bf16": _AVX512_BF16,
    "avx512": frozenset({"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"}),
    "avx2": frozenset({"avx2", "fma", "f16c"}),
    "x86-64-v2": frozenset(),
}

# A variable that names a file; each process of a variant adds the names of the kernels that it records.
KERNELS_RUN = "FASTGO_TEST_KERNELS_RUN"

_ARM_SETS = ("neon_dotprod", "neon")


def names() -> list[str]:
    """The variants of this machine, fastest first."""
    if device_kind(open_device().info) != "cpu":
        return ["device"]
    if platform.machine() not in ("x86_64", "AMD64"):
        return [*_arm_sets(str(open_device().info["name"])), "msl"]
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    flags = frozenset(next(line for line in text.splitlines() if line.startswith("flags")).split())
    return [*(name for name, needed in _X86_FLAGS.items() if needed <= flags), "msl"]


def _arm_sets(device_name: str) -> Sequence[str]:
    """The sets from the best one on, which the device's name ends with: QEMU shows another machine's /proc/cpuinfo."""
    best = device_name.rstrip(")").rsplit(", ", 1)[-1]
    return _ARM_SETS[_ARM_SETS.index(best) :]


class Variant:
    """Runs functions of importable modules in the variant's process. One call at a time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._pool: ProcessPoolExecutor | None = None

    @property
    def is_native(self) -> bool:
        """Kernels written for the processor, not the shaders."""
        return self.name not in ("msl", "device")

    def call(self, function: Callable[..., Result], *arguments: object) -> Result:
        """The function's result; its exceptions too. A process that died is reported and replaced at the next call."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, get_context("spawn"), _enter, (self._switches(),))
        try:
            return self._pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            self._pool = None
            raise

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _switches(self) -> dict[str, str]:
        if self.name == "device":
            return {}
        if self.name == "msl":
            return {"FASTGO_CPU_KERNELS": "msl"}
        return {"FASTGO_CPU_KERNELS": "native", "FASTGO_CPU_ISA": self.name}


def _note_kernels(path: Path) -> None:
    """From now on every kernel that a graph is lowered to is named in the file, once."""
    dispatch, named = Lowering._dispatch, set[str]()

    def noted(self: Lowering, program: _fastmetal.Program, call: KernelCall) -> None:
        if call.kernel not in named:
            named.add(call.kernel)
            with path.open("a", encoding="utf-8") as file:
                file.write(f"{call.kernel}\n")
        dispatch(self, program, call)

    Lowering._dispatch = noted  # type: ignore[method-assign]


def _enter(switches: Mapping[str, str]) -> None:
    """Sets the switches before the device is opened, and makes sure that the device accepts them."""
    if KERNELS_RUN in os.environ:
        _note_kernels(Path(os.environ[KERNELS_RUN]))
    os.environ.pop("FASTGO_CPU_ISA", None)
    os.environ.update(switches)
    with tempfile.TemporaryFile() as messages:
        stderr = os.dup(2)
        os.dup2(messages.fileno(), 2)
        try:
            open_device().pipeline("soft_cap")
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        messages.seek(0)
        said = messages.read().decode()
    if said:
        raise RuntimeError(f"the device does not accept {switches}: {said}")
