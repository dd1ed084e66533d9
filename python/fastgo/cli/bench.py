"""`fastgo bench`: how fast a model runs here, and where its time goes. The measuring is in fastgo/bench."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgo.cli import ui
from fastgo.cli.formats import KV_CACHE_HELP, KV_CACHE_METAVAR
from fastgo.errors import UsageError

if TYPE_CHECKING:
    from fastgo.engine.engine import Engine

_MAX_SIZE = 1 << 30
_MAX_DIGITS = 10


class BenchFormat(str, Enum):
    """`table` and `md` are for people and may change; `json` and `csv` are for programs."""

    TABLE = "table"
    MARKDOWN = "md"
    JSON = "json"
    CSV = "csv"


def bench(
    model: Annotated[str, typer.Option("--model", "-m", help="Name, model folder or .gguf file.", metavar="NAME|PATH")],
    prompt: Annotated[
        str, typer.Option("--prompt", "-p", help="Tokens of prefill (0: none).", metavar="N,...")
    ] = "512",
    generate: Annotated[
        str, typer.Option("--generate", "-n", help="Tokens of decode (0: none).", metavar="N,...")
    ] = "128",
    depth: Annotated[str, typer.Option(help="Tokens that come before those measured.", metavar="N,...")] = "0",
    batch: Annotated[str, typer.Option(help="Sequences run together.", metavar="N,...")] = "1",
    repeats: Annotated[int, typer.Option("--repeats", "-r", min=1, help="Measurements of each test.")] = 5,
    stages: Annotated[bool, typer.Option("--stages", help="Count dispatches and dependent stages instead.")] = False,
    kernels: Annotated[bool, typer.Option("--kernels", help="Time each kernel alone instead.")] = False,
    output: Annotated[BenchFormat, typer.Option("--format", help="How to write the result.")] = BenchFormat.TABLE,
    baseline: Annotated[
        Path | None, typer.Option(help="JSON of an earlier run; exit code 10 if a test became slower.")
    ] = None,
    kv_cache: Annotated[str | None, typer.Option(help=KV_CACHE_HELP, metavar=KV_CACHE_METAVAR)] = None,
    device: Annotated[str | None, typer.Option(help="Device to run on; see `fastgo env`.")] = None,
) -> None:
    """Measure prefill and decode."""
    sizes = {name: _numbers(name, text) for name, text in (("-p", prompt), ("-n", generate), ("--depth", depth))}
    batches = _numbers("--batch", batch, smallest=1)
    if baseline is not None and (stages or kernels):
        raise UsageError("--baseline compares speeds", hint="leave out --stages and --kernels")
    from fastgo.bench import baseline as baselines
    from fastgo.bench import machine

    earlier = baselines.load(baseline) if baseline is not None else None
    engine = _open(model, device, kv_cache)
    facts = {"model": engine.folder.name, "kv_cache": engine.cache_dtype, **machine.facts(engine.device)}
    dissects = stages or kernels
    rows = _dissect(engine, sizes, repeats, stages, kernels) if dissects else _measure(engine, sizes, batches, repeats)
    rows = [{**row, **facts} for row in rows]
    _write(rows, output)
    if earlier is not None:
        comparisons = baselines.compare(rows, earlier)
        for comparison in comparisons:
            ui.note(str(comparison))
        baselines.check(comparisons)


def _numbers(option: str, text: str, smallest: int = 0) -> list[int]:
    """Whole numbers between commas."""
    parts = [part.strip() for part in text.split(",")]
    are_short = all(part.isdecimal() and len(part) <= _MAX_DIGITS for part in parts)
    if not are_short or not all(smallest <= int(part) <= _MAX_SIZE for part in parts):
        raise UsageError(
            f"{option}: expected whole numbers from {smallest} up with commas between, found {text!r}",
            hint=f"for instance {option} 1,512",
        )
    return [int(part) for part in parts]


def _open(model: str, device: str | None, kv_cache: str | None) -> Engine:
    from fastgo.assets import repository
    from fastgo.engine.devices import device_errors, open_device
    from fastgo.opening import open_engine
    from fastgo.ops.cache_format import check_cache_format

    check_cache_format(kv_cache)
    with ui.progress() as progress, device_errors():
        folder = repository.open_model(model, progress=progress)
        engine = open_engine(open_device(device), folder, kv_cache, progress)
    ui.fallback(device)
    return engine


def _measure(engine: Engine, sizes: dict[str, list[int]], batches: list[int], repeats: int) -> list[dict[str, Any]]:
    from fastgo.bench import machine, speed

    tests = speed.plan(sizes["-p"], sizes["-n"], sizes["--depth"], batches, engine.config)
    if not tests:
        raise UsageError("-p 0 and -n 0 leave nothing to measure", hint="give one of them a size")
    tokens = speed.tokens_for(engine, tests)
    rows = []
    for test in tests:
        ui.note(f"measuring {test.name} at depth {test.depth}")
        row = speed.run(engine, test, tokens, repeats)
        rows.append({**row, "peak_memory_bytes": machine.peak_memory()})
    return rows


def _dissect(
    engine: Engine, sizes: dict[str, list[int]], repeats: int, stages: bool, kernels: bool
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    if stages:
        from fastgo.bench import stages as counting

        rows.append(counting.count(engine))
    if kernels:
        from fastgo.bench.kernels import measure_kernels

        rows += measure_kernels(engine, sizes["-p"], sizes["-n"], sizes["--depth"], repeats)
    return rows


def _write(rows: list[dict[str, Any]], output: BenchFormat) -> None:
    from fastgo.bench import report

    if output is BenchFormat.JSON:
        ui.json_data(rows)
    elif output is BenchFormat.CSV:
        ui.data(report.comma_separated(rows))
    elif output is BenchFormat.MARKDOWN:
        ui.data(report.markdown(rows))
    else:
        for index, (header, cells) in enumerate(report.tables(rows)):
            if index:
                ui.data("")
            right = [i for i, name in enumerate(header) if name not in report.TEXT_COLUMNS]
            ui.table(cells, header=header, right=right)
