"""Asks a real clang about a shader: errors, warnings, and what its syntax tree shows."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mslc_lib.lexer import Token
from mslc_lib.syntax import Declaration

from msl_lint_lib import diagnostics, tree
from msl_lint_lib.as_cpp import as_cpp, members_in_spaces
from msl_lint_lib.finding import Finding

SHIM = Path(__file__).resolve().parent.parent / "msl_shim"
_LIMIT = 120.0
_FLAGS = ["-x", "c++", "-std=c++14", "-target", "aarch64-apple-macos14", "-nostdinc", "-fno-exceptions", "-fno-rtti"]
# A file with more errors than the limit needs no longer list of them.
_FLAGS += ["-ferror-limit=50", "-fno-caret-diagnostics", "-fno-color-diagnostics", "-fsyntax-only"]


class ClangMissingError(Exception):
    """There is no clang to ask."""


def find(tokens: Sequence[Token], declarations: Sequence[Declaration]) -> Iterator[Finding]:
    """What clang objects to, and casts from one address space to another.

    Where clang only misses functions for an address space, it is asked once more with a single one.

    Raises:
        ClangMissingError: the package ziglang is not installed, or its clang did not answer.
        MslError: a literal that MSL does not know.
    """
    done = _ask(tokens, declarations)
    has_members_in_spaces = next(members_in_spaces(declarations), None) is not None
    said = diagnostics.Diagnostics.of(done.stderr, str(SHIM), has_members_in_spaces)
    if done.returncode != 0 and not said.findings and not said.doubtful:
        raise ClangMissingError((done.stderr.strip() or "clang failed without a message").splitlines()[-1])
    yield from said.findings
    yield from tree.casts(done.stdout)
    if said.doubtful:
        again = _ask(tokens, declarations, "-DMSL_SHIM_ONE_SPACE").stderr
        for finding in diagnostics.Diagnostics.of(again, str(SHIM), has_members_in_spaces).findings:
            if (finding.file, finding.line) in said.doubtful:
                yield finding


def template_bodies(tokens: Sequence[Token], declarations: Sequence[Declaration]) -> tree.Bodies:
    """Which templates of the file and of what it includes were looked into; raises as `find` does."""
    return tree.template_bodies(_ask(tokens, declarations).stdout)


def _ask(
    tokens: Sequence[Token], declarations: Sequence[Declaration], *options: str
) -> subprocess.CompletedProcess[str]:
    """Clang's messages and its syntax tree."""
    with tempfile.TemporaryDirectory(prefix="msl_lint-") as folder:
        source = Path(folder) / "shader.cpp"
        source.write_text(as_cpp(tokens, declarations), encoding="utf-8")
        command = [sys.executable, "-m", "ziglang", "clang", *_FLAGS, *diagnostics.WARNINGS, "-isystem", str(SHIM)]
        command += ["-include", "metal_stdlib", *options, "-Xclang", "-ast-dump", str(source)]
        environment = {**os.environ, "ZIG_LOCAL_CACHE_DIR": folder}
        try:
            return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=_LIMIT)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ClangMissingError(f"clang did not answer: {error}") from None
