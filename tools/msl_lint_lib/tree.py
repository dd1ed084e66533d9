"""Reads clang's dump of its syntax tree: casts between address spaces, and which templates were instantiated.

The dump writes places relative to the one before; a Place is a file and a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from msl_lint_lib.finding import Finding

Place = tuple[str, int]

_LOCATION = re.compile(r"line:(?P<same_file>\d+):\d+|col:\d+|(?P<file>[^<>\s,][^<>,]*):(?P<line>\d+):\d+")
_NODE = re.compile(r"(?P<indent>[ |`-]*)(?P<kind>\w+)")
_TEMPLATES = frozenset({"FunctionTemplateDecl", "ClassTemplateDecl", "ClassTemplatePartialSpecializationDecl"})
_FUNCTIONS = frozenset({"FunctionDecl", "CXXMethodDecl", "CXXConstructorDecl", "CXXConversionDecl"})


@dataclass(frozen=True)
class _Node:
    """A line of the dump; `start` and `name` are where its source begins and where it is named."""

    depth: int
    kind: str
    text: str
    start: Place
    name: Place


def _nodes(dump: str) -> Iterator[_Node]:
    place: Place = ("", 0)
    for text in dump.splitlines():
        match = _NODE.match(text)
        start: Place | None = None
        for location in _LOCATION.finditer(text[: text.find("'") if "'" in text else len(text)]):
            if location["file"]:
                place = (location["file"], int(location["line"]))
            elif location["same_file"]:
                place = (place[0], int(location["same_file"]))
            start = start or place
        if match is not None:
            yield _Node(len(match["indent"]), match["kind"], text, start or place, place)


def casts(dump: str) -> Iterator[Finding]:
    """Casts from one address space to another, which C++ permits if they are spelled out."""
    for node in _nodes(dump):
        if "<AddressSpaceConversion>" in node.text:
            yield Finding(*node.start, "a cast from one address space to another")


@dataclass(frozen=True)
class Bodies:
    """Where functions that are templates, or members of templates, are named, and which of them clang built."""

    written: frozenset[Place]
    instantiated: frozenset[Place]


def template_bodies(dump: str) -> Bodies:
    """All functions with a body; clang looks into a template's body in earnest only when it is instantiated."""
    written: set[Place] = set()
    instantiated: set[Place] = set()
    stack: list[_Node] = []
    for node in _nodes(dump):
        while stack and stack[-1].depth >= node.depth:
            stack.pop()
        if node.kind == "CompoundStmt" and stack and stack[-1].kind in _FUNCTIONS:
            function = stack[-1]
            if "instantiated_from" in function.text:
                instantiated.add(function.name)
            elif " implicit " not in function.text and any(parent.kind in _TEMPLATES for parent in stack):
                written.add(function.name)
        stack.append(node)
    return Bodies(frozenset(written), frozenset(instantiated))
