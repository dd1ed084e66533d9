"""Turns the tokenizer inside a GGUF into files that the public tokenizer libraries read.

Owns the names of those files and the `tokenizer` entry of a model's manifest. The vocabulary itself is read and
checked in gguf_vocabulary.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastgo.errors import InvalidFileError, UnsupportedModelError
from fastgo.text.byte_level import PRE_TOKENIZERS, build_tokenizer_json
from fastgo.text.gguf_vocabulary import GgufVocabulary, read_vocabulary
from fastgo.text.sentencepiece_model import (
    BYTE,
    CONTROL,
    NORMAL,
    SPACE,
    UNKNOWN,
    USER_DEFINED,
    SentencePieceModel,
    serialize_model,
)

SENTENCEPIECE_FILE = "tokenizer.model"
TOKENIZERS_FILE = "tokenizer.json"
SPECIAL_FILE = "special_tokens.json"


def export_tokenizer(metadata: Mapping[str, Any], out_dir: Path) -> dict[str, Any]:
    """Writes the tokenizer's files into `out_dir` and returns the manifest's tokenizer entry.

    Args:
        metadata: all metadata of a GGUF by key; strings as str or bytes, arrays as lists or NumPy arrays.
        out_dir: an existing folder.

    Returns:
        {"kind": "sentencepiece" | "tokenizers", "files": [names], "special": name of the file with text -> id of the
        control tokens, "vocab_size", "bos_id", "eos_id", "unk_id", "pad_id" (null for none), "eos_ids": every token
        that ends an answer, "add_bos": bool, "add_space_prefix": bool}. Plain JSON.

    Raises:
        InvalidFileError: metadata that is damaged or contradicts itself.
        UnsupportedModelError: a kind of tokenizer or a pre-tokenizer that is not known here.
    """
    vocabulary = read_vocabulary(metadata)
    if vocabulary.kind == "sentencepiece":
        name, content = SENTENCEPIECE_FILE, _sentencepiece_bytes(vocabulary)
    else:
        name, content = TOKENIZERS_FILE, _tokenizers_bytes(vocabulary)
    (out_dir / name).write_bytes(content)
    (out_dir / SPECIAL_FILE).write_text(json.dumps(vocabulary.control_tokens, ensure_ascii=False), encoding="utf-8")
    return {
        "kind": vocabulary.kind,
        "files": [name, SPECIAL_FILE],
        "special": SPECIAL_FILE,
        "vocab_size": len(vocabulary.tokens),
        "bos_id": vocabulary.bos_id,
        "eos_id": vocabulary.eos_id,
        "eos_ids": list(vocabulary.end_ids),
        "unk_id": vocabulary.unk_id,
        "pad_id": vocabulary.pad_id,
        "add_bos": vocabulary.add_bos and vocabulary.bos_id is not None,
        "add_space_prefix": vocabulary.add_space_prefix and vocabulary.kind == "sentencepiece",
    }


def _sentencepiece_bytes(vocabulary: GgufVocabulary) -> bytes:
    kinds = [CONTROL if kind == UNKNOWN else kind for kind in vocabulary.kinds]
    byte_pieces = {text for text, kind in zip(vocabulary.tokens, kinds, strict=True) if kind == BYTE}
    if byte_pieces and byte_pieces != {f"<0x{byte:02X}>" for byte in range(256)}:
        raise InvalidFileError(
            f"GGUF vocabulary: expected the 256 byte tokens <0x00> to <0xFF>, found {len(byte_pieces)} byte tokens",
        )
    unk_id = vocabulary.unk_id
    if unk_id is None or kinds[unk_id] not in (CONTROL, NORMAL):
        raise InvalidFileError(
            f"GGUF vocabulary: expected an unknown token, found {unk_id!r} in tokenizer.ggml.unknown_token_id",
        )
    kinds[unk_id] = UNKNOWN
    # GGUF writes the spaces of user-defined tokens as they are; the library matches them after escaping.
    pieces = [
        text.replace(" ", SPACE) if kind == USER_DEFINED else text
        for text, kind in zip(vocabulary.tokens, kinds, strict=True)
    ]
    if len(set(pieces)) != len(pieces):
        raise InvalidFileError(
            "GGUF vocabulary: two tokens differ only in how they write a space",
        )
    return serialize_model(
        SentencePieceModel(
            pieces=pieces,
            scores=vocabulary.scores,
            kinds=kinds,
            unk_id=unk_id,
            bos_id=vocabulary.bos_id,
            eos_id=vocabulary.eos_id,
            pad_id=vocabulary.pad_id,
            byte_fallback=bool(byte_pieces),
            add_space_prefix=vocabulary.add_space_prefix,
        )
    )


def _tokenizers_bytes(vocabulary: GgufVocabulary) -> bytes:
    pre_tokenizer = PRE_TOKENIZERS.get(vocabulary.pre)
    if pre_tokenizer is None:
        raise UnsupportedModelError(
            f"pre-tokenizer {vocabulary.pre!r} is not supported; supported: {', '.join(sorted(PRE_TOKENIZERS))}",
            hint="use a GGUF of a supported model family",
        )
    vocab: dict[str, int] = {}
    user_defined: dict[str, int] = {}
    for index, (text, kind) in enumerate(zip(vocabulary.tokens, vocabulary.kinds, strict=True)):
        if kind in (NORMAL, USER_DEFINED, BYTE):
            vocab[text] = index
        if kind == USER_DEFINED:
            user_defined[text] = index
    for index, (left, right) in enumerate(vocabulary.merges):
        missing = next((text for text in (left, right, left + right) if text not in vocab), None)
        if missing is not None:
            raise InvalidFileError(
                f"GGUF metadata tokenizer.ggml.merges[{index}]: expected tokens of the vocabulary, "
                f"found {missing[:32]!r}",
            )
    content = build_tokenizer_json(vocab, vocabulary.merges, user_defined, pre_tokenizer)
    return json.dumps(content, ensure_ascii=False).encode()
