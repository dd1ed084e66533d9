"""Text to token ids and back, with the same few methods for both kinds of vocabulary.

Owns the loading of an exported tokenizer (see gguf_tokenizer.py) and the bytes of each token. Plain text never
becomes a control token. Units: token ids; bytes of UTF-8.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from fastgo.errors import InvalidFileError
from fastgo.text.byte_level import byte_of_character
from fastgo.text.pipeline_growth import check_growth
from fastgo.text.quiet_library import panics_are_errors, quiet_library
from fastgo.text.sentencepiece_model import SPACE
from fastgo.text.special_tokens import SpecialTokens, unshield

SENTENCEPIECE_KIND, BYTE_LEVEL_KIND, BYTE_FALLBACK_KIND = "sentencepiece", "tokenizers", "tokenizers_byte_fallback"
_BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>", re.ASCII)
_HINT = "the imported model is damaged; remove it from the cache and import it again"


class Tokenizer(ABC):
    """A loaded vocabulary; safe to share between threads.

    Attributes:
        vocab_size: number of tokens.
        bos_id: token at the start of a text, or None.
        eos_ids: every token that ends an answer.
        add_bos: whether a prompt starts with `bos_id`.
    """

    def __init__(self, folder: Path, info: Mapping[str, Any]) -> None:
        self.vocab_size = _count(info, "vocab_size")
        self.bos_id = _token(info, "bos_id", self.vocab_size)
        self.eos_id = _token(info, "eos_id", self.vocab_size)
        self.eos_ids = tuple(_token_list(info, "eos_ids", self.vocab_size))
        self.add_bos = info.get("add_bos") is True and self.bos_id is not None
        self._add_space_prefix = info.get("add_space_prefix") is True
        self._special_path = folder / _file_name(info.get("special"))
        self._bytes: dict[int, bytes] = {}

    @staticmethod
    def load(folder: Path, info: Mapping[str, Any]) -> Tokenizer:
        """Returns the tokenizer that `export_tokenizer` wrote into `folder` with this `info`.

        Raises:
            InvalidFileError: files that are missing or damaged, or an `info` that does not fit them.
        """
        kinds: dict[str, type[Tokenizer]] = {
            SENTENCEPIECE_KIND: SentencePieceTokenizer,
            BYTE_LEVEL_KIND: ByteLevelTokenizer,
            BYTE_FALLBACK_KIND: ByteFallbackTokenizer,
        }
        kind = info.get("kind")
        if not isinstance(kind, str) or kind not in kinds:
            raise InvalidFileError(f"tokenizer kind: expected one of {sorted(kinds)}, found {kind!r}", hint=_HINT)
        files = info.get("files")
        if not isinstance(files, list) or not files:
            raise InvalidFileError(f"tokenizer files: expected a list of names, found {files!r}", hint=_HINT)
        tokenizer = kinds[kind](folder, info)
        path = folder / _file_name(files[0])
        try:
            with quiet_library():
                tokenizer._load(path)
        except OSError as error:
            raise InvalidFileError(f"{path.name}: can't be read: {error.strerror or error}", hint=_HINT) from None
        except (InvalidFileError, MemoryError):
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise InvalidFileError(f"{path.name}: not a tokenizer of this kind: {reason}", hint=_HINT) from None
        return tokenizer

    @cached_property
    def special_tokens(self) -> SpecialTokens:
        """The control tokens by their text; read from disk on first use."""
        return SpecialTokens(self._special_ids)

    @cached_property
    def _special_ids(self) -> dict[str, int]:
        try:
            content = json.loads(self._special_path.read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise InvalidFileError(f"{self._special_path.name}: can't be read: {error}", hint=_HINT) from None
        if not isinstance(content, dict) or "" in content:
            raise InvalidFileError(f"{self._special_path.name}: expected an object of token texts", hint=_HINT)
        for text in content:
            _token(content, text, self.vocab_size)
        return content

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Returns the ids of `text`, without a beginning-of-sequence token.

        Args:
            text: any text; lone surrogates become U+FFFD.
            special: whether the texts of control tokens become those tokens (a rendered chat template) and the marks
                of `shield` are undone. False for a user's words, which then never become control tokens.
        """
        if not special:
            return self._encode_plain(_valid(text))
        ids: list[int] = []
        for part in self.special_tokens.split(_valid(text)):
            ids.extend((part,) if isinstance(part, int) else self._encode_plain(unshield(part)))
        return ids

    def encode_prompt(self, text: str, special: bool = False) -> list[int]:
        """Like `encode`, with the beginning-of-sequence token in front where the model wants one."""
        ids = self.encode(text, special)
        if self.add_bos and self.bos_id is not None and ids[:1] != [self.bos_id]:
            ids.insert(0, self.bos_id)
        return ids

    def shield(self, text: str) -> str:
        """Returns a user's words marked such that no chat template turns them into control tokens."""
        return self.special_tokens.shield(_valid(text))

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of `ids`; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Returns the exact bytes of `ids`; control tokens give none. Undoes the space that encoding put in front."""
        text = b"".join(map(self.token_bytes, ids))
        return text[1:] if self._add_space_prefix and text.startswith(b" ") else text

    def token_bytes(self, token: int) -> bytes:
        """Returns the bytes that one token adds to a text; empty for control tokens.

        Raises:
            IndexError: `token` is outside the vocabulary.
        """
        known = self._bytes.get(token)
        if known is None:
            if not 0 <= token < self.vocab_size:
                raise IndexError(f"token {token} is outside the vocabulary of {self.vocab_size}")
            known = self._bytes[token] = self._find_bytes(token)
        return known

    def token_text(self, token: int | None) -> str:
        """Returns a token's own name, such as `<bos>`; empty for None."""
        if token is None:
            return ""
        names = (text for text, known in self._special_ids.items() if known == token)
        return next(names, None) or self.token_bytes(token).decode("utf-8", errors="replace")

    @abstractmethod
    def _load(self, path: Path) -> None: ...

    @abstractmethod
    def _encode_plain(self, text: str) -> list[int]: ...

    @abstractmethod
    def _find_bytes(self, token: int) -> bytes: ...


