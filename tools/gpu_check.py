"""Checks fastgo on a machine with an NVIDIA GPU: builds, tests every kernel and model on device `cuda`, then measures.

    python tools/gpu_check.py [--skip-tests] [--model gemma3-1b --format q4_0]... [-o RESULTS.json]

Needs this checkout, a compiler, CMake, and a Python with fastgo's dependencies and pytest; no network. Models of
official shapes are made with random weights. Exit status: 0 all tests passed and all models ran, 1 otherwise.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "fastgo"
TESTS = ("tests/ops", "tests/graph", "tests/engine", "tests/models")
SECONDS_A_TEST = 120
MODELS = ("gemma3-1b", "qwen3-8b", "qwen3-30b-a3b")
FORMATS = ("q4_0", "bf16")
LEFT_OUT = {("qwen3-30b-a3b", "bf16")}  # 61 GB
BATCH = 8  # sequences decoded together


def build(folder: Path) -> None:
    """Builds the extension and puts it beside the package's Python files. Ends the program where that fails."""
    pybind11 = subprocess.check_output([sys.executable, "-m", "pybind11", "--cmakedir"], text=True).strip()
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), f"-DPython_EXECUTABLE={sys.executable}"]
    if shutil.which("ninja"):
        configure += ["-G", "Ninja"]
    for command in (
        [*configure, f"-Dpybind11_DIR={pybind11}"],
        ["cmake", "--build", str(folder), "-j", str(os.cpu_count())],
    ):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-8000:]}")
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


def measure(variables: dict[str, str], options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Any]]:
    """One process a model; a model that fails is reported and left out."""
    for model, format in chosen(options):
        start = time.monotonic()
        command = [sys.executable, str(ROOT / "bench" / "random_speed.py"), model, format, "--folder", str(folder)]
        command += ["--kernels", "--batch", "1", str(BATCH), "--prefill", *map(str, options.prefill)]
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            print(f"{model} {format} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        else:
            print(f"{model} {format} measured in {time.monotonic() - start:.0f} s", flush=True)
            yield json.loads(done.stdout)


def chosen(options: argparse.Namespace) -> list[tuple[str, str]]:
    """The models to measure, with their formats."""
    return [pair for pair in itertools.product(options.model, options.format) if pair not in LEFT_OUT]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Tokens a second with the part of the read bandwidth, then where the time of a decode pass goes."""
    lines = [
        f"{'model':20} {'test':14} {'tokens/s':>9} {'min':>9} {'max':>9} {'of bandwidth':>12} "
        f"{'dispatches':>10} {'stages':>6}  a layer"
    ]
    for row in rows:
        counts = row["stages"]
        for test in row["tests"]:
            speed, batch = test["tokens_per_s"], test.get("batch", 1)
            name = f"{test['test']}@{test['depth']}" + (f" x{batch}" if batch > 1 else "")
            is_decode = test["test"].startswith("tg") and batch == 1
            part = f"{decode_bytes(row) * speed['median'] / row['read_bytes_per_s']:12.0%}" if is_decode else " " * 12
            lines.append(
                f"{row['model']:20} {name:14} {speed['median']:9.1f} {speed['min']:9.1f} {speed['max']:9.1f} {part} "
                f"{counts['dispatches_per_layer']:10} {counts['dependent_stages_per_layer']:6}"
            )
    lines += ["", f"{'model':20} {'microseconds within a decode pass: a layer, then the tail':60} {'us':>7}"]
    for row in rows:
        lines += [f"{stage_model(row, s):20} {s['kernel']:60} {s['seconds'] * 1e6:7.2f}" for s in row["stages_in_pass"]]
    return "\n".join(lines)


def stage_model(row: dict[str, Any], stage: dict[str, Any]) -> str:
    return str(row["model"]) + (f" x{stage['batch']}" if stage["batch"] > 1 else "")


def decode_bytes(row: dict[str, Any]) -> float:
    """What the kernels of a decode pass of one row read and write."""
    return float(sum(k["calls"] * k["bytes"] for k in row["kernels"] if k["rows"] == 1 and "bytes" in k))


def write(output: Path | None, passed: bool, rows: Sequence[dict[str, Any]]) -> None:
    if output is not None:
        text = json.dumps({"passed": passed, "models": rows}, indent=1)
        output.write_text(text + "\n", encoding="utf-8")


def main(argv: list[str]) -> int:
    """Runs the check; returns the exit status."""
    parser = argparse.ArgumentParser(prog="gpu_check", description="Build, test and measure fastgo on an NVIDIA GPU.")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "gpu", help="build folder")
    parser.add_argument("--skip-tests", action="store_true")
    parser.add_argument("--test", action="append", help="what pytest runs instead of all kernel and model tests")
    parser.add_argument("--model", action="append", choices=MODELS)
    parser.add_argument("--format", action="append", choices=FORMATS)
    parser.add_argument("--prefill", type=int, nargs="*", default=[512], help="tokens of prefill")
    parser.add_argument("--folder", type=Path, help="where random weights are written; up to 18 GB")
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
        rows: list[dict[str, Any]] = []
        write(options.output, passed, rows)
        for row in measure(variables, options, Path(name)):
            rows.append(row)
            write(options.output, passed, rows)  # after every model, so that an end before the last leaves something
    print(table(rows))
    complete = len(rows) == len(chosen(options))
    print("tests passed" if passed else "TESTS FAILED", f"after {time.monotonic() - start:.0f} s")
    return 0 if passed and complete else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
