"""ARCHITECTURE.md: its floors call only what is below them, the paths that it names are there, its sizes are kept."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "python" / "fastgo"
# What floors below may use as well; the page names them.
SHARED = {"graph.dag", "assets.quant", "assets.quantize", "assets.head_index"}


def floors() -> dict[str, int]:
    """The package's parts by their row in the page's table, counted from the top."""
    rows = [line.split("|")[2] for line in PAGE.splitlines() if line.startswith("| ") and "`python/fastgo/" in line]
    names = [re.findall(r"`(?:python/fastgo/)?(\w+)(?:/|\.py)`", cell) for cell in rows]
    return {name: level for level, row in enumerate(names) for name in row}


def imports(path: Path) -> Iterator[str]:
    """What a file imports of fastgo, as `graph.dag`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("fastgo."):
                yield ".".join(name.split(".")[1:3])


def test_floors_call_only_what_is_below() -> None:
    levels = floors()
    assert len(levels) > 10
    upwards = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for part, level in levels.items()
        for path in [*(PACKAGE / part).rglob("*.py"), PACKAGE / f"{part}.py"]
        if path.is_file()
        for name in imports(path)
        if name not in SHARED and levels.get(name.split(".")[0], level) < level
    ]
    assert upwards == []


def test_shared_files_are_named() -> None:
    assert [name for name in SHARED if f"`{name.replace('.', '/')}.py`" not in PAGE] == []


def test_paths_are_there() -> None:
    paths = [name for name in re.findall(r"`([\w./]+(?:/|\.(?:py|h|cpp|metal|md)))`", PAGE) if "NAME" not in name]
    roots = (ROOT, PACKAGE, ROOT / "csrc" / "softmetal", ROOT / "shaders", ROOT / "csrc")
    roots += tuple(path for path in PACKAGE.iterdir() if path.is_dir())
    assert len(paths) > 40
    assert [name for name in paths if not any((root / name).exists() for root in roots)] == []


def lengths_of_functions(path: Path) -> Iterator[int]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


def test_sizes_are_kept() -> None:
    folders = ("python", "csrc", "shaders", "tools", "bench", "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    limits = {".py": 400, ".cpp": 400, ".metal": 500}
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files if path.suffix in limits}
    lines = {path: count for path, count in lines.items() if "corpus" not in path.parts}
    assert {path.name: count for path, count in lines.items() if count >= limits[path.suffix]} == {}
    assert {path.name: lines[path] for path in (PACKAGE / "models").glob("*.py") if lines[path] >= 150} == {}
    functions = {path.name: max(lengths_of_functions(path), default=0) for path in lines if path.suffix == ".py"}
    assert {name: longest for name, longest in functions.items() if longest >= 60} == {}
