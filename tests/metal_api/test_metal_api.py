"""Builds the C++ conformance programs once and runs each of their named tests and faults in a process of its own.

Set FASTGO_TEST_BUILD to a folder to keep the build, and FASTGO_TEST_SANITIZE to `address` or `thread` to sanitise it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LAYER = {"MTL_DEBUG_LAYER": "1"}
SOURCES = sorted(HERE.glob("*.cpp"))


def _names(macro: str, *, driver: bool) -> list[str]:
    """The names in TEST(name) or FAULT(name, ...) of the sources, so that collecting needs no build."""
    files = [file for file in SOURCES if (file.name == "test_cpu_driver.cpp") == driver]
    pattern = re.compile(rf"^{macro}\((\w+)", re.MULTILINE)
    return [name for file in files for name in pattern.findall(file.read_text(encoding="utf-8"))]


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MTL_", "FASTGO_CPU_", "FASTGO_THREADS"))}
    return kept | dict(variables)


def _run(program: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *arguments], env=_environment(variables), capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs, built by CMake."""
    wanted = os.environ.get("FASTGO_TEST_BUILD")
    folder = Path(wanted) / "metal_api" if wanted else tmp_path_factory.mktemp("metal_api")
    cmake = Path(sys.executable).parent / "cmake"
    command = str(cmake) if cmake.exists() else "cmake"
    sanitizer = os.environ.get("FASTGO_TEST_SANITIZE", "")
    options = [f"-DPython_EXECUTABLE={sys.executable}", f"-DFASTGO_SANITIZE={sanitizer}"]
    subprocess.run([command, "-S", str(HERE), "-B", str(folder), *options], check=True, capture_output=True)
    made = subprocess.run([command, "--build", str(folder), "-j2"], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout[-4000:] + made.stderr[-4000:]
    return folder


@pytest.mark.parametrize("name", _names("TEST", driver=False))
def test_api(build: Path, name: str) -> None:
    done = _run(build / "metal_api_tests", "--run", name, **LAYER)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", _names("TEST", driver=False))
def test_api_without_layer(build: Path, name: str) -> None:
    done = _run(build / "metal_api_tests", "--run", name, FASTGO_THREADS="3")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", _names("FAULT", driver=False))
def test_fault(build: Path, name: str) -> None:
    listed = _run(build / "metal_api_tests", "--list-faults").stdout.splitlines()
    expected = dict(line.split("\t") for line in listed)[name]
    done = _run(build / "metal_api_tests", "--fault", name, **LAYER)
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert expected in done.stderr


@pytest.mark.parametrize("name", _names("FAULT", driver=False))
def test_fault_goes_on_in_nslog_mode(build: Path, name: str) -> None:
    done = _run(build / "metal_api_tests", "--fault", name, MTL_DEBUG_LAYER_ERROR_MODE="nslog", **LAYER)
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr != ""


def test_list_names_every_test(build: Path) -> None:
    listed = _run(build / "metal_api_tests", "--list").stdout.split()
    assert listed == sorted(_names("TEST", driver=False))
    assert _run(build / "metal_api_tests", "--run", "no_such_test").returncode == 2


def test_leaks_are_reported_by_label(build: Path) -> None:
    done = _run(build / "cpu_driver_tests", "--fault", "leaked_buffer", **LAYER)
    assert done.returncode == 0
    assert 'softmetal validation: leaked at exit: MTL::Buffer "left behind"' in done.stderr


@pytest.mark.parametrize("name", _names("TEST", driver=True))
def test_cpu_driver(build: Path, name: str) -> None:
    variables = {
        "overrides_can_be_turned_off": {"FASTGO_CPU_KERNELS": "msl"},
        "overrides_can_be_limited": {"FASTGO_CPU_ISA": "low"},
    }.get(name, {})
    done = _run(build / "cpu_driver_tests", "--run", name, **variables)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("variable", "value"), [("FASTGO_THREADS", "0"), ("FASTGO_THREADS", "-1"), ("FASTGO_CPU_KERNELS", "fast")]
)
def test_senseless_environment_is_reported_and_ignored(build: Path, variable: str, value: str) -> None:
    done = _run(build / "metal_api_tests", "--run", "devices_describe_themselves", **{variable: value})
    assert done.returncode == 0
    assert done.stderr.startswith(f"softmetal: {variable}={value} ignored: expected")
