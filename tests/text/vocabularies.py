"""What the tests of this folder share: exported tokenizers, and metadata of small vocabularies as in a GGUF."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastgo.text.byte_level import byte_of_character
from fastgo.text.tokenizer import Tokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


@dataclass
class Exported:
    """A tokenizer, and the folder and manifest entry it was loaded from."""

    tokenizer: Tokenizer
    folder: Path
    info: dict[str, Any]
    chat_template: str | None


def sentencepiece_metadata(**changes: Any) -> dict[str, Any]:
    """<unk> 0, <s> 1, </s> 2, bytes from 3, <user> 259, then pieces. `changes` replace values (None drops)."""
    pieces = ["\u2581", "h", "i", "hi", "\u2581hi", "x"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "<user>", *pieces]
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, USER_DEFINED, *[NORMAL] * len(pieces)]
    values = {
        "model": "llama",
        "tokens": [token.encode() for token in tokens],
        "scores": [0.0] * 260 + [-float(index) for index in range(len(pieces))][::-1],
        "token_type": kinds,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
        "add_bos_token": True,
        "add_space_prefix": False,
    }
    return _with_changes(values, changes)


def byte_level_metadata(**changes: Any) -> dict[str, Any]:
    """Bytes from 0, "hi" 256, "Ġhi" 257, <|im_start|> 258, <|im_end|> 259, <tool> 260 (user-defined), [PAD] 261."""
    tokens = [*byte_of_character(), "hi", "Ġhi", "<|im_start|>", "<|im_end|>", "<tool>", "[PAD]"]
    values = {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": tokens,
        "token_type": [NORMAL] * 258 + [CONTROL, CONTROL, USER_DEFINED, UNUSED],
        "merges": ["h i", "Ġ hi"],
        "bos_token_id": 258,
        "eos_token_id": 259,
    }
    return _with_changes(values, changes)


def _with_changes(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = {**values, **changes}
    return {f"tokenizer.ggml.{key}": value for key, value in merged.items() if value is not None}
