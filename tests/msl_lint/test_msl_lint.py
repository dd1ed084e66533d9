"""The linter must refuse each shader under reject/ at the marked lines and accept sound ones, ours included."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import msl_lint  # noqa: E402
from msl_lint_lib import clang, rules  # noqa: E402
from mslc_lib.parser import parse  # noqa: E402
from mslc_lib.preprocessor import preprocess  # noqa: E402

CASES = Path(__file__).resolve().parent
REJECT = sorted((CASES / "reject").glob("*.metal"))
SHADERS = sorted((ROOT / "shaders").glob("*.metal"))
_EXPECTATION = re.compile(r"// expect: (?P<message>.*)$")

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="needs the package ziglang")


def expectations(path: Path) -> dict[int, str]:
    """Line number to the part of the message that must be reported there."""
    found = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if match := _EXPECTATION.search(line):
            found[number] = match["message"]
    return found


def test_the_list_of_rejected_shaders_is_complete() -> None:
    assert len(REJECT) >= 55
    assert all(expectations(path) for path in REJECT)
    expected = {message for path in REJECT for message in expectations(path).values()}
    assert set(rules.FORBIDDEN.values()) <= expected


@pytest.mark.parametrize("path", REJECT, ids=lambda path: path.stem)
def test_mistake_is_found_where_it_is(path: Path) -> None:
    findings = msl_lint.lint(path)
    expected = expectations(path)
    assert {Path(f.file).name for f in findings} == {path.name}
    assert {f.line for f in findings} == set(expected)
    for line, message in expected.items():
        assert any(f.line == line and message in f.message for f in findings), findings


@pytest.mark.parametrize("path", [CASES / "accept" / "idioms.metal", *SHADERS], ids=lambda path: path.stem)
def test_sound_shader_is_accepted(path: Path) -> None:
    assert msl_lint.lint(path, [ROOT / "shaders"]) == []


def test_every_template_of_ours_is_instantiated() -> None:
    """Mistakes in the body of a template show only then; headers count where any shader uses them."""
    written, instantiated = set(), set()
    for path in SHADERS:
        tokens = preprocess(path, [ROOT / "shaders"], ()).tokens
        bodies = clang.template_bodies(tokens, parse(tokens))
        written |= {place for place in bodies.written if Path(place[0]).is_relative_to(ROOT / "shaders")}
        instantiated |= bodies.instantiated
    assert len(written) > 100
    assert sorted(written - instantiated) == []


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    path = CASES / "reject" / "double_precision.metal"
    assert msl_lint.main([str(path)]) == 1
    assert capsys.readouterr().out == f"{path}:5: MSL has no double\n"
    assert msl_lint.main([str(CASES / "accept" / "idioms.metal")]) == 0
    assert msl_lint.main(["no/such/file.metal"]) == 1
    assert "no/such/file.metal:1: cannot be read" in capsys.readouterr().out
