"""Hands a preprocessed shader to clang with true address spaces and turns what clang says into findings.

Owns the small rewriting that MSL needs to be C++: attributes vanish, function constants get an unknown value, vector
constructors become function calls, threadgroup variables become references. #line directives keep the shader's places.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from mslc_lib.lexer import Token, spell
from mslc_lib.parts import find_attribute_end, parse_variable
from mslc_lib.syntax import Declaration, Function, walk

from msl_lint_lib.finding import Finding
from msl_lint_lib.rules import body_of, threadgroup_variables

SHIM = Path(__file__).resolve().parent.parent / "msl_shim"
_LIMIT = 120.0
_VECTOR = re.compile(r"(packed_)?(bool|u?char|u?short|u?int|u?long|half|bfloat|float)[234]")
_WARNINGS = ["-Wall", "-Wextra", "-Wno-c++17-extensions", "-Wno-unused", "-Wno-duplicate-decl-specifier"]
# Metal's compiler takes comparisons of mixed signs without a word.
_WARNINGS += ["-Wno-sign-compare", "-Wno-missing-field-initializers", "-Wno-unknown-pragmas", "-Wno-undefined-inline"]
_FLAGS = ["-x", "c++", "-std=c++14", "-target", "aarch64-apple-macos14", "-nostdinc", "-fno-exceptions", "-fno-rtti"]
_FLAGS += ["-ferror-limit=50", "-fno-caret-diagnostics", "-fno-color-diagnostics", "-fsyntax-only"]
_DIAGNOSTIC = re.compile(r"^(?P<file>.+?):(?P<line>\d+):(?:\d+:)? (?P<kind>[a-z ]+): (?P<message>.*)$")
_LOCATION = re.compile(r"line:(?P<same_file>\d+):\d+|col:\d+|(?P<file>[^<>\s,][^<>,]*):(?P<line>\d+):\d+")
_SPELLINGS = {
    "const __attribute__((address_space(2)))": "constant",
    "__attribute__((address_space(1)))": "device",
    "__attribute__((address_space(3)))": "threadgroup",
    "_Float16": "half",
    "__bf16": "bfloat",
}


# Said by clang of what Metal's compiler allows: bfloat is a type of its own there, not a storage format.
_ALLOWED = re.compile(r"static_cast from '(half|bfloat)'.* to '(half|bfloat)'.* is not allowed")


class ClangMissingError(Exception):
    """There is no clang to ask."""


def find(tokens: Sequence[Token], declarations: Sequence[Declaration]) -> Iterator[Finding]:
    """What clang objects to, and casts from one address space to another.

    Raises:
        ClangMissingError: the package ziglang is not installed, or its clang did not answer.
    """
    with tempfile.TemporaryDirectory(prefix="msl_lint-") as folder:
        source = Path(folder) / "shader.cpp"
        source.write_text(_as_cpp(tokens, declarations), encoding="utf-8")
        command = [sys.executable, "-m", "ziglang", "clang", *_FLAGS, *_WARNINGS, "-isystem", str(SHIM)]
        command += ["-include", "metal_stdlib", "-Xclang", "-ast-dump", str(source)]
        environment = {**os.environ, "ZIG_LOCAL_CACHE_DIR": folder}
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=_LIMIT)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ClangMissingError(f"clang did not answer: {error}") from None
    found = list(_diagnostics(done.stderr))
    if done.returncode != 0 and not found and not _ALLOWED.search(_as_msl(done.stderr)):
        raise ClangMissingError((done.stderr.strip() or "clang failed without a message").splitlines()[-1])
    yield from found
    yield from _casts(done.stdout)


def _diagnostics(text: str) -> Iterator[Finding]:
    """Errors and warnings; one inside the shim is moved to the place in the shader that a note after it names."""
    pending: Finding | None = None
    for match in filter(None, map(_DIAGNOSTIC.match, text.splitlines())):
        is_note = match["kind"] == "note"
        if pending is not None and (not is_note or not _in_shim(match["file"])):
            place = (match["file"], int(match["line"])) if is_note else (pending.file, pending.line)
            yield Finding(*place, pending.message)
            pending = None
        if is_note or _ALLOWED.fullmatch(_as_msl(match["message"])):
            continue
        finding = Finding(match["file"], int(match["line"]), _as_msl(match["message"]))
        if _in_shim(finding.file):
            pending = finding
        else:
            yield finding
    if pending is not None:
        yield pending


def _in_shim(file: str) -> bool:
    return file.startswith(str(SHIM))


def _as_msl(message: str) -> str:
    for spelling, name in _SPELLINGS.items():
        message = message.replace(spelling, name)
    return message


def _as_cpp(tokens: Sequence[Token], declarations: Sequence[Declaration]) -> str:
    """The shader as C++ text, line for line."""
    replaced = _threadgroup_variables(declarations)
    output: list[str] = []
    place = ("", 0)
    index = 0
    while index < len(tokens):
        token = tokens[index]
        output.append(_line_change(place, token))
        place = (token.file, token.line)
        end = find_attribute_end(tokens, index)
        if id(token) in replaced:
            length, text = replaced[id(token)]
            output.append(text)
            index += length
        elif end is not None:
            if _declares_function_constant(tokens, index, end):
                output.append(" = metal::detail::unknown_value()")
            index = end + 1
        else:
            output.append((" " if token.space or token.first else "") + _spelling(tokens, index))
            index += 1
    return "".join(output) + "\n"


def _line_change(place: tuple[str, int], token: Token) -> str:
    if place == (token.file, token.line):
        return ""
    if place == (token.file, token.line - 1):
        return "\n"
    name = token.file.replace("\\", "\\\\").replace('"', '\\"')
    return f'\n#line {token.line} "{name}"\n'


def _spelling(tokens: Sequence[Token], index: int) -> str:
    text = tokens[index].text
    is_call = index + 1 < len(tokens) and tokens[index + 1].text == "("
    if is_call and _VECTOR.fullmatch(text) and (index == 0 or tokens[index - 1].text != "operator"):
        return "make_" + text
    return text


def _declares_function_constant(tokens: Sequence[Token], start: int, end: int) -> bool:
    inside = any(t.text == "function_constant" for t in tokens[start:end])
    return inside and end + 1 < len(tokens) and tokens[end + 1].text == ";"


def _threadgroup_variables(declarations: Sequence[Declaration]) -> dict[int, tuple[int, str]]:
    """By identity of the first token: how many tokens a declaration has without its `;`, and what replaces them."""
    found: dict[int, tuple[int, str]] = {}
    for declaration in walk(declarations):
        if isinstance(declaration, Function):
            body = body_of(declaration)
            for start, end in threadgroup_variables(declaration):
                found[id(body[start])] = (end - start, _as_references(body[start : end + 1]))
    return found


def _as_references(statement: list[Token]) -> str:
    first = parse_variable(statement, 0)
    texts = []
    for variable in [first, *first.others]:
        element = spell([t for t in variable.type if t.text != "threadgroup"])
        extents = "".join(f"[{spell(extent)}]" for extent in variable.extents)
        alias = f"threadgroup_type_of_{variable.name}"
        storage = f"metal::detail::threadgroup_storage<{alias}>()"
        texts.append(f" typedef {element} {alias}{extents}; threadgroup {alias}& {variable.name} = {storage}")
    return ";".join(texts)


def _casts(dump: str) -> Iterator[Finding]:
    """Casts between address spaces in clang's tree, whose places are written relative to the one before."""
    file, line = "", 0
    for text in dump.splitlines():
        for match in _LOCATION.finditer(text[: text.find("'") if "'" in text else len(text)]):
            if match["file"]:
                file, line = match["file"], int(match["line"])
            elif match["same_file"]:
                line = int(match["same_file"])
            if "<AddressSpaceConversion>" in text:
                break
        if "<AddressSpaceConversion>" in text:
            yield Finding(file, line, "a cast from one address space to another")
