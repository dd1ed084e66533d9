"""A model's tokenizer as the metadata of a GGUF file: the inverse of gguf_tokenizer.py.

Owns what GGUF wants of each kind of vocabulary. Rows of the embedding that no token has get a name of their own, as
readers of GGUF want one token a row. Units: token ids.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastgo.errors import FastgoError, InvalidFileError, UnsupportedModelError
from fastgo.text.byte_level import pre_tokenizer_name
from fastgo.text.gguf_tokenizer import SPECIAL_FILE
from fastgo.text.gguf_vocabulary import read_vocabulary
from fastgo.text.sentencepiece_model import BYTE, CONTROL, NORMAL, SPACE, UNKNOWN, UNUSED, USER_DEFINED
from fastgo.text.sentencepiece_reader import read_model
from fastgo.text.tokenizer import BYTE_FALLBACK_KIND, SENTENCEPIECE_KIND

_HINT = "import or convert the model again"
_BYTE_PIECES = {f"<0x{byte:02X}>" for byte in range(256)}
_ID_KEYS = {"bos_id": "bos", "eos_id": "eos", "unk_id": "unknown", "pad_id": "padding"}


class _Table:
    """A vocabulary in the making: text and kind of each of `rows` tokens."""

    def __init__(self, rows: int) -> None:
        self.texts: list[str | None] = [None] * rows
        self.kinds = np.full(rows, UNUSED, np.int32)

    def put(self, token: object, text: str, kind: int) -> None:
        if type(token) is not int or not 0 <= token < len(self.texts):
            raise InvalidFileError(f"token {text[:32]!r} has the id {str(token)[:20]}, expected one of the "
                                   f"{len(self.texts)} rows of the embedding", hint=_HINT)  # fmt: skip
        self.texts[token], self.kinds[token] = text, kind

    def tokens(self) -> list[str]:
        """Texts of all rows; those without a token are called by their number."""
        return [f"[PAD{index}]" if text is None else text for index, text in enumerate(self.texts)]


def tokenizer_metadata(folder: Path, info: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """The keys `tokenizer.ggml.*` of the tokenizer that `info`, a manifest's entry, describes.

    Args:
        folder: where its files are.
        rows: of the embedding.

    Raises:
        InvalidFileError: a file is damaged.
        UnsupportedModelError: a tokenizer that GGUF can't carry.
    """
    table = _Table(rows)
    kind, path = info.get("kind"), folder / info["files"][0]
    if kind == SENTENCEPIECE_KIND:
        keys = _sentencepiece(path, table)
    elif kind == BYTE_FALLBACK_KIND:
        keys = _byte_fallback(_json(path), table)
    else:
        keys = _byte_level(_json(path), table)
    if kind != SENTENCEPIECE_KIND:
        for text, token in _json(folder / SPECIAL_FILE).items():
            table.put(token, text, UNKNOWN if token == info.get("unk_id") and kind == BYTE_FALLBACK_KIND else CONTROL)
    keys |= {"tokens": table.tokens(), "token_type": table.kinds}
    for name, key in _ID_KEYS.items():
        if info.get(name) is not None:
            keys[f"{key}_token_id"] = info[name]
    ends = [token for token in info.get("eos_ids", ()) if token != info.get("eos_id")]
    if ends:
        keys["eot_token_id"] = ends[0]
    keys |= {"add_bos_token": info.get("add_bos") is True, "add_space_prefix": info.get("add_space_prefix") is True}
    metadata = {f"tokenizer.ggml.{key}": value for key, value in keys.items()}
    try:
        read_vocabulary(metadata)
    except FastgoError as error:
        raise UnsupportedModelError(f"the tokenizer can't be written as GGUF: {error.message}") from None
    return metadata


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidFileError(f"{path.name}: can't be read: {str(error)[:100]}", hint=_HINT) from None
    if not isinstance(content, dict):
        raise InvalidFileError(f"{path.name}: expected an object, found {type(content).__name__}", hint=_HINT)
    return content


def _sentencepiece(path: Path, table: _Table) -> dict[str, Any]:
    try:
        model = read_model(path.read_bytes(), path.name)
    except OSError as error:
        raise InvalidFileError(f"{path.name}: can't be read: {error.strerror}", hint=_HINT) from None
    for token, (text, kind) in enumerate(zip(model.pieces, model.kinds, strict=True)):
        table.put(token, text.replace(SPACE, " ") if kind == USER_DEFINED else text, kind)
    scores = np.zeros(len(table.texts), np.float32)
    scores[: len(model.scores)] = model.scores
    return {"model": "llama", "pre": "default", "scores": scores}


def _bpe(tokenizer: Mapping[str, Any]) -> tuple[dict[str, int], Sequence[tuple[str, str]], dict[str, int]]:
    """Vocabulary, merges and added tokens of a tokenizer.json."""
    model = tokenizer.get("model")
    vocab = model.get("vocab") if isinstance(model, dict) else None
    merges = model.get("merges") if isinstance(model, dict) else None
    added = tokenizer.get("added_tokens", [])
    if not isinstance(vocab, dict) or not isinstance(merges, list) or not isinstance(added, list):
        raise InvalidFileError("the model's tokenizer.json has no vocabulary or no merges", hint=_HINT)
    try:
        pairs = [tuple(line.split(" ", 1) if isinstance(line, str) else line) for line in merges]
        return vocab, [(left, right) for left, right in pairs], {item["content"]: item["id"] for item in added}
    except (TypeError, ValueError, KeyError):
        raise InvalidFileError("the model's tokenizer.json has merges or tokens that can't be", hint=_HINT) from None


def _byte_level(tokenizer: Mapping[str, Any], table: _Table) -> dict[str, Any]:
    vocab, merges, added = _bpe(tokenizer)
    for text, token in vocab.items():
        table.put(token, text, NORMAL)
    for text, token in added.items():
        table.put(token, text, USER_DEFINED)
    pre = pre_tokenizer_name(tokenizer)
    if pre is None:
        raise UnsupportedModelError(
            "the tokenizer cuts words in a way that has no name in GGUF", hint="keep the model in fastgo's own format"
        )
    if any(" " in left or " " in right for left, right in merges):
        raise UnsupportedModelError("the tokenizer has merges with spaces, which GGUF can't carry")
    return {"model": "gpt2", "pre": pre, "merges": [f"{left} {right}" for left, right in merges]}


def _byte_fallback(tokenizer: Mapping[str, Any], table: _Table) -> dict[str, Any]:
    """As SentencePiece has it: a token's score is higher the earlier it can be merged."""
    vocab, merges, added = _bpe(tokenizer)
    first_merge: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        first_merge.setdefault(left + right, rank)
    scores = np.zeros(len(table.texts), np.float32)
    for text, token in vocab.items():
        table.put(token, text, BYTE if text in _BYTE_PIECES else NORMAL)
        scores[token] = -float(first_merge.get(text, len(merges)))
    for text, token in added.items():
        table.put(token, text, USER_DEFINED)
    return {"model": "llama", "pre": "default", "scores": scores}
