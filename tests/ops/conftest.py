"""Ends a run of the operations' tests with the worst error of each, from the lines "worst <operation> <variant> ...",
and sees to it that they ran every kernel of the shaders. Errors are relative, as harness.error says.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import pytest
import variants

_ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(_ROOT / "tools"))

from mslc_lib.parser import parse  # noqa: E402
from mslc_lib.preprocessor import preprocess  # noqa: E402
from mslc_lib.reflect import analyse  # noqa: E402

_WORST = re.compile(r"^worst (\S+) (\S+) (.*?) ?(\S+)$", re.MULTILINE)
_worst: dict[tuple[str, str], tuple[float, str]] = {}
_deselected: list[pytest.Item] = []


def pytest_configure(config: pytest.Config) -> None:
    """The processes that run kernels write their names into this file; pytest-xdist's workers find it set."""
    if variants.KERNELS_RUN not in os.environ:
        os.environ[variants.KERNELS_RUN] = tempfile.mkstemp(prefix="fastgo-kernels-")[1]


def pytest_deselected(items: list[pytest.Item]) -> None:
    _deselected.extend(items)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for op, variant, case, error in _WORST.findall(report.capstdout):
        _worst[op, variant] = max(_worst.get((op, variant), (-1.0, "")), (float(error), case))


def _unreached(session: pytest.Session) -> list[str]:
    """Kernels of the shaders that did not run in any of their forms; none where only some tests were asked for."""
    collected = {item.path for item in getattr(session, "items", [])}
    all_files = set(Path(__file__).parent.glob("test_*.py"))
    if _deselected or not all_files <= collected or session.testsfailed or variants.names() == ["device"]:
        return []
    ran = set(Path(os.environ[variants.KERNELS_RUN]).read_text(encoding="utf-8").split())
    all_kernels, reached = set(), set()
    for path in (_ROOT / "shaders").glob("*.metal"):
        for kernel in analyse(parse(preprocess(path, [_ROOT / "shaders"], ()).tokens)).kernels:
            all_kernels.add(kernel.function.name)
            if kernel.host_name in ran:
                reached.add(kernel.function.name)
    return sorted(all_kernels - reached)


def pytest_sessionfinish(session: pytest.Session) -> None:
    unreached = _unreached(session)
    if unreached:
        print("\nkernels that no test of the operations ran:", *unreached)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _worst:
        terminalreporter.section("worst errors")
        for (op, variant), (error, case) in sorted(_worst.items()):
            terminalreporter.write_line(f"{op:22} {variant:12} {error:8.1e}  {case}")
