"""Streaming: whole characters only, nothing lost, stop strings."""

from __future__ import annotations

import pytest
from fastgo.text.gguf_tokenizer import export_tokenizer
from fastgo.text.stream import TextStream
from fastgo.text.tokenizer import Tokenizer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vocabularies import Exported, byte_level_metadata, sentencepiece_metadata

quick = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)


@pytest.fixture(scope="module", params=["sentencepiece", "tokenizers"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    metadata = sentencepiece_metadata() if request.param == "sentencepiece" else byte_level_metadata()
    return Tokenizer.load(folder, export_tokenizer(metadata, folder))


def pieces_of(stream: TextStream, ids: list[int]) -> list[str]:
    return [*(stream.push(token) for token in ids), stream.finish()]


@quick
@given(text=st.text())
def test_no_piece_has_half_a_character(tokenizer: Tokenizer, text: str) -> None:
    pieces = pieces_of(TextStream(tokenizer), tokenizer.encode(text))
    assert "".join(pieces) == text.replace("\u2581", tokenizer.decode(tokenizer.encode("\u2581")))
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


@quick
@given(ids=st.lists(st.integers(0, 261)))
def test_any_tokens_stream_to_what_they_decode_to(tokenizer: Tokenizer, ids: list[int]) -> None:
    assert "".join(pieces_of(TextStream(tokenizer), ids)) == tokenizer.decode(ids)


def test_an_emoji_appears_when_its_last_byte_does(gemma: Exported) -> None:
    llama = [238 + byte for byte in "🦙".encode()]
    assert pieces_of(TextStream(gemma.tokenizer), llama) == ["", "", "", "🦙", ""]


def test_a_broken_character_is_replaced_once_it_is_known_to_be_broken(gemma: Exported) -> None:
    stream = TextStream(gemma.tokenizer)
    assert pieces_of(stream, [238 + 0xF0, 238 + 0x9F, 238 + ord("a")]) == ["", "", "\ufffda", ""]
    assert pieces_of(TextStream(gemma.tokenizer), [238 + 0xF0]) == ["", "\ufffd"]


def test_a_stop_string_across_tokens_ends_the_text(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer, stop=["STOP", "\n\n"])
    assert "".join(pieces_of(stream, tokenizer.encode("go STO on\nSTOP never"))) == "go STO on\n"
    assert stream.stopped


@quick
@given(text=st.text("ab"), stop=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_the_first_complete_stop_string_ends_the_text(tokenizer: Tokenizer, text: str, stop: list[str]) -> None:
    stream = TextStream(tokenizer, stop)
    complete = [(text.index(end) + len(end), text.index(end)) for end in stop if end in text]
    expected = text[: min(complete)[1]] if complete else text
    pieces = [stream.push(tokenizer.encode(character)[0]) for character in text]
    assert "".join([*pieces, stream.finish()]) == expected
    assert stream.stopped == any(end in text for end in stop)


def test_only_what_may_become_a_stop_string_is_held_back(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer, stop=["abc"])
    assert [stream.push(tokenizer.encode(character)[0]) for character in "xabx"] == ["x", "", "", "abx"]
