"""Finds control tokens written out in text, and shields a user's words from being taken for them.

Owns the rule that only a chat template or an explicit request may produce control tokens. Units: positions are
characters of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

# Noncharacters, which Unicode reserves for a program's inner use; the second says what the first stands for.
_GUARD = "\ufdd0"
_BREAK, _LITERAL = _GUARD + "\ufdd1", _GUARD + "\ufdd2"


def unshield(text: str) -> str:
    """Inverse of `SpecialTokens.shield`."""
    return text.replace(_BREAK, "").replace(_LITERAL, _GUARD) if _GUARD in text else text


class SpecialTokens:
    """The control tokens of one vocabulary, by their text."""

    def __init__(self, id_of_text: Mapping[str, int]) -> None:
        self._id_of_text = dict(id_of_text)
        lengths: dict[str, set[int]] = {}
        for text in self._id_of_text:
            lengths.setdefault(text[0], set()).add(len(text))
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}
        firsts = "".join(re.escape(first) for first in self._lengths)
        self._first = re.compile(f"[{firsts}]" if firsts else r"(?!)")

    def split(self, text: str) -> Iterator[str | int]:
        """Yields plain fragments (str, not empty) and control tokens (int), longest match first."""
        start = position = 0
        while candidate := self._first.search(text, position):
            position = candidate.start()
            match = self._match(text, position)
            if not match:
                position += 1
                continue
            if start < position:
                yield text[start:position]
            yield self._id_of_text[match]
            start = position = position + len(match)
        if start < len(text):
            yield text[start:]

    def shield(self, text: str) -> str:
        """Returns `text` with every control token's text broken by an invisible mark.

        A chat template may move, trim or join the result; `unshield` then gives the user's characters back.
        """
        text = text.replace(_GUARD, _LITERAL)
        broken = (part if isinstance(part, str) else self._broken(part) for part in self.split(text))
        return "".join(broken)

    def _broken(self, token: int) -> str:
        text = next(text for text, known in self._id_of_text.items() if known == token)
        return text[0] + _BREAK + text[1:]

    def _match(self, text: str, position: int) -> str:
        for length in self._lengths[text[position]]:
            candidate = text[position : position + length]
            if candidate in self._id_of_text:
                return candidate
        return ""
