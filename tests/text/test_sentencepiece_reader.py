"""The reader of SentencePiece models: it agrees with our writer and with the public library, and survives damage."""

from __future__ import annotations

import dataclasses
import random

import pytest
from fastgo.errors import FastgoError, InvalidFileError, UnsupportedModelError
from fastgo.text.sentencepiece_model import BYTE, CONTROL, NORMAL, UNKNOWN, SentencePieceModel, serialize_model
from fastgo.text.sentencepiece_reader import read_model
from sentencepiece import SentencePieceProcessor

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
MODEL = SentencePieceModel(
    pieces=["<unk>", "<s>", "</s>", *BYTES, "a", "b", "ab", "▁"],
    scores=[0.0] * 259 + [-1.0, -2.0, -0.5, -4.0],
    kinds=[UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * 4],
    unk_id=0,
    bos_id=1,
    eos_id=2,
    pad_id=None,
    byte_fallback=True,
    add_space_prefix=True,
)
RAW = serialize_model(MODEL)


def message(field: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes([field << 3 | 2, len(body)]) + body


def test_what_is_written_is_read() -> None:
    assert read_model(RAW, "m") == MODEL
    other = dataclasses.replace(MODEL, add_space_prefix=False, pad_id=258, bos_id=None, byte_fallback=False)
    assert read_model(serialize_model(other), "m") == other


def test_the_library_reads_the_same() -> None:
    library = SentencePieceProcessor(model_proto=RAW)
    assert [library.id_to_piece(token) for token in range(library.vocab_size())] == list(MODEL.pieces)


PIECE = message(1, b"\x0a\x01a\x15\0\0\0\0")
BPE, PLAIN = message(2, b"\x18\x02"), message(3, b"\x20\x00")
INVALID = {
    "empty": b"",
    "cut short": RAW[:1000],
    "no pieces": BPE + PLAIN,
    "twice the same": PIECE + PIECE + BPE + PLAIN,
    "no text": message(1, b"\x15\0\0\0\0") + BPE + PLAIN,
    "not UTF-8": message(1, b"\x0a\x01\xff") + BPE + PLAIN,
    "score not finite": message(1, b"\x0a\x01a\x15\x00\x00\xc0\x7f") + BPE + PLAIN,
    "unknown kind": message(1, b"\x0a\x01a\x18\x07") + BPE + PLAIN,
    "id beyond": PIECE + message(2, b"\x18\x02\xc8\x02\x63") + PLAIN,
    "endless number": b"\xff" * 20,
    "unknown wire type": b"\x0b",
    "length of 2^63": b"\x0a" + b"\xff" * 8 + b"\x7f",
    "a number for a message": b"\x08\x01",
}


@pytest.mark.parametrize("name", INVALID)
def test_damage(name: str) -> None:
    with pytest.raises((InvalidFileError, UnsupportedModelError)) as caught:
        read_model(INVALID[name], "tokenizer.model")
    assert caught.value.message.startswith("tokenizer.model") and "\n" not in caught.value.message


def test_other_models_are_refused() -> None:
    for raw in (PIECE + PLAIN, PIECE + BPE, PIECE + BPE + message(3, b"\x12\x01x\x20\x00")):
        with pytest.raises(UnsupportedModelError):
            read_model(raw, "m")


def test_random_damage_raises_nothing_else() -> None:
    rng = random.Random(0)
    for _ in range(300):
        raw = bytearray(RAW)
        for _ in range(rng.randrange(1, 6)):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        try:
            read_model(bytes(raw), "m")
        except FastgoError:
            continue
