"""Finds on any machine what Metal's compiler would reject in a shader: `python tools/msl_lint.py FILE...`.

Prints findings as file:line: message and exits with 0 if there are none, 1 if there are some, 2 if the check could not
be made. It knows MSL's own rules (declarations, attributes, address spaces) and asks a real clang about everything
else. It is stricter than Metal in two places: a kernel template that is never instantiated is refused, since nobody
looks into its body, and clang's warnings count as findings. What clang says and Metal does not is listed, each with its
reason, in msl_lint_lib/diagnostics.py.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from msl_lint_lib import clang, kernels, pointers, rules
from msl_lint_lib.finding import Finding
from mslc_lib.errors import MslError
from mslc_lib.parser import parse
from mslc_lib.preprocessor import preprocess
from mslc_lib.reflect import analyse


def lint(path: Path, include_directories: Sequence[Path] = ()) -> list[Finding]:
    """All findings of one file, each once, in the order of their places.

    Raises:
        clang.ClangMissingError: there is no clang to ask.
    """
    findings: set[Finding] = set()
    try:
        tokens = preprocess(path, include_directories, ()).tokens
        declarations = parse(tokens)
    except MslError as error:
        return [Finding(error.file, error.line, error.message)]
    try:
        analyse(declarations)
    except MslError as error:
        findings.add(Finding(error.file, error.line, error.message))
    findings.update(rules.find(tokens, declarations))
    findings.update(pointers.find(declarations))
    findings.update(kernels.find(declarations))
    try:
        findings.update(clang.find(tokens, declarations))
    except MslError as error:
        findings.add(Finding(error.file, error.line, error.message))
    return sorted(findings)


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0 clean, 1 findings, 2 not checked."""
    parser = argparse.ArgumentParser(description="Find what Metal's compiler would reject.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("-I", dest="includes", action="append", type=Path, default=[], metavar="DIR")
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("ziglang") is None:
        print("not checked: the package ziglang is not installed\nhint: pip install ziglang", file=sys.stderr)
        return 2
    count = 0
    for path in options.files:
        try:
            findings = lint(path, options.includes)
        except clang.ClangMissingError as error:
            print(f"not checked: {error}\nhint: reinstall the package ziglang", file=sys.stderr)
            return 2
        for finding in findings:
            print(finding)
        count += len(findings)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
