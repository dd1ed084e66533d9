"""Splits MSL text into preprocessing tokens that remember their file and line.

Comments and line splices become white space. `>` is always a token of its own, so that nested template argument lists
need no splitting; what is written back without a space between reads as the longer operator again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from .errors import MslError

IDENTIFIER = "id"
NUMBER = "num"
STRING = "str"
CHARACTER = "chr"
PUNCTUATION = "punct"

_PATTERN = re.compile(
    r"""
      (?P<space>(?:[ \t\r\f\v]|\\[ \t]*\r?\n)+)
    | (?P<newline>\n)
    | (?P<line_comment>//(?:\\[ \t]*\r?\n|[^\n])*)
    | (?P<block_comment>/\*.*?\*/)
    | (?P<id>[A-Za-z_$][A-Za-z0-9_$]*)
    | (?P<num>\.?[0-9](?:[eEpP][+-]|'[0-9A-Za-z]|[0-9A-Za-z_.])*)
    | (?P<str>"(?:\\.|[^"\\\n])*")
    | (?P<chr>'(?:\\.|[^'\\\n])*')
    | (?P<punct>\.\.\.|<<=|->\*|::|->|\+\+|--|<<|<=|==|!=|&&|\|\||\+=|-=|\*=|/=|%=|&=|\|=|\^=|\#\#|
        [{}\[\]()<>;:,.?~!+\-*/%^&|=\#@])
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """One token; `space` tells of white space before it, `first` of a line that begins with it."""

    kind: str
    text: str
    file: str
    line: int
    space: bool = False
    first: bool = False
    hidden: frozenset[str] = field(default=frozenset(), repr=False)

    def error(self, message: str) -> MslError:
        """An error at this token's place, ready to raise."""
        return MslError(self.file, self.line, message)

    def renamed(self, text: str, kind: str = IDENTIFIER) -> Token:
        """The same place and spacing with another text."""
        return replace(self, text=text, kind=kind)


def tokenize(text: str, file: str) -> list[Token]:
    """All tokens of `text`; raises MslError at the first character that starts none."""
    tokens: list[Token] = []
    position, line, space, first = 0, 1, False, True
    while position < len(text):
        match = _PATTERN.match(text, position)
        if match is None:
            if text.startswith("/*", position):
                raise MslError(file, line, "a comment that is opened here is never closed")
            raise MslError(file, line, f"unexpected character {text[position]!r}")
        kind, piece = match.lastgroup or "", match.group()
        if kind in ("space", "line_comment", "block_comment"):
            space = True
        elif kind == "newline":
            space, first = True, True
        else:
            tokens.append(Token(kind, piece, file, line, space, first))
            space, first = False, False
        line += piece.count("\n")
        position = match.end()
    return tokens


def unrolling(words: Sequence[str]) -> str:
    """What a pragma of these words asks of the loop behind it: "unroll", "unroll N", or "" for anything else."""
    if list(words[:3]) == ["clang", "loop", "unroll"]:
        return "unroll" if "full" in words or "enable" in words else ""
    if list(words[:3]) == ["clang", "loop", "unroll_count"]:
        words = ["unroll", *words[3:]]
    if words and words[0] == "unroll":
        count = [word for word in words[1:] if word not in ("(", ")")]
        return f"unroll {count[0]}" if len(count) == 1 and count[0].isdigit() else "unroll"
    return ""


def spell(tokens: Iterable[Token]) -> str:
    """The tokens as one line of text, spaced as they were written."""
    text = ""
    for token in tokens:
        text += (" " if text and token.space else "") + token.text
    return text


def closing(tokens: Sequence[Token], start: int) -> int:
    """Index of the bracket that closes the one at `start`; knows (), [] and {}."""
    pairs = {"(": ")", "[": "]", "{": "}"}
    expected: list[str] = []
    for index in range(start, len(tokens)):
        text = tokens[index].text
        if tokens[index].kind != PUNCTUATION:
            continue
        if text in pairs:
            expected.append(pairs[text])
        elif text in (")", "]", "}"):
            if expected.pop() != text:
                raise tokens[index].error(f"'{text}' does not match the bracket of line {tokens[start].line}")
            if not expected:
                return index
    raise tokens[start].error(f"'{tokens[start].text}' is never closed")


def closing_angle(tokens: Sequence[Token], start: int) -> int | None:
    """Index of the `>` that closes the `<` at `start`, or None if it is no template bracket."""
    return _closing_angle(tokens, start + 1)


def _closing_angle(tokens: Sequence[Token], index: int) -> int | None:
    """Index of the first unmatched `>` from `index` on.

    A `<` after a name may open a nested list or compare; it is taken to open one unless the outer list then never ends.
    """
    while index < len(tokens):
        token = tokens[index]
        if token.kind == PUNCTUATION:
            if token.text == "<" and tokens[index - 1].kind == IDENTIFIER:
                inner = _closing_angle(tokens, index + 1)
                outer = _closing_angle(tokens, inner + 1) if inner is not None else None
                if outer is not None:
                    return outer
            elif token.text == ">":
                return index
            elif token.text in "([":
                index = closing(tokens, index)
            elif token.text in (";", "{", "}", ")", "]"):
                return None
        index += 1
    return None


def split_commas(tokens: Sequence[Token]) -> list[list[Token]]:
    """The comma-separated parts of a parameter or argument list, brackets respected."""
    parts: list[list[Token]] = [[]]
    index = 0
    while index < len(tokens):
        token = tokens[index]
        end = index
        if token.kind == PUNCTUATION and token.text in "([{":
            end = closing(tokens, index)
        elif token.text == "<" and token.kind == PUNCTUATION:
            end = closing_angle(tokens, index) or index
        if token.text == "," and token.kind == PUNCTUATION:
            parts.append([])
        else:
            parts[-1].extend(tokens[index : end + 1])
        index = end + 1
    return parts if len(parts) > 1 or parts[0] else []
