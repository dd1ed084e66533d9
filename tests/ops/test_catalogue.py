"""docs/kernels.md names operations, shaders and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| What")
]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def is_test(name: str) -> bool:
    file, _, function = name.rpartition("::")
    if "/" in file:
        files = [ROOT / file]
    else:
        files = [ROOT / "tests" / "ops" / file] if file else sorted((ROOT / "tests" / "ops").glob("test_*.py"))
    return any(f"def {function}(" in path.read_text(encoding="utf-8") for path in files if path.is_file())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_what_the_table_names_is_there(row: list[str]) -> None:
    _, operations, shaders, tests = row
    assert names(operations) and names(tests)
    assert [name for name in names(operations) if not (ROOT / "python/fastgo/ops" / f"{name}.py").is_file()] == []
    wanted = names(shaders) or names(operations)
    assert [name for name in wanted if not (ROOT / "shaders" / f"{name}.metal").is_file()] == []
    assert [name for name in names(tests) if not is_test(name)] == []
