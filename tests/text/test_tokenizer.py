"""Encoding and decoding: round trips on any text, control tokens only on request, and loading."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from fastgo.errors import InvalidFileError
from fastgo.text.gguf_tokenizer import export_tokenizer
from fastgo.text.tokenizer import Tokenizer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vocabularies import Exported, byte_level_metadata, sentencepiece_metadata

AWKWARD = [
    "", "\x00", "a\x00b", " ", "  ", " " * 33, "\n" * 40, "\t \t", "\r\n", "\u0301", "e\u0301\u0301", "👩‍👩‍👧‍👦",
    "🇫🇷", "עברית", "العربية", "\u202eabc\u202c", "\u2028\u2029", "\ufeffx", "\ufffd", "\ufdd0\ufdd1", "𝔘", "\U0010ffff",
    "<0x0A>", "Ġ", "<unk>", "<bos>", "<|im_end|>", "x" * 5000,
]  # fmt: skip
SPECIAL_TEXTS = ["<bos>", "<eos>", "<unk>", "<end_of_turn>", "<unused5>", "<|im_start|>", "<|im_end|>", "<file_sep>"]
any_text = st.lists(st.one_of(st.text(), st.sampled_from(AWKWARD + SPECIAL_TEXTS))).map("".join)
quick = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)


def writable(exported: Exported, text: str) -> str:
    """`text` as the vocabulary can write it: Gemma takes U+2581 for a space, SmolLM2 lacks some bytes."""
    if exported.info["kind"] == "sentencepiece":
        return text.replace("\u2581", " ")
    known = {exported.tokenizer.token_bytes(token) for token in range(17, 300)}
    missing = {byte for byte in range(256) if bytes([byte]) not in known}
    return "".join(character for character in text if not missing.intersection(character.encode()))


@pytest.mark.parametrize("text", AWKWARD)
def test_awkward_text_comes_back(exported: Exported, text: str) -> None:
    text = writable(exported, text)
    assert exported.tokenizer.decode(exported.tokenizer.encode(text)) == text


@quick
@given(text=any_text)
def test_any_text_comes_back(exported: Exported, text: str) -> None:
    text = writable(exported, text)
    ids = exported.tokenizer.encode(text)
    assert exported.tokenizer.decode_bytes(ids) == text.encode()


@quick
@given(text=any_text)
def test_plain_text_never_becomes_a_control_token(exported: Exported, text: str) -> None:
    control = set(json.loads((exported.folder / "special_tokens.json").read_text("utf-8")).values())
    tokenizer = exported.tokenizer
    assert not control.intersection(tokenizer.encode(text))
    assert not control.intersection(tokenizer.encode(tokenizer.shield(text), special=True))


@quick
@given(text=any_text)
def test_a_shielded_text_has_the_tokens_of_the_plain_text(exported: Exported, text: str) -> None:
    tokenizer = exported.tokenizer
    assert tokenizer.encode(tokenizer.shield(text), special=True) == tokenizer.encode(text)


def test_special_tokens_are_read_longest_first(smollm2: Exported) -> None:
    assert smollm2.tokenizer.encode("<|im_start|>user\nhi<|im_end|>", special=True)[0] == 1
    assert smollm2.tokenizer.encode("<|im_start|><|im_start|x", special=True)[:2] != [1, 1]
    assert smollm2.tokenizer.encode("<<|im_end|>", special=True)[-1] == 2


def test_facts_of_the_real_models(gemma: Exported, smollm2: Exported) -> None:
    tokenizer = gemma.tokenizer
    assert (tokenizer.bos_id, tokenizer.eos_ids, tokenizer.add_bos, tokenizer.vocab_size) == (2, (1, 106), True, 262144)
    assert (tokenizer.token_text(2), tokenizer.token_bytes(2), tokenizer.token_bytes(238)) == ("<bos>", b"", b"\0")
    tokenizer = smollm2.tokenizer
    assert (tokenizer.bos_id, tokenizer.eos_ids, tokenizer.add_bos, tokenizer.vocab_size) == (1, (2, 0), False, 49152)
    assert tokenizer.token_text(None) == ""


def test_a_prompt_begins_with_bos_exactly_once(gemma: Exported, smollm2: Exported) -> None:
    assert gemma.tokenizer.encode_prompt("hi") == [2, *gemma.tokenizer.encode("hi")]
    assert gemma.tokenizer.encode_prompt("<bos>hi", special=True) == [2, *gemma.tokenizer.encode("hi")]
    assert smollm2.tokenizer.encode_prompt("hi") == smollm2.tokenizer.encode("hi")


def test_lone_surrogates_become_replacement_characters(exported: Exported) -> None:
    assert exported.tokenizer.decode(exported.tokenizer.encode("a\ud800b")) == "a\ufffdb"


@pytest.mark.parametrize("token", [-1, 1 << 40])
def test_a_token_outside_the_vocabulary_is_an_error(exported: Exported, token: int) -> None:
    with pytest.raises(IndexError):
        exported.tokenizer.token_bytes(token)


def test_bytes_that_are_no_utf8_are_kept_as_bytes(gemma: Exported) -> None:
    ids = [238 + 0xE2, 238 + 0x82]
    assert gemma.tokenizer.decode_bytes(ids) == b"\xe2\x82"
    assert gemma.tokenizer.decode(ids) == "\ufffd"


def test_loading_is_quick(exported: Exported) -> None:
    def seconds() -> float:
        start = time.process_time()  # others may use the machine
        Tokenizer.load(exported.folder, exported.info).encode("hello")
        return time.process_time() - start

    assert min(seconds() for _ in range(3)) < 0.3


def test_a_space_prefix_is_added_and_taken_away(tmp_path: Path) -> None:
    info = export_tokenizer(sentencepiece_metadata(add_space_prefix=True), tmp_path)
    tokenizer = Tokenizer.load(tmp_path, info)
    ids = tokenizer.encode("hi")
    assert [tokenizer.token_bytes(token) for token in ids] == [b" hi"]
    assert tokenizer.decode(ids) == "hi"


def test_user_defined_tokens_are_found_in_plain_text(tmp_path: Path) -> None:
    for metadata, text, token in (
        (sentencepiece_metadata(), "<user>", 259),
        (byte_level_metadata(), "<tool>", 260),
    ):
        tokenizer = Tokenizer.load(tmp_path, export_tokenizer(metadata, tmp_path))
        assert token in tokenizer.encode(f"hi{text}hi")
        assert tokenizer.decode(tokenizer.encode(f"hi{text} hi")) == f"hi{text} hi"


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "wordpiece"}, {"kind": None}, {"kind": ["tokenizers"]}, {"files": []}, {"files": "tokenizer.json"},
        {"files": ["../tokenizer.json"]}, {"files": ["/etc/passwd"]}, {"files": ["missing.json"]},
        {"special": "../special_tokens.json"}, {"special": None}, {"vocab_size": 0}, {"vocab_size": "many"},
        {"vocab_size": 3, "bos_id": None, "eos_id": None, "eos_ids": []}, {"bos_id": 999999}, {"bos_id": -1},
        {"bos_id": True}, {"eos_ids": [0, 1 << 60]}, {"eos_ids": None},
    ],
)  # fmt: skip
def test_an_entry_that_does_not_fit_is_one_clear_error(tmp_path: Path, change: dict[str, Any]) -> None:
    info = {**export_tokenizer(byte_level_metadata(), tmp_path), **change}
    with pytest.raises(InvalidFileError) as caught:
        Tokenizer.load(tmp_path, info)
    assert "\n" not in caught.value.message and caught.value.hint


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100, b"[" * 100_000, b'{"version": "1.0", "model": 3}'])
@pytest.mark.parametrize("kind", ["sentencepiece", "tokenizers"])
def test_damaged_files_are_one_clear_error(tmp_path: Path, kind: str, content: bytes) -> None:
    metadata = sentencepiece_metadata() if kind == "sentencepiece" else byte_level_metadata()
    info = export_tokenizer(metadata, tmp_path)
    (tmp_path / info["files"][0]).write_bytes(content)
    with pytest.raises(InvalidFileError) as caught:
        Tokenizer.load(tmp_path, info)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("content", [b"", b"[]", b'{"": 1}', b'{"<s>": "1"}', b'{"<s>": 99999}', b"[" * 100_000])
def test_damaged_special_tokens_are_one_clear_error(tmp_path: Path, content: bytes) -> None:
    info = export_tokenizer(byte_level_metadata(), tmp_path)
    (tmp_path / info["special"]).write_bytes(content)
    with pytest.raises(InvalidFileError):
        Tokenizer.load(tmp_path, info).encode("<s>", special=True)
