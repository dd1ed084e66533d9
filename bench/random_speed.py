"""Measures prefill and decode of one model of random_model.SHAPES; writes JSON to stdout.

    python bench/random_speed.py gemma3-1b q4_0 [--folder DIR] [--depth 512] [--batch 8] [--kernels]

Decode draws on the device, greedily. The device is FASTGO_DEVICE's. The weights' file is removed once it is loaded.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from fastgo.bench import machine, stages
from fastgo.bench.kernels import KernelBench
from fastgo.bench.speed import SpeedTest, run, tokens_for
from fastgo.bench.stage_times import stage_times
from fastgo.engine.devices import open_device
from fastgo.engine.engine import Engine
from fastgo.engine.pass_graph import MAX_ROWS
from random_model import SHAPES, write_random_model


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one model."""
    model = write_random_model(options.folder, options.shape, options.format)
    start = time.perf_counter()
    engine = Engine(open_device(), model)
    load_seconds = time.perf_counter() - start
    model.shard_path(0).unlink()
    limits = machine.Limits.measure(engine.device)
    tests = [SpeedTest("tg", options.decode, options.depth, batch) for batch in options.batch]
    tests += [SpeedTest("pp", size, 0) for size in options.prefill]
    tokens = tokens_for(engine, tests)
    kernels, in_pass = [], []
    if options.kernels:
        for batch in options.batch:
            in_pass += stage_times(engine, options.depth, 5 * options.repeats, batch)
        kernels += KernelBench(engine, options.depth, 1, options.repeats, limits).rows()
        rows = min(max(options.prefill, default=0), MAX_ROWS)
        kernels += KernelBench(engine, 0, rows, 3, limits).rows() if rows else []
    return {
        "model": model.name,
        **machine.facts(engine.device),
        "weights_bytes": model.nbytes,
        "read_bytes_per_s": limits.bytes_per_s,
        "load_s": load_seconds,
        "stages": stages.count(engine),
        "tests": [run(engine, test, tokens, options.repeats) for test in tests],
        "stages_in_pass": in_pass,
        "kernels": kernels,
    }


def main(argv: list[str]) -> int:
    """Runs the measurement; returns the exit status."""
    parser = argparse.ArgumentParser(prog="random_speed", description="Measure a model with random weights.")
    parser.add_argument("shape", choices=sorted(SHAPES))
    parser.add_argument("format")
    parser.add_argument("--folder", type=Path, default=Path("."), help="where the weights are written meanwhile")
    parser.add_argument("--depth", type=int, default=512, help="tokens before decode begins")
    parser.add_argument("--decode", type=int, default=128)
    parser.add_argument("--batch", type=int, nargs="*", default=[1], help="sequences decoded together")
    parser.add_argument("--prefill", type=int, nargs="*", default=[512])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--kernels", action="store_true", help="time each kernel alone as well")
    json.dump(measure(parser.parse_args(argv)), sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
