"""Compiles the Metal half and the bindings for arm64 macOS against Apple's own metal-cpp, on a machine without a Mac.

`python tools/check_macos.py [--link] [--generated DIR] [--keep DIR] [FILE...]` prints one line a file and exits with
0 if all is sound, 1 if something is not, 2 if the check could not be made. What it proves: API use, types and linking,
not behaviour. Each file that uses Metal is compiled twice, against the current headers and against those of the oldest
macOS that is supported, so that newer API can't slip in; a file named *_macos<NN>.cpp is exempt from the latter.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from macos import macho, metal_cpp, shader_tables, symbols, zig
from macos.errors import CheckError

ROOT = Path(__file__).resolve().parent.parent
BINDINGS = ROOT / "csrc" / "bindings.cpp"
# Written for newer headers, instantiating the headers themselves, or without Metal.
_NOT_BASELINE = re.compile(r".*_macos\d+|apple_implementation|bindings")
_LABEL = "type-checked and linked, not run"


@dataclass(frozen=True)
class Unit:
    """One compilation: a source, the headers (None for a file without Metal) and what to call it in the report."""

    source: Path
    headers: Path | None
    output: Path
    label: str


def default_sources() -> list[Path]:
    """The project's own files: csrc/metal and the bindings."""
    sources = sorted((ROOT / "csrc" / "metal").glob("*.cpp"))
    return sources + ([BINDINGS] if BINDINGS.is_file() else [])


def plan(sources: list[Path], tables: list[Path], current: Path, baseline: Path | None, scratch: Path) -> list[Unit]:
    """Every compilation to make; those against the current headers come first, in the order of the files."""
    units = []
    for index, source in enumerate([*sources, *tables]):
        is_table = index >= len(sources)
        label = f"generated {source.name}" if is_table else shown(source)
        headers = None if is_table else current
        units.append(Unit(source, headers, scratch / f"{index:03}-{source.stem}.o", label))
    for index, source in enumerate(sources):
        if baseline is not None and not _NOT_BASELINE.fullmatch(source.stem):
            label = f"{shown(source)} (headers of macOS {metal_cpp.BASELINE.macos})"
            units.append(Unit(source, baseline, scratch / f"{index:03}-{source.stem}.baseline.o", label))
    return units


def shown(path: Path) -> str:
    """The path as the report prints it: from the project's root where it lies below it."""
    resolved = path.resolve()
    return str(resolved.relative_to(ROOT)) if resolved.is_relative_to(ROOT) else str(path)


def report(label: str, result: zig.Result) -> bool:
    """Prints the line of one file and, on failure, what the compiler said."""
    print(f"{'ok    ' if result.ok else 'FAILED'}  {label}  {result.seconds:.1f} s", flush=True)
    if not result.ok:
        print("\n".join(f"    {line}" for line in result.message.splitlines()), flush=True)
    return result.ok


def check_link(compiler: zig.Compiler, objects: list[Path], library: Path) -> bool:
    """Links the objects and reports symbols that nothing provides."""
    result = compiler.link(objects, library)
    if result.ok:
        undefined = macho.undefined_symbols(library)
        unknown = symbols.unknown_symbols(undefined)
        if unknown:
            lines = [f"undefined and in no reviewed list: {name}" for name in unknown]
            result = zig.Result(False, "\n".join(lines), result.seconds)
        return report(f"link {library.name}: {len(undefined)} undefined symbols", result)
    return report(f"link {library.name}", result)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """The command line; wrong use ends with status 2."""
    parser = argparse.ArgumentParser(description="Compile and link for arm64 macOS against metal-cpp; runs nothing.")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="C++ files (default: the project's)")
    parser.add_argument("--link", action="store_true", help="also link, and check every undefined symbol")
    parser.add_argument("--generated", type=Path, metavar="DIR", help="folder of generated shader tables (*.cpp)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep objects and the library in this folder")
    parser.add_argument("--headers", type=Path, metavar="DIR", help="metal-cpp to use (default: downloaded once)")
    parser.add_argument("--no-baseline", action="store_true", help="skip the headers of the oldest supported macOS")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1), metavar="N", help="compilers at once")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"--jobs {options.jobs}: expected at least 1")
    return options


@contextmanager
def output_folder(keep: Path | None) -> Iterator[Path]:
    """The folder for objects: the user's, or one that is removed afterwards."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="check_macos-") as scratch:
        yield Path(scratch)


def find_headers(options: argparse.Namespace, cache: Path) -> tuple[Path, Path | None]:
    """The current metal-cpp and the baseline's (None if it is not wanted)."""
    if options.headers is None:
        current = metal_cpp.find(metal_cpp.CURRENT, cache)
    elif (options.headers / "Metal" / "Metal.hpp").is_file():
        current = options.headers.resolve()
    else:
        raise CheckError(f"no Metal/Metal.hpp in {options.headers}", "give the root of a metal-cpp release")
    return current, None if options.no_baseline else metal_cpp.find(metal_cpp.BASELINE, cache)


def check(options: argparse.Namespace) -> bool:
    """Runs the whole check and prints the report; true if everything is sound."""
    cache = metal_cpp.cache_folder()
    compiler = zig.Compiler(
        cache=cache / "zig",
        includes=(ROOT / "csrc", ROOT / "shaders"),
        system_includes=zig.python_includes(cache),
    )
    sources = options.files or default_sources()
    missing = [path for path in sources if not path.is_file()]
    if missing:
        raise CheckError(f"no such file: {missing[0]}", "give C++ files, or none for the project's own")
    current, baseline = find_headers(options, cache)
    with output_folder(options.keep) as scratch:
        tables = (
            [] if options.files and options.generated is None else shader_tables.find(ROOT, options.generated, scratch)
        )
        units = plan(sources, tables, current, baseline, scratch)
        with ThreadPoolExecutor(options.jobs) as pool:
            results = pool.map(lambda unit: compiler.compile(unit.source, unit.output, unit.headers), units)
            failures = sum(not report(unit.label, result) for unit, result in zip(units, results, strict=True))
        if options.link and failures:
            print("link skipped: not every file compiled", flush=True)
        elif options.link:
            objects = [unit.output for unit in units[: len(sources) + len(tables)]]
            failures += not check_link(compiler, objects, scratch / "_fastmetal.so")
    label = _LABEL if options.link else _LABEL.replace(" and linked", "")
    print(f"{label}: {len(units)} compilations, {failures} failed", flush=True)
    return failures == 0


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 sound, 1 not sound, 2 not checked."""
    options = parse_arguments(arguments)
    try:
        return 0 if check(options) else 1
    except CheckError as error:
        print(f"not checked: {error}\nhint: {error.hint}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
