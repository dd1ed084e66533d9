"""Reads the vocabulary out of a GGUF's metadata and checks all of it, as the file may be hostile.

Owns the names of the metadata keys, their defaults, and which tokens steer a conversation. Units: token ids are
positions in `tokens`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastgo.errors import InvalidFileError, UnsupportedModelError
from fastgo.text.sentencepiece_model import CONTROL, NORMAL, UNKNOWN, USER_DEFINED

MAX_TOKENS = 1 << 22

END_OF_TURN_TOKENS = (
    "<end_of_turn>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|return|>", "<|call|>", "<|endoftext|>",
    "<|end_of_text|>", "</s>",
)  # fmt: skip
TURN_TOKENS = {
    "<start_of_turn>", "<end_of_turn>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|begin_of_text|>", "<|end_of_text|>",
}  # fmt: skip
_KINDS = {"llama": "sentencepiece", "gpt2": "tokenizers"}
_LLAMA_DEFAULT_IDS = {"bos": 1, "eos": 2, "unknown": 0}


@dataclass(frozen=True)
class GgufVocabulary:
    """A checked vocabulary. `tokens`, `scores` and `kinds` have one entry a token; ids are None where there is none."""

    kind: str  # "sentencepiece" | "tokenizers"
    pre: str
    tokens: Sequence[str]
    scores: Sequence[float]
    kinds: Sequence[int]
    merges: Sequence[tuple[str, str]]
    bos_id: int | None
    eos_id: int | None
    unk_id: int | None
    pad_id: int | None
    end_ids: Sequence[int]
    add_bos: bool
    add_space_prefix: bool

    @property
    def control_tokens(self) -> dict[str, int]:
        """Text -> id of the tokens that plain text must never become."""
        kinds = zip(self.tokens, self.kinds, strict=True)
        return {text: index for index, (text, kind) in enumerate(kinds) if kind in (CONTROL, UNKNOWN)}


class _Metadata:
    """Typed access to `tokenizer.ggml.*`; every mismatch is an InvalidFileError that names the key."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self._metadata = metadata

    def has(self, key: str) -> bool:
        return f"tokenizer.ggml.{key}" in self._metadata

    def text(self, key: str, default: str) -> str:
        value = self._metadata.get(f"tokenizer.ggml.{key}", default)
        if isinstance(value, bytes):
            value = _utf8(value, key)
        if not isinstance(value, str):
            raise _mismatch(key, "a string", type(value).__name__)
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self._metadata.get(f"tokenizer.ggml.{key}", default)
        if not isinstance(value, bool):
            raise _mismatch(key, "a bool", type(value).__name__)
        return value

    def token_id(self, name: str, vocab_size: int, default: int | None = None) -> int | None:
        key = f"{name}_token_id"
        value = self._metadata.get(f"tokenizer.ggml.{key}", default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise _mismatch(key, "an integer", type(value).__name__)
        if not 0 <= value < vocab_size:
            raise _mismatch(key, f"an id below {vocab_size}", str(value))
        return value

    def array(self, key: str, length: int | None = None) -> list[Any]:
        value = self._metadata.get(f"tokenizer.ggml.{key}")
        if value is not None and hasattr(value, "tolist"):
            value = value.tolist()
        if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
            raise _mismatch(key, "an array", "nothing" if value is None else type(value).__name__)
        if len(value) > MAX_TOKENS or (length is not None and len(value) != length):
            expected = f"at most {MAX_TOKENS}" if length is None else str(length)
            raise _mismatch(key, f"{expected} values", str(len(value)))
        return list(value)

    def texts(self, key: str) -> list[str]:
        return [_utf8(value, f"{key}[{index}]") for index, value in enumerate(self.array(key))]


def _mismatch(key: str, expected: str, found: str) -> InvalidFileError:
    return InvalidFileError(f"GGUF metadata tokenizer.ggml.{key}: expected {expected}, found {found}")


def _utf8(value: Any, key: str) -> str:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _mismatch(key, "UTF-8 text", "lone surrogates") from None
        return value
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise _mismatch(key, "a string", type(value).__name__)
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise _mismatch(key, "UTF-8 text", repr(bytes(value)[:32])) from None


def _read_tokens(metadata: _Metadata) -> list[str]:
    tokens = metadata.texts("tokens")
    if not tokens:
        raise _mismatch("tokens", "at least one token", "none")
    seen: set[str] = set()
    for index, text in enumerate(tokens):
        if not text or text in seen:
            raise _mismatch(f"tokens[{index}]", "a new, non-empty token", repr(text[:32]))
        seen.add(text)
    return tokens


def _read_kinds(metadata: _Metadata, tokens: Sequence[str], required: bool) -> list[int]:
    if not required and not metadata.has("token_type"):
        return [NORMAL] * len(tokens)
    kinds = metadata.array("token_type", len(tokens))
    for index, kind in enumerate(kinds):
        if type(kind) is not int or not 0 <= kind <= 6:
            raise _mismatch(f"token_type[{index}]", "an integer from 0 to 6", repr(kind)[:32])
    kinds = [kind or NORMAL for kind in kinds]
    for index, text in enumerate(tokens):
        # Some converters mark turn markers as user-defined, which would let a user's text end its own turn.
        if kinds[index] == USER_DEFINED and text in TURN_TOKENS:
            kinds[index] = CONTROL
    return kinds


def _read_scores(metadata: _Metadata, length: int) -> list[float]:
    scores = metadata.array("scores", length)
    for index, score in enumerate(scores):
        if isinstance(score, bool) or not isinstance(score, (int, float)) or not math.isfinite(score):
            raise _mismatch(f"scores[{index}]", "a finite number", repr(score)[:32])
        if abs(score) > 3.4e38:
            raise _mismatch(f"scores[{index}]", "a float32", repr(score)[:32])
    return scores


def _read_merges(metadata: _Metadata) -> list[tuple[str, str]]:
    merges = []
    for index, line in enumerate(metadata.texts("merges")):
        space = line.find(" ", 1)
        if space < 1 or space + 1 == len(line):
            raise _mismatch(f"merges[{index}]", "two tokens with a space between", repr(line[:32]))
        merges.append((line[:space], line[space + 1 :]))
    return merges


def _find_end_ids(metadata: _Metadata, tokens: Sequence[str], kinds: Sequence[int], eos_id: int | None) -> list[int]:
    declared = [eos_id, *(metadata.token_id(name, len(tokens)) for name in ("eot", "eom"))]
    wanted = set(END_OF_TURN_TOKENS)
    by_name = [index for index, text in enumerate(tokens) if text in wanted and kinds[index] == CONTROL]
    return list(dict.fromkeys(token for token in (*declared, *by_name) if token is not None))


def read_vocabulary(metadata: Mapping[str, Any]) -> GgufVocabulary:
    """Returns the vocabulary of a GGUF.

    Args:
        metadata: all metadata by key; strings as str or bytes, arrays as lists or NumPy arrays.

    Raises:
        InvalidFileError: a key is missing, has the wrong type or length, or holds an id outside the vocabulary.
        UnsupportedModelError: a kind of tokenizer other than "llama" (SentencePiece) and "gpt2" (byte-level BPE).
    """
    source = _Metadata(metadata)
    model = source.text("model", "")
    kind = _KINDS.get(model)
    if kind is None:
        message = f"tokenizer {model!r} is not supported; supported: {', '.join(sorted(_KINDS))}"
        raise UnsupportedModelError(message, hint="use a GGUF of a supported model family")
    is_sentencepiece = kind == "sentencepiece"
    pre = source.text("pre", "default")
    tokens = _read_tokens(source)
    kinds = _read_kinds(source, tokens, required=is_sentencepiece)
    defaults = {name: token for name, token in _LLAMA_DEFAULT_IDS.items() if is_sentencepiece and token < len(tokens)}
    ids = {name: source.token_id(name, len(tokens), defaults.get(name)) for name in ("bos", "eos", "unknown")}
    return GgufVocabulary(
        kind=kind,
        pre=pre,
        tokens=tokens,
        scores=_read_scores(source, len(tokens)) if is_sentencepiece else (),
        kinds=kinds,
        merges=() if is_sentencepiece else _read_merges(source),
        bos_id=ids["bos"],
        eos_id=ids["eos"],
        unk_id=ids["unknown"],
        pad_id=source.token_id("padding", len(tokens)),
        end_ids=_find_end_ids(source, tokens, kinds, ids["eos"]),
        add_bos=source.flag("add_bos_token", is_sentencepiece or pre in ("llama-bpe", "llama3", "llama-v3")),
        add_space_prefix=source.flag("add_space_prefix", is_sentencepiece),
    )
