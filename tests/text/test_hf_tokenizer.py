"""Tokenizers from tokenizer.json: the library's own ids, plain text without control tokens, damage refused."""

from __future__ import annotations

import copy
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from fastgo.errors import InvalidFileError, UnsupportedModelError
from fastgo.text.hf_tokenizer import export_hf_tokenizer
from fastgo.text.tokenizer import Tokenizer
from real_tokenizers import VOCAB_SIZES, real_tokenizer
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = ["the quick brown fox", "über den Wolken", "日本語 テキスト", "x = 1 + 22", "don't  stop\n\n now", "🎉 party"]
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
SCRIPTS = ((32, 127), (9, 14), (0xA0, 0x250), (0x370, 0x600), (0x900, 0xA00), (0x300, 0x340), (0x4E00, 0x5000),
           (0xAC00, 0xAD00), (0x1F300, 0x1F600))  # fmt: skip


def byte_level() -> dict[str, Any]:
    """As Qwen's: byte-level BPE, NFC, three control tokens and one that is none."""
    library = Library(models.BPE())
    library.normalizer = normalizers.NFC()
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    library.train_from_iterator(TEXTS * 9, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    library.add_special_tokens(SPECIAL)
    library.add_tokens(["<think>"])
    return dict(json.loads(library.to_str()))


def byte_fallback() -> dict[str, Any]:
    """As Gemma's: characters with byte tokens, spaces as U+2581, a beginning-of-sequence token in front."""
    library = Library(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    library.normalizer = normalizers.Replace(" ", "\u2581")
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", *(f"<0x{byte:02X}>" for byte in range(256))]
    library.train_from_iterator(TEXTS * 9, trainers.BpeTrainer(vocab_size=500, special_tokens=tokens))
    data = json.loads(library.to_str())
    data["added_tokens"] = [item for item in data["added_tokens"] if not item["content"].startswith("<0x")]
    spaces = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
    data["decoder"] = {"type": "Sequence", "decoders": [spaces, {"type": "ByteFallback"}, {"type": "Fuse"}]}
    bos = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    library.post_processor = bos
    data["post_processor"] = json.loads(library.to_str())["post_processor"]
    return dict(data)


KINDS = {"tokenizers": byte_level, "tokenizers_byte_fallback": byte_fallback}


def export(
    data: dict[str, Any], folder: Path, config: Any = None, model: Any = None, vocab_size: int = 600
) -> Tokenizer:
    info = export_hf_tokenizer(data, config or {}, model or {}, vocab_size, folder)
    return Tokenizer.load(folder, json.loads(json.dumps(info)))


def strings(specials: list[str], count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)

    def piece() -> str:
        if rng.random() < 0.25:
            return rng.choice([*specials, "<think>", " ", "  ", "\n\n", "<|", "<0x41>", "\u2581"])
        low, high = rng.choice(SCRIPTS)
        return "".join(chr(rng.randrange(low, high)) for _ in range(rng.randint(1, 9)))

    return ["".join(piece() for _ in range(rng.randint(1, 8))) for _ in range(count)]


def check_ids(data: dict[str, Any], ours: Tokenizer, specials: list[str], count: int) -> None:
    library = Library.from_str(json.dumps(data))
    control = {library.token_to_id(text) for text in specials}

    def normal(text: str) -> str:
        """Added tokens are cut out before the text around them is normalised, so that both sides need it."""
        text = library.normalizer.normalize_str(text) if library.normalizer else text
        return text.replace("\u2581", " ")

    for text in [*TEXTS, *strings(specials, count)]:
        assert ours.encode(text, special=True) == library.encode(text, add_special_tokens=False).ids
        plain = ours.encode(text)
        assert not control.intersection(plain)
        assert normal(ours.decode(plain)) == normal(text)


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_the_librarys_and_text_comes_back(tmp_path: Path, kind: str) -> None:
    data = KINDS[kind]()
    specials = [item["content"] for item in data["added_tokens"] if item["special"]]
    ours = export(data, tmp_path)
    check_ids(data, ours, specials, 500)


def test_byte_tokens_stream_as_bytes(tmp_path: Path) -> None:
    ours = export(byte_fallback(), tmp_path)
    ids = ours.encode("\u2603")
    assert [ours.token_bytes(token) for token in ids] == [b"\xe2", b"\x98", b"\x83"]


def test_special_ids_from_the_config_files(tmp_path: Path) -> None:
    data = byte_level()
    start, end, text_end = (item["id"] for item in data["added_tokens"][:3])
    config = {"bos_token": None, "eos_token": {"content": "<|im_end|>"}, "pad_token": "<|endoftext|>"}
    ours = export(data, tmp_path, config, {"bos_token_id": start, "eos_token_id": [text_end, end]})
    assert (ours.bos_id, ours.eos_id, ours.eos_ids, ours.add_bos) == (None, end, (end, text_end), False)
    ours = export(data, tmp_path, {}, {"bos_token_id": start, "eos_token_id": text_end})
    assert (ours.bos_id, ours.eos_id, ours.add_bos) == (start, text_end, False)


def test_a_template_says_whether_prompts_begin_with_bos(tmp_path: Path) -> None:
    ours = export(byte_fallback(), tmp_path, {"bos_token": "<bos>", "eos_token": "<eos>"})
    assert (ours.bos_id, ours.add_bos, ours.eos_ids) == (2, True, (1,))
    assert ours.encode_prompt("a")[0] == 2


def test_turn_markers_are_control_tokens_whatever_the_file_says(tmp_path: Path) -> None:
    data = byte_level()
    for item in data["added_tokens"]:
        item["special"] = False
    ours = export(data, tmp_path)
    marker = data["added_tokens"][0]["id"]
    assert ours.encode("<|im_start|>", special=True) == [marker] and marker not in ours.encode("<|im_start|>")


def test_added_tokens_without_a_row_are_left_out(tmp_path: Path) -> None:
    data = byte_level()
    size = data["added_tokens"][-1]["id"]
    ours = export(data, tmp_path, vocab_size=size)
    assert ours.decode(ours.encode("<think>")) == "<think>" and max(ours.encode("<think>")) < size


def damaged(change: Any) -> dict[str, Any]:
    data = copy.deepcopy(byte_level())
    change(data)
    return data


DOUBLING = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
DAMAGE: dict[str, Any] = {
    "no model": lambda data: data.pop("model"),
    "no vocabulary": lambda data: data["model"].update(vocab={}),
    "an id twice": lambda data: data["model"]["vocab"].update(a=1, b=1),
    "a negative id": lambda data: data["model"]["vocab"].update(a=-1),
    "an id beyond the rows": lambda data: data["model"]["vocab"].update(a=600),
    "a huge id": lambda data: data["added_tokens"][0].update(id=1 << 40),
    "an added token without text": lambda data: data["added_tokens"][0].pop("content"),
    "an added token twice": lambda data: data["added_tokens"].append(data["added_tokens"][0]),
    "an added token on another's id": lambda data: data["added_tokens"][0].update(id=5),
    "a merge of what is no token": lambda data: data["model"]["merges"].append(["nosuch", "token"]),
    "a merge that makes no token": lambda data: data["model"]["merges"].append(list(data["model"]["vocab"])[:2][::-1]),
    "a merge of one": lambda data: data["model"]["merges"].append(["a"]),
    "merges are a number": lambda data: data["model"].update(merges=7),
    "an unknown token that is a list": lambda data: data["model"].update(unk_token=[1]),
    "steps that double a text many times": lambda data: data.update(
        pre_tokenizer={"type": "Sequence", "pretokenizers": [data["pre_tokenizer"]] * 20}
    ),
    "replacements that grow": lambda data: data.update(normalizer={"type": "Sequence", "normalizers": [DOUBLING] * 20}),
    "a replacement of nothing by much": lambda data: data.update(
        normalizer={"type": "Replace", "pattern": {"Regex": ""}, "content": "a" * 1000}
    ),
    "added tokens are a number": lambda data: data.update(added_tokens=7),
    "half a surrogate pair": lambda data: data["model"]["vocab"].update({"\ud800": 500}),
    "half a surrogate pair added": lambda data: data["added_tokens"][0].update(content="\ud800"),
    "a decoder of numbers": lambda data: data.update(decoder=[7]),
    "an unknown normalizer": lambda data: data.update(normalizer={"type": "Nosuch"}),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_clear_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidFileError) as caught:
        export(damaged(DAMAGE[name]), tmp_path)
    assert "\n" not in caught.value.message and not list(tmp_path.iterdir())


def test_ids_outside_the_vocabulary_in_a_config(tmp_path: Path) -> None:
    for wrong in (600, -1, "2", [1, None, 2.5]):
        with pytest.raises(InvalidFileError, match="eos_token_id"):
            export(byte_level(), tmp_path, {}, {"eos_token_id": wrong})


def test_other_kinds_are_refused(tmp_path: Path) -> None:
    for change in (
        lambda data: data["model"].update(type="Unigram"),
        lambda data: data.update(decoder={"type": ["ByteLevel"]}),
        lambda data: data.update(decoder={"type": "WordPiece", "prefix": "##", "cleanup": True}),
        lambda data: data["added_tokens"][0].update(lstrip=True),
    ):
        with pytest.raises(UnsupportedModelError):
            export(damaged(change), tmp_path)


@pytest.mark.parametrize("name", VOCAB_SIZES)
def test_real_tokenizers(tmp_path: Path, name: str) -> None:
    """FASTGO_TEST_STRINGS=100000 is the long form."""
    data, config = real_tokenizer(name), real_tokenizer(name, "tokenizer_config.json")
    ours = export(data, tmp_path, config, vocab_size=VOCAB_SIZES[name])
    specials = [item["content"] for item in data["added_tokens"] if item["special"] and item["id"] < VOCAB_SIZES[name]]
    check_ids(data, ours, specials, int(os.environ.get("FASTGO_TEST_STRINGS", "4000")))
