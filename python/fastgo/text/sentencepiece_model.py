"""Writes a SentencePiece `tokenizer.model`, so that the public library can load a vocabulary that came in a GGUF.

Owns the few protobuf fields of `sentencepiece_model.proto` that an encoder needs; everything else keeps the
library's defaults. Units: token ids are positions in `pieces`; scores are log probabilities (BPE: merge ranks, higher
merges first).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Kinds of pieces: the numbers of ModelProto.SentencePiece.Type, which GGUF's token types share."""

SPACE = "\u2581"
"""The visible character that stands for a space inside pieces."""

_VARINT, _BYTES, _FLOAT32 = 0, 2, 5
_MODEL_TYPE_BPE = 2
_NO_TOKEN = (1 << 64) - 1  # protobuf's varint of the int32 -1, which tells the library "no such token"


@dataclass(frozen=True)
class SentencePieceModel:
    """A BPE vocabulary. `pieces`, `scores` and `kinds` have one entry a token; ids are None where there is none."""

    pieces: Sequence[str]
    scores: Sequence[float]
    kinds: Sequence[int]
    unk_id: int
    bos_id: int | None
    eos_id: int | None
    pad_id: int | None
    byte_fallback: bool
    add_space_prefix: bool


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(body)) + body


def _piece(text: str, score: float, kind: int) -> bytes:
    body = _message(1, text.encode()) + _varint(2 << 3 | _FLOAT32) + struct.pack("<f", score) + _number(3, kind)
    return _message(1, body)


def serialize_model(model: SentencePieceModel) -> bytes:
    """Returns the bytes of a ModelProto: BPE, no normalisation, spaces escaped and never removed.

    Source: the published sentencepiece_model.proto (field numbers only).
    """
    special_ids = ((40, model.unk_id), (41, model.bos_id), (42, model.eos_id), (43, model.pad_id))
    trainer = _number(3, _MODEL_TYPE_BPE) + _number(4, len(model.pieces)) + _number(35, int(model.byte_fallback))
    trainer += b"".join(_number(field, _NO_TOKEN if token is None else token) for field, token in special_ids)
    normalizer = _message(1, b"identity") + _number(3, int(model.add_space_prefix)) + _number(4, 0) + _number(5, 1)
    pieces = (_piece(*entry) for entry in zip(model.pieces, model.scores, model.kinds, strict=True))
    return b"".join(pieces) + _message(2, trainer) + _message(3, normalizer)
