"""Runs the clang and the Mach-O linker of the ziglang wheel for arm64 macOS. Owns the flags of both.

Times are in seconds.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from macos.errors import CheckError

STUBS = Path(__file__).resolve().parent / "stubs"
TARGET = "aarch64-macos.14.0"
FRAMEWORKS = ("Metal", "Foundation", "CoreFoundation")
_LIMIT = 900.0


@dataclass(frozen=True)
class Result:
    """What one run of the compiler or linker said. `message` is empty when it was content."""

    ok: bool
    message: str
    seconds: float


@dataclass(frozen=True)
class Compiler:
    """The cross compiler with its cache; construction fails if ziglang is not installed."""

    cache: Path
    # Folders of the project's own headers (warnings count) and of other people's (warnings do not).
    includes: Sequence[Path] = ()
    system_includes: Sequence[Path] = ()
    defines: Sequence[str] = field(default=("METALCPP_SYMBOL_VISIBILITY_HIDDEN",))

    def __post_init__(self) -> None:
        if importlib.util.find_spec("ziglang") is None:
            raise CheckError("the package ziglang is not installed", "pip install ziglang")

    def compile(self, source: Path, output: Path, headers: Path | None) -> Result:
        """Compiles one C++17 file to an object. `headers` is a metal-cpp folder, or None for files without Metal."""
        flags = ["-std=c++17", "-O0", "-g0", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"]
        flags += [f"-D{name}" for name in self.defines]
        flags += [f"-I{folder}" for folder in self.includes]
        system = [STUBS, *([headers] if headers else []), *self.system_includes]
        for folder in system:
            flags += ["-isystem", str(folder)]
        return self._run([*flags, "-c", str(source), "-o", str(output)])

    def link(self, objects: Sequence[Path], output: Path) -> Result:
        """Links objects to a dynamic library; symbols that no stub declares stay undefined (see symbols.py)."""
        flags = ["-shared", "-undefined", "dynamic_lookup", f"-F{STUBS / 'Frameworks'}", f"-L{STUBS / 'lib'}", "-lobjc"]
        for name in FRAMEWORKS:
            flags += ["-framework", name]
        return self._run([*flags, *map(str, objects), "-o", str(output)])

    def _run(self, arguments: Sequence[str]) -> Result:
        caches = {"ZIG_GLOBAL_CACHE_DIR": str(self.cache), "ZIG_LOCAL_CACHE_DIR": str(self.cache)}
        command = [sys.executable, "-m", "ziglang", "c++", "-target", TARGET, *arguments]
        start = time.monotonic()
        try:
            done = subprocess.run(
                command,
                env={**os.environ, **caches},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_LIMIT,
            )
        except subprocess.TimeoutExpired:
            return Result(ok=False, message=f"no answer within {_LIMIT:.0f} s", seconds=_LIMIT)
        message = (done.stderr + done.stdout).strip()
        if done.returncode != 0 and not message:
            message = f"the compiler ended with status {done.returncode} and no message"
        return Result(ok=done.returncode == 0, message=message, seconds=time.monotonic() - start)


def python_includes(cache: Path) -> list[Path]:
    """Folders of pybind11 and CPython headers.

    Debian's pyconfig.h picks the real one from a multiarch folder, and knows Linux only. That folder's parent holds
    glibc's headers too, which must not mix with Darwin's; so a copy with the real file in place is made below `cache`.
    """
    if importlib.util.find_spec("pybind11") is None:
        raise CheckError("the package pybind11 is not installed", "pip install pybind11")
    import pybind11

    include = Path(sysconfig.get_paths()["include"])
    if not (include / "Python.h").is_file():
        raise CheckError(f"no Python.h in {include}", "install the headers of this Python (python3-dev)")
    multiarch = sysconfig.get_config_var("MULTIARCH")
    if multiarch:
        real = include.parent / str(multiarch) / include.name / "pyconfig.h"
        if real.is_file():
            include = _with_config(include, real, cache / "python" / include.name)
    return [Path(pybind11.get_include()), include]


def _with_config(include: Path, config: Path, copy: Path) -> Path:
    """Copies a folder of headers to `copy`, with `config` as its pyconfig.h; returns `copy`."""
    shutil.copytree(include, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("pyconfig.h"))
    shutil.copyfile(config, copy / "pyconfig.h")
    return copy