class SentencePieceTokenizer(Tokenizer):
    """A SentencePiece vocabulary with scores and, as a rule, byte tokens for what it lacks."""

    def _load(self, path: Path) -> None:
        from sentencepiece import SentencePieceProcessor

        self._library = SentencePieceProcessor(model_proto=path.read_bytes())
        _check_size(path, self._library.vocab_size(), self.vocab_size)

    def _encode_plain(self, text: str) -> list[int]:
        ids: list[int] = self._library.encode(text)
        return ids

    def _find_bytes(self, token: int) -> bytes:
        if self._library.is_control(token) or self._library.is_unknown(token) or self._library.is_unused(token):
            return b""
        piece: str = self._library.id_to_piece(token)
        if self._library.is_byte(token):
            return bytes([int(piece[3:5], 16)])
        return piece.replace(SPACE, " ").encode()


class ByteLevelTokenizer(Tokenizer):
    """A byte-level BPE vocabulary: every token is a string of bytes."""

    def _load(self, path: Path) -> None:
        from tokenizers import Tokenizer as Library

        self._library = Library.from_buffer(path.read_bytes())
        self._library.no_truncation()
        self._library.no_padding()
        check_growth(self._library, path.name)
        self._user_defined = {token: added.content for token, added in self._library.get_added_tokens_decoder().items()}
        if self._library.get_vocab_size() > self.vocab_size:
            _check_size(path, self._library.get_vocab_size(), self.vocab_size)

    def _encode_plain(self, text: str) -> list[int]:
        try:
            with panics_are_errors():
                ids: list[int] = self._library.encode(text, add_special_tokens=False).ids
        except Exception as error:  # the library checks a vocabulary only when a text needs it
            reason = " ".join(str(error).split())[:200]
            raise InvalidFileError(f"the tokenizer can't encode a text: {reason}", hint="get the model again") from None
        # The library counts its tokens, whose ids may have gaps.
        if max(ids, default=0) >= self.vocab_size:
            raise InvalidFileError(
                f"the tokenizer makes token {max(ids)}, expected ids below {self.vocab_size}", hint=_HINT
            )
        return ids

    def _find_bytes(self, token: int) -> bytes:
        if token in self._user_defined:
            return str(self._user_defined[token]).encode()
        text: str = self._library.id_to_token(token) or ""
        table = byte_of_character()
        if all(character in table for character in text):
            return bytes(table[character] for character in text)
        return text.encode()


class ByteFallbackTokenizer(ByteLevelTokenizer):
    """A BPE vocabulary of characters, with tokens such as `<0x0A>` for the bytes of what it lacks."""

    def _find_bytes(self, token: int) -> bytes:
        text: str = self._library.id_to_token(token) or ""
        if _BYTE_TOKEN.fullmatch(text):
            return bytes([int(text[3:5], 16)])
        return text.replace(SPACE, " ").encode()


def _valid(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", errors="surrogatepass").decode("utf-16-le", errors="replace")
    return text


def _file_name(name: Any) -> str:
    if not isinstance(name, str) or not name or Path(name).name != name or "\\" in name or not name.isprintable():
        raise InvalidFileError(f"tokenizer files: expected a plain file name, found {repr(name)[:80]}", hint=_HINT)
    return name


def _count(info: Mapping[str, Any], key: str) -> int:
    value = info.get(key)
    if type(value) is not int or value < 1:
        raise InvalidFileError(f"tokenizer {key}: expected a positive integer, found {value!r}", hint=_HINT)
    return value


def _token(info: Mapping[str, Any], key: str, vocab_size: int) -> int | None:
    value = info.get(key)
    if value is not None and (type(value) is not int or not 0 <= value < vocab_size):
        raise InvalidFileError(f"tokenizer {key}: expected an id below {vocab_size}, found {value!r}", hint=_HINT)
    return value


def _token_list(info: Mapping[str, Any], key: str, vocab_size: int) -> list[int]:
    values = info.get(key, [])
    if not isinstance(values, list) or any(type(value) is not int or not 0 <= value < vocab_size for value in values):
        raise InvalidFileError(f"tokenizer {key}: expected ids below {vocab_size}, found {values!r}", hint=_HINT)
    return values


def _check_size(path: Path, found: int, expected: int) -> None:
    if found != expected:
        raise InvalidFileError(f"{path.name}: expected {expected} tokens, found {found}", hint=_HINT)
