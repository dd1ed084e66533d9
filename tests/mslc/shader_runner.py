"""Runs mslc, the C++ compiler and the translated kernels, for the tests."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
CASES = Path(__file__).resolve().parent / "cases"
MSLC = ROOT / "tools" / "mslc.py"
FLAGS = ["-std=c++17", "-O1", "-fPIC", "-fno-strict-aliasing", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
BUFFERS = 31


def compiler() -> str:
    """The C++ compiler: $CXX or c++."""
    return os.environ.get("CXX") or shutil.which("c++") or "c++"


def run_mslc(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs mslc with these command-line arguments."""
    command = [sys.executable, str(MSLC), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def compile_cpp(source: Path, output: Path) -> None:
    """Compiles one C++ file to an object; fails the test with the compiler's words."""
    includes = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'shaders' / 'compat'}"]
    command = [*compiler().split(), *FLAGS, *includes, "-c", str(source), "-o", str(output)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


class Shaders:
    """The compiled test shaders."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.last_fault.restype = ctypes.c_char_p

    def run(
        self,
        kernel: str,
        buffers: dict[int, np.ndarray[Any, Any]],
        grid: Sequence[int],
        group: Sequence[int],
        memory: Sequence[int] = (),
        constants: Sequence[bytes | None] = (None, None, None),
    ) -> str:
        """Dispatches grid threads in groups; arrays are bound in place. Returns the fault's message, empty if none."""
        pointers = (ctypes.c_void_p * BUFFERS)()
        for index, array in buffers.items():
            pointers[index] = array.ctypes.data
        sizes = (ctypes.c_uint32 * BUFFERS)(*memory)
        values = b"".join((value or b"").ljust(16, b"\0") for value in constants)
        defined = bytes(value is not None for value in constants)
        status = self._library.run_kernel(
            kernel.encode(), pointers, _size(grid), _size(group), sizes, values, defined, len(constants)
        )
        assert status != 1, f"no kernel {kernel}"
        return self._library.last_fault().decode() if status else ""

    def static_memory(self, kernel: str) -> int:
        """Bytes of threadgroup memory that the kernel declares."""
        return int(self._library.static_memory(kernel.encode()))

    def uses_fibres(self, kernel: str) -> bool:
        """Whether the kernel runs in lock step."""
        return bool(self._library.uses_fibres(kernel.encode()))


def _size(values: Sequence[int]) -> Any:
    return (ctypes.c_uint32 * 3)(*values, *[1] * (3 - len(values)))


def build(folder: Path) -> Shaders:
    """Translates and compiles the test shaders into `folder`, and loads them."""
    objects = []
    for stem in ("collectives", "dialect", "language"):
        for emit in ("cpp", "table"):
            source = folder / f"{stem}.{emit}.cpp"
            result = run_mslc(CASES / f"{stem}.metal", "--emit", emit, "-o", source, "-D", "EXTRA=3")
            assert result.returncode == 0, result.stderr
            objects.append(source)
    runtime = ROOT / "csrc" / "softmetal" / "cpu"
    sources = [*objects, runtime / "fibre.cpp", runtime / "simdgroup.cpp", CASES.parent / "harness.cpp"]
    compiled = []
    for source in sources:
        compiled.append(folder / (source.name + ".o"))
        compile_cpp(source, compiled[-1])
    library = folder / "shaders.so"
    subprocess.run([*compiler().split(), "-shared", *map(str, compiled), "-o", str(library)], check=True)
    return Shaders(library)
