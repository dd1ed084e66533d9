"""Evaluates integer constant expressions: the conditions of #if, array extents, attribute arguments.

Values are Python integers; division and remainder truncate towards zero as in C.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .lexer import CHARACTER, IDENTIFIER, NUMBER, Token

Lookup = Callable[[Token], int]
Call = Callable[[str, Sequence[Token], Token], int]

_LEVELS = (
    ("||",),
    ("&&",),
    ("|",),
    ("^",),
    ("&",),
    ("==", "!="),
    ("<", ">", "<=", ">="),
    ("<<", ">>"),
    ("+", "-"),
    ("*", "/", "%"),
)
_MAX_SHIFT = 63


def _divide(left: int, right: int, token: Token) -> int:
    if right == 0:
        raise token.error("division by zero in a constant expression")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _shift(left: int, right: int, token: Token) -> int:
    if not -1 < right <= _MAX_SHIFT:
        raise token.error(f"shift by {right} in a constant expression")
    return left << right if token.text == "<<" else left >> right


_APPLY: dict[str, Callable[[int, int, Token], int]] = {
    "||": lambda a, b, _: int(bool(a or b)),
    "&&": lambda a, b, _: int(bool(a and b)),
    "|": lambda a, b, _: a | b,
    "^": lambda a, b, _: a ^ b,
    "&": lambda a, b, _: a & b,
    "==": lambda a, b, _: int(a == b),
    "!=": lambda a, b, _: int(a != b),
    "<": lambda a, b, _: int(a < b),
    ">": lambda a, b, _: int(a > b),
    "<=": lambda a, b, _: int(a <= b),
    ">=": lambda a, b, _: int(a >= b),
    "<<": _shift,
    ">>": _shift,
    "+": lambda a, b, _: a + b,
    "-": lambda a, b, _: a - b,
    "*": lambda a, b, _: a * b,
    "/": _divide,
    "%": lambda a, b, token: a - b * _divide(a, b, token),
}


def parse_integer(token: Token) -> int:
    """The value of an integer literal, any base and suffix."""
    digits = token.text.replace("'", "").lower().rstrip("ul")
    try:
        if digits.startswith(("0x", "0b")):
            return int(digits, 0)
        return int(digits, 8) if len(digits) > 1 and digits[0] == "0" else int(digits)
    except ValueError:
        raise token.error(f"'{token.text}' is no integer") from None


class _Parser:
    def __init__(self, tokens: Sequence[Token], place: Token, lookup: Lookup, call: Call) -> None:
        self._tokens = _join_greater(tokens)
        self._place = place
        self._lookup = lookup
        self._call = call
        self._index = 0

    def run(self) -> int:
        value = self._ternary()
        if self._index < len(self._tokens):
            token = self._tokens[self._index]
            raise token.error(f"unexpected '{token.text}' in a constant expression")
        return value

    def _peek(self) -> str:
        return self._tokens[self._index].text if self._index < len(self._tokens) else ""

    def _next(self) -> Token:
        if self._index >= len(self._tokens):
            raise self._place.error("a constant expression ends too early")
        self._index += 1
        return self._tokens[self._index - 1]

    def _expect(self, text: str) -> None:
        token = self._next()
        if token.text != text:
            raise token.error(f"expected '{text}' in a constant expression, found '{token.text}'")

    def _ternary(self) -> int:
        condition = self._binary(0)
        if self._peek() != "?":
            return condition
        self._next()
        yes = self._ternary()
        self._expect(":")
        no = self._ternary()
        return yes if condition else no

    def _binary(self, level: int) -> int:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while self._peek() in _LEVELS[level]:
            token = self._next()
            right = self._binary(level + 1)
            left = _APPLY[token.text](left, right, token)
        return left

    def _unary(self) -> int:
        token = self._next()
        if token.text == "!":
            return int(not self._unary())
        if token.text == "~":
            return ~self._unary()
        if token.text == "-":
            return -self._unary()
        if token.text == "+":
            return self._unary()
        if token.text == "(":
            value = self._ternary()
            self._expect(")")
            return value
        if token.kind == NUMBER:
            return parse_integer(token)
        if token.kind == CHARACTER and len(token.text) == len("'x'"):
            return ord(token.text[1])
        if token.kind != IDENTIFIER:
            raise token.error(f"unexpected '{token.text}' in a constant expression")
        if self._peek() == "(":
            return self._call_function(token)
        return self._lookup(token)

    def _call_function(self, name: Token) -> int:
        self._next()
        arguments: list[Token] = []
        depth = 1
        while True:
            token = self._next()
            depth += {"(": 1, ")": -1}.get(token.text, 0)
            if depth == 0:
                return self._call(name.text, arguments, name)
            arguments.append(token)


def _join_greater(tokens: Sequence[Token]) -> list[Token]:
    """Glues the single `>` of the lexer to what follows it without a space: >=, >>."""
    joined: list[Token] = []
    for token in tokens:
        if joined and joined[-1].text == ">" and not token.space and token.text in ("=", ">", "=="):
            joined[-1] = joined[-1].renamed(">" + token.text, joined[-1].kind)
        else:
            joined.append(token)
    return joined


def evaluate(tokens: Sequence[Token], place: Token, lookup: Lookup, call: Call) -> int:
    """The value of a constant expression; `lookup` gives a name's value, `call` that of name(...)."""
    return _Parser(tokens, place, lookup, call).run()
