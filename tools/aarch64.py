"""Builds for 64-bit ARM Linux and runs tests under QEMU: `python tools/aarch64.py [PYTEST WORDS]`.

Needs Debian's g++-aarch64-linux-gnu and qemu-user-static, and once the network: an ARM Python, unpacked from the
distribution's packages, and the ARM wheels of what the tests import go to the cache folder. Nothing is installed. The
build lies in build/aarch64. QEMU counts no time, so this says what is right, never what is fast. Without words the
tests of the operations run. Exits 1 if one fails, 2 if the check could not be made.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import sanitize
from platformdirs import user_cache_dir

ROOT = Path(__file__).resolve().parent.parent
COMPILER = "aarch64-linux-gnu-g++"
WHEELS = ("numpy", "typer", "rich", "platformdirs", "tokenizers", "sentencepiece", "jinja2", "pytest", "hypothesis")
TESTS = ("tests/ops", "-k", "not properties")


PACKAGES = ("python3", "libpython3-dev", "libstdc++6")


class NotChecked(Exception):
    """A tool is missing or failed."""


def require(*names: str) -> str:
    """The path of the first of these programs that the machine has. Raises NotChecked if it has none."""
    for name in names:
        if (path := shutil.which(name)) is not None:
            return path
    raise NotChecked(f"no {names[0]}: expected Debian's g++-aarch64-linux-gnu, qemu-user-static and apt")


def run_tool(command: Sequence[str | Path], **variables: str) -> None:
    """Raises NotChecked with the end of what the program said if it fails."""
    done = subprocess.run(
        command, env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise NotChecked(f"{Path(command[0]).name} failed:\n{done.stdout[-4000:]}")


def make_root(folder: Path) -> None:
    """Unpacks an ARM Python with its headers and libraries, by an apt that has a state of its own."""
    state = folder.with_name("apt")
    for name in ("lists/partial", "archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    options = [
        *("-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64", "-o", "APT::Sandbox::User=root"),
        *("-o", f"Dir::State={state}", "-o", f"Dir::State::status={state / 'status'}", "-o", f"Dir::Cache={state}"),
    ]
    apt = [require("apt-get"), *options]
    run_tool([*apt, "update"])
    run_tool([*apt, "install", "-y", "--download-only", "--no-install-recommends", *PACKAGES])
    unfinished = folder.with_name(f"root.{os.getpid()}")
    for package in sorted((state / "archives").glob("*.deb")):
        run_tool([require("dpkg-deb"), "-x", package, unfinished])
    shutil.rmtree(state)
    unfinished.rename(folder)


class Machine:
    """The ARM Python and what it imports, in a cache folder."""

    def __init__(self, cache: Path) -> None:
        self.emulator = require("qemu-aarch64-static", "qemu-aarch64")
        require(COMPILER)
        self.root, self.wheels, self.python = cache / "root", cache / "wheels", cache / "python"
        cache.mkdir(parents=True, exist_ok=True)
        if not self.root.exists():
            make_root(self.root)
        (real,) = sorted(path for path in (self.root / "usr/bin").glob("python3.*") if path.name.count("-") == 0)
        self.version = real.name.removeprefix("python")
        # Python finds itself by the name it was called with; what it starts must go through QEMU again.
        self.python.write_text(f'#!/bin/sh\nexec {self.emulator} -L {self.root} -0 {self.python} {real} "$@"\n')
        self.python.chmod(0o755)
        if not self.wheels.exists():
            self._install_wheels()

    def _install_wheels(self) -> None:
        unfinished = self.wheels.with_name(f"wheels.{os.getpid()}")
        platforms = [f"--platform=manylinux{name}_aarch64" for name in ("2014", "_2_17", "_2_28")]
        options = ["--quiet", "--only-binary=:all:", "--python-version", self.version, *platforms]
        run_tool([sys.executable, "-m", "pip", "install", *options, "--target", unfinished, *WHEELS])
        unfinished.rename(self.wheels)

    def build(self) -> Path:
        """Compiles the extension; returns a folder for PYTHONPATH. Raises NotChecked."""
        folder = ROOT / "build" / "aarch64"
        includes = self.root / "usr/include"
        pybind11 = subprocess.check_output([sys.executable, "-m", "pybind11", "--cmakedir"], text=True).strip()
        options = {
            "CMAKE_SYSTEM_NAME": "Linux",
            "CMAKE_SYSTEM_PROCESSOR": "aarch64",
            "CMAKE_CXX_COMPILER": COMPILER,
            "CMAKE_CXX_FLAGS": f"-isystem {includes} -isystem {includes / 'aarch64-linux-gnu'}",
            "CMAKE_INTERPROCEDURAL_OPTIMIZATION": "OFF",
            "CMAKE_STRIP": "/bin/true",
            "Python_EXECUTABLE": sys.executable,
            "Python_INCLUDE_DIR": str(includes / f"python{self.version}"),
            "pybind11_DIR": pybind11,
            "PYTHON_MODULE_EXTENSION": ".so",
        }
        if ccache := shutil.which("ccache"):
            options["CMAKE_CXX_COMPILER_LAUNCHER"] = ccache
        cmake = sanitize.cmake()
        run_tool([cmake, "-S", ROOT, "-B", folder, *(f"-D{name}={value}" for name, value in options.items())])
        run_tool([cmake, "--build", folder, "-j", str(os.cpu_count() or 1)])
        return sanitize.package(folder)

    def environment(self, package: Path) -> dict[str, str]:
        """What a process of the ARM Python needs."""
        return {**os.environ, "PYTHONHOME": str(self.root / "usr"), "PYTHONPATH": f"{package}:{self.wheels}"}


def open_machine() -> Machine:
    """The machine in the user's cache folder. Raises NotChecked if its parts can't be had."""
    return Machine(Path(user_cache_dir("fastgo-tools")) / "aarch64")


def main(arguments: list[str]) -> int:
    try:
        machine = open_machine()
        package = machine.build()
    except NotChecked as error:
        print(f"not checked: {error}", file=sys.stderr)
        return 2
    command = [machine.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(arguments or TESTS)]
    done = subprocess.run(command, cwd=ROOT, env=machine.environment(package), check=False)
    return 1 if done.returncode else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
