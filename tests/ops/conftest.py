"""Ends a run of the operations' tests with the worst error of each, from the lines "worst <operation> <variant> ...".

Errors are relative, as harness.error says.
"""

from __future__ import annotations

import re

import pytest

_WORST = re.compile(r"^worst (\S+) (\S+) (.*?) ?(\S+)$", re.MULTILINE)
_worst: dict[tuple[str, str], tuple[float, str]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    for op, variant, case, error in _WORST.findall(report.capstdout):
        _worst[op, variant] = max(_worst.get((op, variant), (-1.0, "")), (float(error), case))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _worst:
        terminalreporter.section("worst errors")
        for (op, variant), (error, case) in sorted(_worst.items()):
            terminalreporter.write_line(f"{op:22} {variant:12} {error:8.1e}  {case}")
