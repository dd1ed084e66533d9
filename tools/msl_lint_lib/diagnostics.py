"""Turns what clang says about a rewritten shader into findings, and leaves out what Metal's compiler would not say.

Each alarm that is left out stands here with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from msl_lint_lib.finding import Finding

# Warnings are wanted of what is likely a mistake, but not these:
WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Wno-c++17-extensions",  # Metal takes `if constexpr` and the like, as extensions of its C++14
    "-Wno-unused",  # the instantiations of a template use different parts of it, and headers more than one file's
    "-Wno-unused-parameter",  # likewise; and kernels of one family share their arguments
    "-Wno-duplicate-decl-specifier",  # `constant const` is usual; the shim's `constant` holds a const too
    "-Wno-sign-compare",  # Metal's compiler takes comparisons of mixed signs without a word
    "-Wno-missing-field-initializers",  # `Args args = {}` and partial lists are usual, the rest is zero
    "-Wno-unknown-pragmas",  # clang's own, such as `clang loop`, Metal's compiler knows
    "-Wno-undefined-inline",  # the shim only declares the library
    "-Wno-c99-designator",  # Metal's clang takes C99's initializers of array elements
    "-Wno-gnu-designator",  # and GNU's ranges of them
    "-Wno-initializer-overrides",  # a range first, then some of its elements: what those are for
]

_DIAGNOSTIC = re.compile(r"^(?P<file>.+?):(?P<line>\d+):(?:\d+:)? (?P<kind>[a-z ]+): (?P<message>.*)$")
_SPELLINGS = {
    "const __attribute__((address_space(2)))": "constant",
    "__attribute__((address_space(1)))": "device",
    "__attribute__((address_space(3)))": "threadgroup",
    "_Float16": "half",
    "__bf16": "bfloat",
}

_SAME_LENGTH = (
    r"from (vector )?'.*?' (\(aka '[^']*'\) )?\(vector of (?P<n>\d+) .*?\) to (vector )?'.*\(vector of (?P=n) "
)
_ALLOWED = re.compile(
    # bfloat is a type of its own in Metal, not clang's storage format.
    r"static_cast from '(half|bfloat)'.* to '(half|bfloat)'.* is not allowed"
    # A constructor makes an object of any address space; C++ would want one for each.
    r"|no matching constructor for initialization of '(constant|threadgroup|device) .*"
    # Any cast between vectors of one length converts the elements in Metal; clang's may only reinterpret.
    rf"|(static_cast|C-style cast|) ?{_SAME_LENGTH}.*"
)
# A struct may be copied into and out of any address space in Metal. Clang finds the right function for that, the
# implicit one, and only misses its forms for address spaces, which C++ has no way to declare.
_COPY = re.compile(
    r"candidate (constructor|function) \(the implicit copy (constructor|assignment operator)\) not viable: "
    r"(cannot bind reference in address space|'this' object is in address space).*"
)
# The library's classes (matrix, array) have their members for objects in every address space.
_THIS_IN_SPACE = re.compile(r"not viable: 'this' object is in address space")
# Where a file has member functions for `device` objects and the like, which C++ doesn't know, nobody can tell by clang
# which of them a call finds.
_OBJECT_IN_SPACE = re.compile(r"cannot initialize object parameter of type .* with an expression of type .*")


@dataclass
class _Diagnostic:
    """An error or warning with the notes that follow it."""

    file: str
    line: int
    message: str
    notes: list[tuple[str, int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Diagnostics:
    """What clang's messages say about a shader, and the places where it said what Metal's compiler would not."""

    findings: list[Finding]
    doubtful: frozenset[tuple[str, int]]

    @staticmethod
    def of(text: str, shim: str, has_members_in_spaces: bool) -> Diagnostics:
        """Sorts the messages; `shim` is the folder whose files are not the shader's.

        An error inside the shim is moved to the place in the shader that a note after it names.
        """
        found: list[Finding] = []
        doubtful = set()
        for diagnostic in _diagnostics(text):
            file, line = diagnostic.file, diagnostic.line
            if file.startswith(shim):
                outside = ((f, n) for f, n, _ in diagnostic.notes if not f.startswith(shim))
                file, line = next(outside, (file, line))
            if _is_allowed(diagnostic, shim, has_members_in_spaces):
                doubtful.add((file, line))
            else:
                found.append(Finding(file, line, diagnostic.message))
        return Diagnostics(found, frozenset(doubtful))


def _diagnostics(text: str) -> Iterator[_Diagnostic]:
    current: _Diagnostic | None = None
    for match in filter(None, map(_DIAGNOSTIC.match, text.splitlines())):
        if match["kind"] == "note":
            if current is not None:
                current.notes.append((match["file"], int(match["line"]), match["message"]))
            continue
        if current is not None:
            yield current
        current = _Diagnostic(match["file"], int(match["line"]), _as_msl(match["message"]))
    if current is not None:
        yield current


def _is_allowed(diagnostic: _Diagnostic, shim: str, has_members_in_spaces: bool) -> bool:
    return (
        _ALLOWED.fullmatch(diagnostic.message) is not None
        or any(_COPY.fullmatch(note) for _, _, note in diagnostic.notes)
        or any(f.startswith(shim) and _THIS_IN_SPACE.search(note) for f, _, note in diagnostic.notes)
        or (has_members_in_spaces and _OBJECT_IN_SPACE.fullmatch(diagnostic.message) is not None)
    )


def _as_msl(message: str) -> str:
    for spelling, name in _SPELLINGS.items():
        message = message.replace(spelling, name)
    return message
