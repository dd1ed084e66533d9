"""Generated tokens to pieces of text that can be shown at once.

Owns what is held back: the bytes of an unfinished UTF-8 character, and a tail that may become a stop string.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from fastgo.text.tokenizer import Tokenizer


class TextStream:
    """One answer in the making.

    The pieces joined are exactly the text of the tokens, with U+FFFD for bytes that are no UTF-8, up to the first stop
    string if there is one.

    Args:
        tokenizer: gives each token's bytes.
        stop: strings that end the answer, whichever is complete first; they are not part of it.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(text for text in stop if text)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Returns the text that is now certain; often empty, and always once `stopped`."""
        return self._release(self._decoder.decode(self._tokenizer.token_bytes(token)), final=False)

    def finish(self) -> str:
        """Returns what was still held back; call it once, after the last token."""
        return self._release(self._decoder.decode(b"", final=True), final=True)

    def _release(self, text: str, final: bool) -> str:
        if self.stopped:
            return ""
        text = self._held + text
        found = [(text.index(stop) + len(stop), text.index(stop)) for stop in self._stop if stop in text]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)[1]]
        certain = len(text) if final else len(text) - self._length_of_stop_start(text)
        self._held = text[certain:]
        return text[:certain]

    def _length_of_stop_start(self, text: str) -> int:
        """Returns the length of the longest end of `text` that a stop string begins with."""
        longest = max(map(len, self._stop), default=0) - 1
        lengths = range(min(longest, len(text)), 0, -1)
        return next((length for length in lengths if any(stop.startswith(text[-length:]) for stop in self._stop)), 0)
