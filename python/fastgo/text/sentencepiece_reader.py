"""Reads a SentencePiece `tokenizer.model` for what the public library does not tell: the kind of each piece.

Owns a reader of the few protobuf fields that matter; the file may be hostile. Source of the field numbers and their
defaults: the published sentencepiece_model.proto. Units: token ids are positions in `pieces`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from typing import NoReturn

from fastgo.errors import InvalidFileError, UnsupportedModelError
from fastgo.text.gguf_vocabulary import MAX_TOKENS
from fastgo.text.sentencepiece_model import BYTE, NORMAL, SentencePieceModel

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_BPE = 2
_NO_TOKEN = 1 << 31  # ids from here on are a negative int32
_IDS = {"unk_id": (40, 0), "bos_id": (41, 1), "eos_id": (42, 2), "pad_id": (43, _NO_TOKEN)}  # field and default


def read_model(raw: bytes, where: str) -> SentencePieceModel:
    """The vocabulary of a `tokenizer.model`; messages start with `where`.

    Raises:
        InvalidFileError: damaged, or pieces or ids that can't be.
        UnsupportedModelError: a model other than BPE, or a normalisation of the text.
    """
    pieces: list[tuple[str, float, int]] = []
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    for field, value in _fields(raw, where):
        if field == 1:
            pieces.append(_piece(_message(value, where), where))
            if len(pieces) > MAX_TOKENS:
                _fail(where, f"it has more than {MAX_TOKENS} pieces")
        elif field == 2:
            trainer = dict(_fields(_message(value, where), where))
        elif field == 3:
            normalizer = dict(_fields(_message(value, where), where))
    if trainer.get(3, 1) != _BPE:
        raise UnsupportedModelError(f"{where}: only SentencePiece models of type BPE are supported")
    # Field 4 takes double spaces out, 5 writes spaces as a visible character, 2 is a table of replacements.
    # The trainer's field 24 puts them behind words.
    if normalizer.get(2) or normalizer.get(4, 1) or not normalizer.get(5, 1) or trainer.get(24):
        raise UnsupportedModelError(f"{where} normalises text, which is not supported", hint="get the tokenizer.json")
    texts = [text for text, _, _ in pieces]
    if not texts or len(set(texts)) != len(texts):
        _fail(where, "it has no pieces" if not texts else "a piece occurs twice")
    ids = {name: _token(trainer, field, default, len(pieces), where) for name, (field, default) in _IDS.items()}
    if ids["unk_id"] is None:
        _fail(where, "it has no unknown token")
    return SentencePieceModel(
        pieces=texts,
        scores=[score for _, score, _ in pieces],
        kinds=[kind for _, _, kind in pieces],
        unk_id=ids["unk_id"],
        bos_id=ids["bos_id"],
        eos_id=ids["eos_id"],
        pad_id=ids["pad_id"],
        byte_fallback=bool(trainer.get(35, 0)),
        add_space_prefix=bool(normalizer.get(3, 1)),
    )


def _fail(where: str, what: str) -> NoReturn:
    raise InvalidFileError(f"{where} is not a sound SentencePiece model: {what}", hint="download the model again")


def _varint(raw: bytes, position: int, where: str) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(raw):
            _fail(where, "it is cut short")
        byte = raw[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & ((1 << 64) - 1), position
    _fail(where, "a number is too long")


def _fields(raw: bytes, where: str) -> Iterator[tuple[int, int | bytes]]:
    """The fields of one message: number, and an int or the raw bytes."""
    position = 0
    while position < len(raw):
        key, position = _varint(raw, position, where)
        kind = key & 7
        if kind == _VARINT:
            value, position = _varint(raw, position, where)
            yield key >> 3, value
            continue
        if kind not in (_FIXED64, _BYTES, _FIXED32):
            _fail(where, f"a field has the unknown wire type {kind}")
        nbytes = {_FIXED64: 8, _FIXED32: 4}.get(kind, 0)
        if kind == _BYTES:
            nbytes, position = _varint(raw, position, where)
        if nbytes > len(raw) - position:
            _fail(where, "it is cut short")
        yield key >> 3, raw[position : position + nbytes]
        position += nbytes


def _message(value: int | bytes, where: str) -> bytes:
    if not isinstance(value, bytes):
        _fail(where, "a message is a number")
    return value


def _piece(raw: bytes, where: str) -> tuple[str, float, int]:
    """Text, score and kind of a piece."""
    fields = dict(_fields(raw, where))
    text, score, kind = fields.get(1), fields.get(2, bytes(4)), fields.get(3, NORMAL)
    if not isinstance(text, bytes) or not text or not isinstance(score, bytes) or len(score) != 4:
        _fail(where, "a piece has no text or no score")
    if not isinstance(kind, int) or not NORMAL <= kind <= BYTE:
        _fail(where, f"a piece has the unknown kind {str(kind)[:20]}")
    (number,) = struct.unpack("<f", score)
    if not math.isfinite(number):
        _fail(where, "a score is not finite")
    try:
        return text.decode("utf-8"), number, kind
    except UnicodeDecodeError:
        _fail(where, "a piece is not UTF-8")


def _token(trainer: Mapping[int, int | bytes], field: int, default: int, count: int, where: str) -> int | None:
    value = trainer.get(field, default)
    if not isinstance(value, int):
        _fail(where, "a token's id is no number")
    if value >= _NO_TOKEN or (field not in trainer and value >= count):
        return None
    if value >= count:
        _fail(where, f"token id {value} is beyond its {count} pieces")
    return value
