"""The export from GGUF metadata: hostile metadata, kinds of tokens, and each pre-tokenizer's way of cutting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastgo.errors import InvalidFileError, UnsupportedModelError
from fastgo.text.gguf_tokenizer import export_tokenizer
from fastgo.text.tokenizer import Tokenizer
from tokenizers import Tokenizer as Library
from vocabularies import CONTROL, NORMAL, UNKNOWN, USER_DEFINED, byte_level_metadata, sentencepiece_metadata

SENTENCEPIECE_SIZE = 266


def replaced(values: list[Any], index: int, value: Any) -> list[Any]:
    return [*values[:index], value, *values[index + 1 :]]


def value_of(metadata: dict[str, Any], key: str) -> Any:
    return metadata[f"tokenizer.ggml.{key}"]


TOKENS = value_of(sentencepiece_metadata(), "tokens")
KINDS = value_of(sentencepiece_metadata(), "token_type")
BAD_SENTENCEPIECE: list[dict[str, Any]] = [
    {"tokens": None},
    {"tokens": []},
    {"tokens": b"many"},
    {"tokens": 7},
    {"tokens": replaced(TOKENS, 5, 5)},
    {"tokens": replaced(TOKENS, 5, b"")},
    {"tokens": replaced(TOKENS, 5, b"\xff\xfe")},
    {"tokens": replaced(TOKENS, 5, "\ud800")},
    {"tokens": replaced(TOKENS, 265, b"hi")},
    {"tokens": TOKENS[:-1]},
    {"scores": None},
    {"scores": [0.0]},
    {"scores": replaced([0.0] * SENTENCEPIECE_SIZE, 9, float("nan"))},
    {"scores": replaced([0.0] * SENTENCEPIECE_SIZE, 9, 1e39)},
    {"scores": replaced([0.0] * SENTENCEPIECE_SIZE, 9, "high")},
    {"token_type": None},
    {"token_type": KINDS[1:]},
    {"token_type": replaced(KINDS, 1, 7)},
    {"token_type": replaced(KINDS, 1, -1)},
    {"token_type": replaced(KINDS, 1, 1.5)},
    {"token_type": replaced(KINDS, 9, NORMAL)},
    {"bos_token_id": SENTENCEPIECE_SIZE},
    {"bos_token_id": -1},
    {"eos_token_id": 1 << 63},
    {"eos_token_id": "2"},
    {"eot_token_id": 1 << 31},
    {"padding_token_id": 0xFFFFFFFF},
    {"unknown_token_id": 4},
    {"unknown_token_id": True},
    {"add_bos_token": 1},
    {"add_space_prefix": "no"},
    {"model": b"\xff"},
    {"model": 3},
]
BAD_BYTE_LEVEL: list[dict[str, Any]] = [
    {"merges": None},
    {"merges": ["hi"]},
    {"merges": ["hi "]},
    {"merges": ["h i", "h nosuch"]},
    {"merges": ["h a"]},
    {"merges": ["h i", 3]},
    {"merges": "h i"},
    {"tokens": ["a", "a"]},
    {"token_type": [NORMAL]},
    {"pre": 5},
]


@pytest.mark.parametrize("change", BAD_SENTENCEPIECE, ids=lambda change: str(change)[:40])
def test_bad_sentencepiece_metadata_is_one_clear_error(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidFileError) as caught:
        export_tokenizer(sentencepiece_metadata(**change), tmp_path)
    assert "\n" not in caught.value.message and caught.value.hint


@pytest.mark.parametrize("change", BAD_BYTE_LEVEL, ids=lambda change: str(change)[:40])
def test_bad_byte_level_metadata_is_one_clear_error(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidFileError) as caught:
        export_tokenizer(byte_level_metadata(**change), tmp_path)
    assert "\n" not in caught.value.message and caught.value.hint


@pytest.mark.parametrize("change", [{"model": "bert"}, {"model": None}, {"pre": "nosuch"}])
def test_unknown_kinds_are_named(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        export_tokenizer(byte_level_metadata(**change), tmp_path)
    assert str(next(iter(change.values())) or "''") in caught.value.message


def test_arrays_may_be_numpy_arrays(tmp_path: Path) -> None:
    plain = sentencepiece_metadata()
    arrays = sentencepiece_metadata(
        scores=np.array(value_of(plain, "scores"), np.float32), token_type=np.array(KINDS, np.int32)
    )
    expected = export_tokenizer(plain, tmp_path), (tmp_path / "tokenizer.model").read_bytes()
    assert (export_tokenizer(arrays, tmp_path), (tmp_path / "tokenizer.model").read_bytes()) == expected


def test_the_entry_is_plain_json_and_complete(tmp_path: Path) -> None:
    info = export_tokenizer(byte_level_metadata(), tmp_path)
    assert json.loads(json.dumps(info)) == info
    assert info == {
        "kind": "tokenizers", "files": ["tokenizer.json", "special_tokens.json"], "special": "special_tokens.json",
        "vocab_size": 262, "bos_id": 258, "eos_id": 259, "eos_ids": [259], "unk_id": None, "pad_id": None,
        "add_bos": False, "add_space_prefix": False,
    }  # fmt: skip


def test_defaults_of_a_sentencepiece_vocabulary(tmp_path: Path) -> None:
    names = ("bos_token_id", "eos_token_id", "unknown_token_id", "add_bos_token", "add_space_prefix")
    info = export_tokenizer(sentencepiece_metadata(**dict.fromkeys(names)), tmp_path)
    found = {name: info[name] for name in ("bos_id", "eos_id", "unk_id", "add_bos", "add_space_prefix")}
    assert found == {"bos_id": 1, "eos_id": 2, "unk_id": 0, "add_bos": True, "add_space_prefix": True}


def test_turn_markers_are_control_tokens_whatever_the_file_says(tmp_path: Path) -> None:
    kinds = [NORMAL] * 258 + [USER_DEFINED, USER_DEFINED, USER_DEFINED, NORMAL]
    info = export_tokenizer(byte_level_metadata(token_type=kinds, eos_token_id=None), tmp_path)
    tokenizer = Tokenizer.load(tmp_path, info)
    assert info["eos_ids"] == [259]
    assert 259 not in tokenizer.encode("<|im_end|>")
    assert tokenizer.encode("<|im_end|>", special=True) == [259]


def test_end_of_turn_tokens_come_from_the_metadata_too(tmp_path: Path) -> None:
    info = export_tokenizer(sentencepiece_metadata(eot_token_id=259, eom_token_id=2), tmp_path)
    assert info["eos_ids"] == [2, 259]


def test_a_second_unknown_token_is_a_control_token(tmp_path: Path) -> None:
    info = export_tokenizer(sentencepiece_metadata(token_type=replaced(KINDS, 1, UNKNOWN)), tmp_path)
    assert Tokenizer.load(tmp_path, info).encode("<s>", special=True) == [1]


def test_a_vocabulary_without_byte_tokens_uses_the_unknown_token(tmp_path: Path) -> None:
    kinds = [CONTROL if kind == 6 else kind for kind in KINDS]
    info = export_tokenizer(sentencepiece_metadata(token_type=kinds), tmp_path)
    assert Tokenizer.load(tmp_path, info).encode("€") == [0]


WORDS = {
    "gpt-2": ["I", "'ll", " pay", " 1234", " €", "\n\n ", " x", " "],
    "smollm": ["I", "'ll", " pay", " ", "1", "2", "3", "4", " €", "\n\n ", " x", " "],
    "llama-bpe": ["I", "'ll", " pay", " ", "123", "4", " €\n\n", " ", " x", " "],
    "qwen2": ["I", "'ll", " pay", " ", "1", "2", "3", "4", " €\n\n", " ", " x", " "],
    "default": ["I", "'", "ll", " pay", " ", "123", "4", " €", "\n\n ", " x", " "],
}


@pytest.mark.parametrize("pre", WORDS)
def test_pre_tokenizers_cut_as_their_models_expect(tmp_path: Path, pre: str) -> None:
    export_tokenizer(byte_level_metadata(pre=pre), tmp_path)
    library = Library.from_file(str(tmp_path / "tokenizer.json"))
    text = "I'll pay 1234 €\n\n  x "
    cuts = library.pre_tokenizer.pre_tokenize_str(text)
    assert [text[start:end] for _, (start, end) in cuts] == WORDS[pre]


def test_llama_takes_whole_words_before_merging(tmp_path: Path) -> None:
    tokens = [*value_of(byte_level_metadata(), "tokens")[:-1], "hihi"]
    kinds = [*value_of(byte_level_metadata(), "token_type")[:-1], NORMAL]
    for pre, expected in (("llama-bpe", [261]), ("qwen2", [256, 256])):
        info = export_tokenizer(byte_level_metadata(pre=pre, tokens=tokens, token_type=kinds), tmp_path)
        assert Tokenizer.load(tmp_path, info).encode("hihi") == expected
