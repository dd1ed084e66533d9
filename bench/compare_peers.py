"""Compares fastgo with llama.cpp: the same GGUF file, the same number of threads, in turn on one machine.

    python bench/compare_peers.py --model gemma3 --model smollm2
    python bench/compare_peers.py --model gemma3 --test tg128 --into bench/results/peers-....json   # one row anew

Every figure comes from pairs of processes run one right after the other (A B A B ...), so that what else the machine
does falls on both. A ratio is fastgo's figure over llama.cpp's of the same pair; above 1 fastgo is better, also for
times and memory, whose ratios are turned round. A pair that other processes disturbed is measured anew while there is
patience left; how much of the machine they used is kept beside the figures. Results are printed, and written to
bench/results as JSON.
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
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from fastgo.assets import catalog, repository
from fastgo.bench.speed import SpeedTest
from fastgo.bench.spread import Spread
from fastgo.errors import FastgoError, UsageError
from llama_bench import find_or_build
from peers import FastgoPeer, LlamaPeer, Peer, label_of, prompt_of
from quiet import OthersLoad, wait_until_quiet

RESULTS = Path(__file__).parent / "results"
PROMPT_TOKENS = 512
SPEED_TESTS = (
    SpeedTest("pp", 32),
    SpeedTest("pp", 512),
    SpeedTest("pp", 2048),
    SpeedTest("tg", 128),
    SpeedTest("tg", 128, depth=2048),
    SpeedTest("tg", 128, batch=8),
)
START = "start"  # what --test calls the rows of process start and memory

T = TypeVar("T")


@dataclass(frozen=True)
class Pair(Generic[T]):
    """What both programs did, fastgo first, and the part of the machine that others used meanwhile."""

    ours: T
    theirs: T
    others: float | None


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
    parser.add_argument("--max-others", type=float, default=0.05, help="part of the machine that others may use")
    parser.add_argument("--patience", type=float, default=300, help="seconds to wait for a quiet machine, each figure")
    parser.add_argument("--test", action="append", help=f"only this row, such as tg128, or {START}; may be repeated")
    parser.add_argument("--into", type=Path, help="JSON of an earlier run of the same model, to be completed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args()
    options.model = options.model or ["gemma3", "smollm2"]
    known = [*(label_of(test) for test in SPEED_TESTS), START]
    if unknown := set(options.test or ()) - set(known):
        parser.error(f"--test {unknown.pop()}: expected one of {', '.join(known)}")
    options.test = options.test or known
    if options.into and len(options.model) > 1:
        parser.error("--into takes the rows of one --model")
    for name in ("threads", "pairs", "repeats"):
        if getattr(options, name) < 1:
            parser.error(f"--{name}: expected 1 or more")
    return options


def _compare_model(model: str, options: argparse.Namespace) -> None:
    cache = repository.cache_dir() / "peers"
    cache.mkdir(parents=True, exist_ok=True)
    programs = find_or_build(cache / "llama.cpp", options.threads)
    file = _gguf(model, cache)
    peers: tuple[Peer, Peer] = (FastgoPeer(file, options.threads), LlamaPeer(programs, file, options.threads))
    tests = [test for test in SPEED_TESTS if label_of(test) in options.test and (test.batch == 1 or programs.batched)]
    rows = [_speed_row(peers, test, options) for test in tests]
    if START in options.test and programs.complete is not None:
        rows += _start_rows(peers, file, cache, options)
    result = {
        "model": file.stem,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": options.threads,
        "pairs": options.pairs,
        "repeats": options.repeats,
        "fastgo": peers[0].facts,
        "llama.cpp": peers[1].facts,
        "max_others": options.max_others,
        "rows": rows,
    }
    if options.into:
        result = _completed(options.into, result)
    options.results.mkdir(parents=True, exist_ok=True)
    target = options.into or options.results / f"peers-{file.stem}-{result['date'][:16].replace(':', '')}.json"
    target.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written to {target}", file=sys.stderr)


def _completed(earlier: Path, result: dict[str, Any]) -> dict[str, Any]:
    """An earlier result with the rows of this one behind those that they don't replace; the date is the earlier's.

    Raises UsageError if anything that all rows share differs: the model, the commit, the threads. A run of START alone
    learns no facts of the programs and so takes the earlier ones.
    """
    whole = dict(json.loads(earlier.read_text()))
    for name in result.keys() - {"date", "rows"}:
        if result[name] and whole[name] and whole[name] != result[name]:
            raise UsageError(
                f"{earlier} has another {name}: {whole[name]}, not {result[name]}",
                hint="leave out --into for a new file",
            )
        whole[name] = result[name] or whole[name]
    replaced = {row["test"] for row in result["rows"]}
    whole["rows"] = [*(row for row in whole["rows"] if row["test"] not in replaced), *result["rows"]]
    return whole


def _gguf(model: str, cache: Path) -> Path:
    """The GGUF file of a path or a name of the catalogue."""
    entry = catalog.BY_NAME.get(model.lower())
    if entry is None:
        path = Path(model)
        if not path.is_file():
            raise UsageError(f"no such file: {model}", hint=f"give a .gguf file or one of {catalog.KNOWN_NAMES}")
        return path.resolve()
    return catalog.gguf_source(entry, cache)


def _speed_row(peers: tuple[Peer, Peer], test: SpeedTest, options: argparse.Namespace) -> dict[str, Any]:
    samples = _pairs(peers, options, lambda peer: peer.tokens_per_s(test, options.repeats))
    return _row(label_of(test), samples, smaller_is_better=False, unit="tokens/s")


def _start_rows(peers: tuple[Peer, Peer], file: Path, cache: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Process start to the first token after a prompt, and the peak of resident memory of those processes."""
    prompt = cache / f"prompt-{file.stem}.txt"
    prompt.write_text(prompt_of(PROMPT_TOKENS, file))
    for peer in peers:
        peer.first_token(prompt)  # files are in the page cache from here on
    samples = _pairs(peers, options, lambda peer: peer.first_token(prompt))
    seconds = [Pair(pair.ours[0], pair.theirs[0], pair.others) for pair in samples]
    memory = [Pair(float(pair.ours[1]), float(pair.theirs[1]), pair.others) for pair in samples]
    label = f"start to first token after {PROMPT_TOKENS}"
    return [
        _row(label, seconds, smaller_is_better=True, unit="s"),
        _row("peak memory", memory, smaller_is_better=True, unit="bytes"),
    ]


