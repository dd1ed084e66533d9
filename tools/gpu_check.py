"""Checks fastgo on a machine with an NVIDIA GPU: builds, tests every kernel and model on device `cuda`, then measures.

    python tools/gpu_check.py [--skip-tests] [--model gemma3-1b --format q4_0]... [-o RESULTS.json]

Needs this checkout, a compiler, CMake, and a Python with fastgo's dependencies and pytest; no network. Models of
official shapes are made with random weights. Exit status: 0 all tests passed and all models ran, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "fastgo"
TESTS = ("tests/ops", "tests/graph", "tests/engine", "tests/models")
SECONDS_A_TEST = 120
MODELS = ("gemma3-1b", "qwen3-8b")
FORMATS = ("q4_0", "bf16")


def build(folder: Path) -> None:
    """Builds the extension and puts it beside the package's Python files. Raises CalledProcessError."""
    pybind11 = subprocess.check_output([sys.executable, "-m", "pybind11", "--cmakedir"], text=True).strip()
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), f"-DPython_EXECUTABLE={sys.executable}"]
    if shutil.which("ninja"):
        configure += ["-G", "Ninja"]
    subprocess.run([*configure, f"-Dpybind11_DIR={pybind11}"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", str(folder), "-j", str(os.cpu_count())], check=True, stdout=subprocess.DEVNULL)
    name = "_fastmetal" + str(sysconfig.get_config_var("EXT_SUFFIX"))
    shutil.copy2(folder / name, PACKAGE / name)


def environment(cache: Path) -> dict[str, str]:
    """For child processes: this checkout's package, the GPU as the device, a cache of their own."""
    paths = [str(ROOT / "python"), os.environ.get("PYTHONPATH", "")]
    variables = {
        "FASTGO_DEVICE": "cuda",
        "FASTGO_CACHE_DIR": str(cache),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    return {**os.environ, **variables}


def run_tests(variables: dict[str, str], tests: Sequence[str]) -> bool:
    """Runs pytest with Metal's validation layer on."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", "--durations=5", *tests]
    if find_spec("pytest_timeout"):
        command += [f"--timeout={SECONDS_A_TEST}", "--timeout-method=thread"]
    if find_spec("xdist"):
        command += ["-n", str(min(8, os.cpu_count() or 1))]
    return subprocess.run(command, cwd=ROOT, env={**variables, "MTL_DEBUG_LAYER": "1"}, check=False).returncode == 0


def measure(variables: dict[str, str], options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """One process a model; a model that fails is reported and left out."""
    rows: list[dict[str, Any]] = []
    for model in options.model:
        for format in options.format:
            command = [sys.executable, str(ROOT / "bench" / "random_speed.py"), model, format, "--folder", str(folder)]
            command += ["--kernels", "--prefill", *map(str, options.prefill)]
            done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                print(f"{model} {format} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
            else:
                rows.append(json.loads(done.stdout))
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The short table: tokens a second, median and extremes, and the kernels by their share of a pass."""
    lines = [f"{'model':18} {'test':12} {'tokens/s':>10} {'min':>10} {'max':>10} {'dispatches':>10} {'stages':>7}"]
    for row in rows:
        for test in row["tests"]:
            speed, counts = test["tokens_per_s"], row["stages"]
            name = f"{test['test']}@{test['depth']}"
            lines.append(
                f"{row['model']:18} {name:12} {speed['median']:10.1f} {speed['min']:10.1f} {speed['max']:10.1f} "
                f"{counts['dispatches']:10} {counts['dependent_stages']:7}"
            )
    lines += [
        "",
        f"{'model':18} {'kernel':26} {'shape':22} {'rows':>5} {'calls':>5} {'us':>9} {'GB/s':>7}  share",
    ]
    for row in rows:
        for kernel in row["kernels"]:
            speed = f"{kernel['bytes_per_s'] / 1e9:7.0f}" if "bytes_per_s" in kernel else " " * 7
            lines.append(
                f"{row['model']:18} {kernel['kernel']:26} {kernel.get('shape', ''):22} {kernel['rows']:5} "
                f"{kernel['calls']:5} {kernel['seconds']['median'] * 1e6:9.2f} {speed} {kernel['share']:6.1%}"
            )
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Runs the check; returns the exit status."""
    parser = argparse.ArgumentParser(prog="gpu_check", description="Build, test and measure fastgo on an NVIDIA GPU.")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "gpu", help="build folder")
    parser.add_argument("--skip-tests", action="store_true")
    parser.add_argument("--test", action="append", help="what pytest runs instead of all kernel and model tests")
    parser.add_argument("--model", action="append", choices=MODELS)
    parser.add_argument("--format", action="append", choices=FORMATS)
    parser.add_argument("--prefill", type=int, nargs="*", default=[512], help="tokens of prefill")
    parser.add_argument("--folder", type=Path, help="where random weights are written; up to 17 GB")
    parser.add_argument("-o", dest="output", type=Path, help="JSON file for the results")
    options = parser.parse_args(argv)
    options.model = MODELS if options.model is None else options.model
    options.format = FORMATS if options.format is None else options.format
    start = time.monotonic()
    build(options.build)
    print(f"built in {time.monotonic() - start:.0f} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="fastgo-gpu-", dir=options.folder) as name:
        variables = environment(Path(name) / "cache")
        facts = subprocess.run(
            [sys.executable, "-c", "from fastgo.cli import main; main()", "env"], env=variables, check=False
        )
        passed = facts.returncode == 0 and (options.skip_tests or run_tests(variables, options.test or TESTS))
        rows = measure(variables, options, Path(name))
    if options.output is not None:
        options.output.write_text(json.dumps({"passed": passed, "models": rows}, indent=1) + "\n", encoding="utf-8")
    print(table(rows))
    complete = len(rows) == len(options.model) * len(options.format)
    print("tests passed" if passed else "TESTS FAILED", f"after {time.monotonic() - start:.0f} s")
    return 0 if passed and complete else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
