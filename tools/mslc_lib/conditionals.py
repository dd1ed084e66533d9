"""Spells what MSL takes from C but C++ does not have: mixed arms of `c ? a : b`, and `{[0 ... n - 1] = x}`.

half and bfloat are classes in C++, which convert to and from float; so the arms of a conditional are brought to their
common type by a function that leaves all other types alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from .lexer import IDENTIFIER, NUMBER, PUNCTUATION, Token, closing, closing_angle, split_commas
from .parts import find_attribute_end

_ENDS = frozenset({",", ";", ")", "]", "}", ":"})
_AFTER_ANGLE = frozenset({";", "::", "(", ")", ",", "{", ">"})
_MAX_DEPTH = 4  # of conditionals in the arms of others, each of which is spelled three times
_LITERALS = frozenset({"true", "false", "nullptr"})


def with_common_arms(tokens: Sequence[Token]) -> list[Token]:
    """The tokens with both arms of every conditional expression in their common type."""
    if not any(t.text == "?" for t in tokens):
        return list(tokens)
    return _rewritten(list(tokens), 0)


def _rewritten(tokens: list[Token], depth: int) -> list[Token]:
    output: list[Token] = []
    angles = _closing_angles(tokens)
    index = 0
    while index < len(tokens):
        token = tokens[index]
        end = None if token.text != "?" or depth == _MAX_DEPTH else _arms(tokens, index, angles)
        if end is None:
            output.append(token)
            index += 1
            continue
        colon, stop = end
        first = _rewritten(tokens[index + 1 : colon], depth + 1)
        second = _rewritten(tokens[colon + 1 : stop], depth + 1)
        output.append(token)
        output += _arm(first, second)
        output.append(tokens[colon])
        output += _arm(second, first)
        index = stop
    return output


def _arms(tokens: Sequence[Token], question: int, angles: frozenset[int]) -> tuple[int, int] | None:
    """Index of the `:` of a conditional, and of what follows its last arm; None if that is nothing to wrap."""
    colon = _skip(tokens, question + 1, frozenset({":", ";"}), frozenset())
    if colon is None or tokens[colon].text != ":":
        return None
    stop = _skip(tokens, colon + 1, _ENDS, angles)
    stop = len(tokens) if stop is None else stop
    first, second = tokens[question + 1 : colon], tokens[colon + 1 : stop]
    if not first or not second or _is_plain(first) or _is_plain(second):
        return None
    return colon, stop


def _is_plain(arm: Sequence[Token]) -> bool:
    """Whether an arm can't be handed to a function without changing what it means: null pointers, strings, lists."""
    if arm[0].text in ("{", "throw") or arm[0].text.startswith('"'):
        return True
    return len(arm) == 1 and arm[0].text in _LITERALS


def _closing_angles(tokens: Sequence[Token]) -> frozenset[int]:
    """Indices of each `>` that is taken to end template arguments, judged by what follows it."""
    found = set()
    for index in range(1, len(tokens)):
        if tokens[index].text == "<" and tokens[index - 1].kind == IDENTIFIER:
            end = closing_angle(tokens, index)
            if end is None or end + 1 >= len(tokens):
                continue
            following = tokens[end + 1]
            is_list = any(t.text == "," for t in tokens[index:end])
            if following.text in _AFTER_ANGLE or (following.kind == IDENTIFIER and is_list):
                found.add(end)
    return frozenset(found)


def _skip(tokens: Sequence[Token], index: int, ends: frozenset[str], angles: frozenset[int]) -> int | None:
    """Index of the first of `ends` or `angles` outside brackets, template arguments and nested conditionals."""
    open_conditionals = 0
    while index < len(tokens):
        token = tokens[index]
        if token.kind == PUNCTUATION:
            if token.text == "?":
                open_conditionals += 1
            elif token.text == ":" and open_conditionals:
                open_conditionals -= 1
            elif token.text in ends or index in angles:
                return index
            elif token.text in ("(", "[", "{"):
                index = closing(tokens, index)
            elif token.text == "<" and tokens[index - 1].kind == IDENTIFIER:
                end = closing_angle(tokens, index)
                if end is not None and end + 1 < len(tokens) and tokens[end + 1].text in ("(", "::", "{"):
                    index = end
        index += 1
    return None


def _arm(arm: Sequence[Token], other: Sequence[Token]) -> list[Token]:
    place = arm[0]
    if len(arm) == 1 and arm[0].kind == NUMBER and len(other) == 1 and other[0].kind == NUMBER:
        return list(arm)
    return [
        _piece("::metal::cpu::arm<decltype((", place),
        *arm,
        _piece(")), decltype((", place),
        *other,
        _piece("))>(", place),
        *arm,
        _piece(")", place),
    ]


def _piece(text: str, place: Token) -> Token:
    return Token(PUNCTUATION, text, place.file, place.line, True)


def with_filled_arrays(tokens: Sequence[Token]) -> list[Token]:
    """`T a[n] = {[0 ... n - 1] = x};` as a declaration and a statement that fills it."""
    output: list[Token] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token.text == "=" and _is_range(tokens, index + 1):
            end = closing(tokens, index + 1)
            if end + 1 >= len(tokens) or tokens[end + 1].text != ";":
                raise token.error("an initial value with '...' must stand alone in its declaration")
            output.append(token.renamed(";"))
            output += [_piece("::metal::cpu::fill(", token), _declared(output, token), _piece(",", token)]
            output += _range_value(tokens[index + 1 : end + 1])
            output.append(_piece(")", token))
            index = end + 1
        else:
            output.append(token)
            index += 1
    return output


def _is_range(tokens: Sequence[Token], index: int) -> bool:
    if index + 1 >= len(tokens) or tokens[index].text != "{" or tokens[index + 1].text != "[":
        return False
    if find_attribute_end(tokens, index + 1) is not None:
        return False
    return any(t.text == "..." for t in tokens[index : closing(tokens, index + 1)])


def _range_value(braced: Sequence[Token]) -> Sequence[Token]:
    """The value in `{[a ... b] = value}`, of the innermost of several."""
    close = closing(braced, 1)
    if close + 1 >= len(braced) or braced[close + 1].text != "=":
        raise braced[0].error("'=' is missing after '[... ]' of this initial value")
    value = braced[close + 2 : -1]
    if value and value[-1].text == ",":
        value = value[:-1]
    if _is_range(value, 0):
        return _range_value(value)
    if len(split_commas(value)) != 1 or any(t.text == "..." for t in value) or value[0].text == "{":
        raise braced[0].error("only one value for a whole array is supported with '[... ]'")
    return value


def _declared(output: Sequence[Token], place: Token) -> Token:
    """The name of the array whose declaration ends before the last token."""
    index = len(output) - 2
    while index > 0 and output[index].text == "]":
        depth = 0
        while index > 0:
            depth += {"]": 1, "[": -1}.get(output[index].text, 0)
            index -= 1
            if depth == 0:
                break
    if index < 0 or output[index].kind != IDENTIFIER:
        raise place.error("an initial value with '[... ]' must be that of an array")
    return output[index]