def _pairs(peers: tuple[Peer, Peer], options: argparse.Namespace, measure: Callable[[Peer], T]) -> list[Pair[T]]:
    """Measures pairs; those that others disturbed again and again, until patience ends: then they count as they are."""
    deadline = time.monotonic() + options.patience
    pairs: list[Pair[T]] = []
    while len(pairs) < options.pairs:
        wait_until_quiet(options.max_others, deadline)
        load = OthersLoad()
        pair = Pair(measure(peers[0]), measure(peers[1]), load.fraction())
        if (pair.others or 0.0) <= options.max_others or time.monotonic() >= deadline:
            pairs.append(pair)
    return pairs


def _row(label: str, pairs: list[Pair[float]], *, smaller_is_better: bool, unit: str) -> dict[str, Any]:
    quotients = [pair.ours / pair.theirs for pair in pairs]
    ratios = Spread.of([1 / quotient for quotient in quotients] if smaller_is_better else quotients)
    ours, theirs = statistics.median(pair.ours for pair in pairs), statistics.median(pair.theirs for pair in pairs)
    others = max((pair.others for pair in pairs if pair.others is not None), default=None)
    scale, shown = (1e6, "MB") if unit == "bytes" else (1.0, unit)
    note = "" if others is None else f", others used {100 * others:.0f} %"
    print(
        f"{label:34s} fastgo {ours / scale:9.2f}  llama.cpp {theirs / scale:9.2f} {shown:9s} "
        f"ratio {ratios.median:5.2f} ({ratios.min:.2f} to {ratios.max:.2f}){note}",
        flush=True,
    )
    return {
        "test": label,
        "unit": unit,
        "fastgo": ours,
        "llama.cpp": theirs,
        "ratio": ratios.to_json(),
        "others": others,
        "samples": [[pair.ours, pair.theirs] for pair in pairs],
    }


if __name__ == "__main__":
    main()
