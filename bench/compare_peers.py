"""Compares fastgo with llama.cpp: the same GGUF file, the same number of threads, in turn on one machine.

    python bench/compare_peers.py --model gemma3 --model smollm2

Every figure comes from pairs of processes run one right after the other (A B A B ...), so that what else the machine
does falls on both. A ratio is fastgo's figure over llama.cpp's of the same pair; above 1 fastgo is better, also for
times and memory, whose ratios are turned round. Results are printed and written to bench/results as JSON.
Units: tokens a second, seconds, bytes.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastgo.assets import catalog, repository
from fastgo.bench.spread import Spread
from fastgo.errors import FastgoError, UsageError
from llama_cpp import find_or_build
from peers import FastgoPeer, LlamaPeer, Peer, SpeedTest, prompt_of

RESULTS = Path(__file__).parent / "results"
PROMPT_TOKENS = 512
SPEED_TESTS = (
    SpeedTest("pp", 32),
    SpeedTest("pp", 512),
    SpeedTest("pp", 2048),
    SpeedTest("tg", 128),
    SpeedTest("tg", 128, depth=2048),
)


def main() -> None:
    """Runs the command line; exits with the code of fastgo.errors on a failure."""
    options = _options()
    try:
        for model in options.model:
            _compare_model(model, options)
    except FastgoError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compares fastgo with llama.cpp.")
    parser.add_argument("--model", action="append", help="name of the catalogue or .gguf file; may be repeated")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of both")
    parser.add_argument("--pairs", type=int, default=3, help="pairs of processes for each figure")
    parser.add_argument("--repeats", type=int, default=3, help="measurements within a process")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args()
    options.model = options.model or ["gemma3", "smollm2"]
    for name in ("threads", "pairs", "repeats"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}: expected 1 or more")
    return options


def _compare_model(model: str, options: argparse.Namespace) -> None:
    cache = repository.cache_dir() / "peers"
    programs = find_or_build(cache / "llama.cpp", options.threads)
    file = _gguf(model, cache)
    peers: tuple[Peer, Peer] = (FastgoPeer(file, options.threads), LlamaPeer(programs, file, options.threads))
    rows = [_speed_row(peers, test, options) for test in SPEED_TESTS]
    if programs.complete is not None:
        rows += _start_rows(peers, file, cache, options.pairs)
    result = {
        "model": file.stem,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": options.threads,
        "pairs": options.pairs,
        "repeats": options.repeats,
        "fastgo": peers[0].facts,
        "llama.cpp": peers[1].facts,
        "load_average": os.getloadavg()[0],
        "rows": rows,
    }
    options.results.mkdir(parents=True, exist_ok=True)
    target = options.results / f"peers-{file.stem}-{result['date'][:16].replace(':', '')}.json"
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {target}", file=sys.stderr)


def _gguf(model: str, cache: Path) -> Path:
    """The GGUF file of a path or a name of the catalogue."""
    entry = catalog.BY_NAME.get(model.lower())
    if entry is None:
        path = Path(model)
        if not path.is_file():
            raise UsageError(f"no such file: {model}", hint=f"give a .gguf file or one of {catalog.KNOWN_NAMES}")
        return path.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    return catalog.gguf_source(entry, cache)


def _speed_row(peers: tuple[Peer, Peer], test: SpeedTest, options: argparse.Namespace) -> dict[str, Any]:
    return _pairs(test.label, peers, options.pairs, lambda peer: peer.tokens_per_s(test, options.repeats))


def _start_rows(peers: tuple[Peer, Peer], file: Path, cache: Path, pairs: int) -> list[dict[str, Any]]:
    """Process start to the first token after a prompt, and the peak of resident memory of those processes."""
    prompt = cache / f"prompt-{file.stem}.txt"
    prompt.write_text(prompt_of(PROMPT_TOKENS, file))
    memory: dict[str, list[float]] = {peer.name: [] for peer in peers}

    def first_token(peer: Peer) -> float:
        seconds, peak = peer.first_token(prompt)
        memory[peer.name].append(peak)
        return seconds

    first_token(peers[0])
    first_token(peers[1])
    for figures in memory.values():
        figures.clear()
    label = f"start to first token after {PROMPT_TOKENS}"
    row = _pairs(label, peers, pairs, first_token, smaller_is_better=True, unit="s")
    samples = iter(zip(memory[peers[0].name], memory[peers[1].name], strict=True))
    return [row, _row("peak memory", list(samples), smaller_is_better=True, unit="bytes")]


def _pairs(
    label: str,
    peers: tuple[Peer, Peer],
    pairs: int,
    measure: Callable[[Peer], float],
    *,
    smaller_is_better: bool = False,
    unit: str = "tokens/s",
) -> dict[str, Any]:
    samples = [(measure(peers[0]), measure(peers[1])) for _ in range(pairs)]
    return _row(label, samples, smaller_is_better=smaller_is_better, unit=unit)


def _row(label: str, samples: list[tuple[float, float]], *, smaller_is_better: bool, unit: str) -> dict[str, Any]:
    ratios = Spread.of([theirs / ours if smaller_is_better else ours / theirs for ours, theirs in samples])
    ours, theirs = (statistics.median(column) for column in zip(*samples, strict=True))
    scale, shown = (1e6, "MB") if unit == "bytes" else (1.0, unit)
    print(
        f"{label:34s} fastgo {ours / scale:9.2f}  llama.cpp {theirs / scale:9.2f} {shown:9s} "
        f"ratio {ratios.median:5.2f} ({ratios.min:.2f} to {ratios.max:.2f})",
        flush=True,
    )
    return {
        "test": label,
        "unit": unit,
        "fastgo": ours,
        "llama.cpp": theirs,
        "ratio": ratios.to_json(),
        "samples": [list(pair) for pair in samples],
    }


if __name__ == "__main__":
    main()
