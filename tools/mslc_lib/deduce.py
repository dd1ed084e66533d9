"""Deduces the template arguments of an explicit instantiation from its parameters' types."""

from __future__ import annotations

from collections.abc import Sequence

from .lexer import Token, closing_angle
from .syntax import Function, Parameter

_ANYWHERE = frozenset({"const", "volatile", "device", "constant", "threadgroup", "thread"})


def deduce(function: Function, parameters: Sequence[Parameter]) -> list[list[Token]] | None:
    """The arguments for all the function's template parameters; None if the parameters don't fit or leave one open."""
    if len(parameters) != len(function.parameters):
        return None
    names = {p.name for p in function.template or []}
    bound: dict[str, list[Token]] = {}
    for general, given in zip(function.parameters, parameters, strict=True):
        if not _unify(_bare(general.type), _bare(given.type), names, bound):
            return None
    arguments = [bound.get(p.name) for p in function.template or []]
    return [a for a in arguments if a is not None] if all(a is not None for a in arguments) else None


def _bare(tokens: Sequence[Token]) -> list[Token]:
    """Without what may stand on either side of a type."""
    return [t for t in tokens if t.text not in _ANYWHERE]


def _unify(general: Sequence[Token], given: Sequence[Token], names: set[str], bound: dict[str, list[Token]]) -> bool:
    position = 0
    for index, token in enumerate(general):
        if position >= len(given):
            return False
        if token.text not in names:
            if given[position].text != token.text:
                return False
            position += 1
            continue
        stop = general[index + 1].text if index + 1 < len(general) else None
        end = position
        while end < len(given) and (end == position or given[end].text != stop):
            close = closing_angle(given, end) if given[end].text == "<" else None
            end = end + 1 if close is None else close + 1
        piece = list(given[position:end])
        known = bound.setdefault(token.text, piece)
        if [t.text for t in known] != [t.text for t in piece]:
            return False
        position = end
    return position == len(given)
