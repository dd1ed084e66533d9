"""Prints tokens and text blocks, with #line directives so that compilers name the shader's own lines."""

from __future__ import annotations

from collections.abc import Sequence

from .lexer import Token

_MAX_BLANK_LINES = 4


class Printer:
    """Collects the output file.

    Args:
        name: what #line calls the output itself, where text is not from the shader.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._text: list[str] = []
        self._lines = 1
        self._place: tuple[str, int] | None = None
        self._at_start = True

    def tokens(self, tokens: Sequence[Token]) -> None:
        """Prints tokens at their own file and line."""
        for token in tokens:
            self._move(token)
            if not self._at_start and token.space:
                self._write(" ")
            self._write(token.text)
            self._at_start = False

    def text(self, text: str) -> None:
        """Prints lines that have no place in the shader."""
        if not self._at_start:
            self._newline()
        if self._place is not None:
            self._write(f'#line {self._lines + 1} "{_escape(self._name)}"\n')
            self._place = None
        self._write(text.rstrip("\n") + "\n")
        self._at_start = True

    def result(self) -> str:
        """The whole file."""
        if not self._at_start:
            self._newline()
        return "".join(self._text)

    def _write(self, text: str) -> None:
        self._text.append(text)
        self._lines += text.count("\n")

    def _newline(self) -> None:
        self._write("\n")
        if self._place is not None:
            self._place = (self._place[0], self._place[1] + 1)
        self._at_start = True

    def _move(self, token: Token) -> None:
        if self._place is not None and self._place[0] == token.file:
            distance = token.line - self._place[1]
            if 0 <= distance <= _MAX_BLANK_LINES:
                for _ in range(distance):
                    self._newline()
                return
        if not self._at_start:
            self._write("\n")
        self._write(f'#line {token.line} "{_escape(token.file)}"\n')
        self._place = (token.file, token.line)
        self._at_start = True


def _escape(name: str) -> str:
    return name.replace("\\", "/").replace('"', '\\"')
