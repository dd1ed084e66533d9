"""Hugging Face folders with only a tokenizer.model: the ids of SentencePiece itself and of transformers.

The models are trained here, in the ways of Llama 2 and of Gemma, on this repository's texts. transformers leaves out
the space that SentencePiece puts before a text which begins with one; there SentencePiece is right.
"""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import hf_builder
import pytest
from fastgo.assets.convert import import_model
from fastgo.assets.model_folder import ModelFolder
from fastgo.errors import FastgoError, InvalidFileError, UnsupportedModelError
from fastgo.text.sentencepiece_folder import export_sentencepiece
from fastgo.text.tokenizer import Tokenizer
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

ROOT = Path(__file__).parents[2]
SCRIPTS = [
    "日本語のテキストです",
    "Привет, мир! Как дела?",
    "café naïve über Größe",
    "العربية لغة",
    "한국어 문장",
    "😀 ok 👍🏽",
]
LINES = [line for name in ("README.md", "ARCHITECTURE.md") for line in (ROOT / name).read_text().splitlines() if line]
ROWS = 900
TURNS = ["<start_of_turn>", "<end_of_turn>"]
STYLES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "llama": (
        {"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1},
        {
            "tokenizer_class": "LlamaTokenizer",
            "legacy": False,
            "bos_token": "<s>",
            "add_bos_token": True,
            "eos_token": "<|im_end|>",
            "unk_token": "<unk>",
            "added_tokens_decoder": {
                "0": {"content": "<unk>", "special": True},
                "1": {"content": "<s>", "special": True},
                "2": {"content": "</s>", "special": True},
                "800": {"content": "<|im_start|>", "special": True},
                "801": {"content": "<|im_end|>", "special": True},
                "802": {"content": "<think>", "special": False, "normalized": False},
            },
        },
    ),
    "gemma": (
        {
            "pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "pad_piece": "<pad>", "bos_piece": "<bos>",
            "eos_piece": "<eos>", "add_dummy_prefix": False,
            "user_defined_symbols": ["<mask>", *TURNS, "\n", "\n\n", "<b>", "</b>"],
        },
        {
            "tokenizer_class": "GemmaTokenizer", "add_bos_token": True,
            "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>",
            "pad_token": "<pad>",
        },
    ),
}  # fmt: skip


def train(**options: Any) -> bytes:
    out = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(LINES + SCRIPTS * 5),
        model_writer=out,
        **{"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity"}
        | {"remove_extra_whitespaces": False, "split_digits": True, "vocab_size": 800, "minloglevel": 2}
        | options,
    )
    return out.getvalue()


@pytest.fixture(scope="module", params=STYLES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder of that style."""
    options, config = STYLES[request.param]
    path = tmp_path_factory.mktemp(request.param)
    weights = hf_builder.tensors()
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"].repeat(10, axis=0)[:ROWS]
    hf_builder.write_hf(path, weights=weights, files={"tokenizer_config.json": config}, model_type=request.param)
    (path / "tokenizer.model").write_bytes(train(**options))
    return path


@pytest.fixture
def ours(folder: Path, tmp_path: Path) -> Tokenizer:
    import_model(folder, tmp_path / "out")
    imported = ModelFolder.open(tmp_path / "out")
    assert imported.manifest.tokenizer is not None
    return Tokenizer.load(imported.path, imported.manifest.tokenizer)


def texts(count: int, special: list[str]) -> list[str]:
    rng = random.Random(5)
    words = [word for line in LINES + SCRIPTS for word in line.split()]
    found = []
    for _ in range(count):
        parts = []
        for _ in range(rng.randrange(1, 9)):
            kind = rng.randrange(12)
            if kind < 7:
                parts.append(rng.choice(words) + rng.choice([" ", "", "  ", "\n", "\n\n", "\t"]))
            elif kind < 10:
                parts.append(
                    "".join(chr(rng.choice([rng.randrange(32, 127), rng.randrange(160, 0x2580)])) for _ in range(4))
                )
            else:
                parts.append(rng.choice([*special, "😀", " ", "0123"]))
        found.append("".join(parts))
    return found


def test_the_same_ids_as_transformers_and_sentencepiece(folder: Path, ours: Tokenizer) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    library = SentencePieceProcessor(model_proto=(folder / "tokenizer.model").read_bytes())
    is_llama = ours.bos_id == 1
    plain = texts(3000, ["<b>"])
    for text in plain:
        ids = ours.encode(text)
        assert ids == library.encode(text), text
        assert ours.decode(ids) == text
        if not (is_llama and text.startswith(" ")):
            assert ids == theirs.encode(text, add_special_tokens=False), text
    for text in texts(1000, ["<think>"] if is_llama else ["<b>", "</b>"]):
        if not text.startswith((" ", "<think>")):
            assert ours.encode(text) == theirs.encode(text, add_special_tokens=False), text
    assert ours.encode_prompt("x") == theirs.encode("x")


def test_special_tokens(folder: Path, ours: Tokenizer) -> None:
    turns = ["<|im_start|>", "<|im_end|>"] if ours.bos_id == 1 else TURNS
    text = f"{turns[0]}user{turns[1]}"
    first, *_, last = ours.encode(text, special=True)
    assert [first, last] == ([800, 801] if ours.bos_id == 1 else [5, 6])
    assert not {first, last} & set(ours.encode(text))
    assert last in ours.eos_ids and ours.add_bos
    assert ours.vocab_size == ROWS and ours.token_bytes(ROWS - 1) == b""


def test_added_tokens_of_the_older_file(tmp_path: Path) -> None:
    raw = train(**STYLES["llama"][0])
    config = {"additional_special_tokens": ["<|user|>"], "add_bos_token": False, "add_prefix_space": False}
    info = export_sentencepiece(raw, config, {"<|user|>": 800, "<x>": 801}, {"eos_token_id": 800}, 802, tmp_path)
    tokenizer = Tokenizer.load(tmp_path, info)
    assert tokenizer.encode("<x>") == [801] and tokenizer.encode("<|user|>", special=True) == [800]
    assert 800 in tokenizer.eos_ids and not tokenizer.add_bos
    assert tokenizer.decode(tokenizer.encode(" a")) == " a"


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "more pieces than rows": ({}, {}, {"rows": 700}),
    "a table of something else": ({"added_tokens_decoder": [1]}, {}, {}),
    "ids that are none": ({"added_tokens_decoder": {"-1": {"content": "x"}}}, {}, {}),
    "an id of another token": ({"added_tokens_decoder": {"5": {"content": "x"}}}, {}, {}),
    "the text of another token": ({"added_tokens_decoder": {"850": {"content": "<s>"}}}, {}, {}),
    "a text of an unused row": ({"added_tokens_decoder": {"850": {"content": "[PAD851]"}}}, {}, {}),
    "no text": ({}, {"": 850}, {}),
    "no id": ({}, {"x": "850"}, {}),
    "a byte taken": ({"added_tokens_decoder": {"5": {"content": "<0x02>"}}}, {}, {}),
    "names that are none": ({"additional_special_tokens": 5}, {"x": -1}, {}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path: Path, name: str) -> None:
    config, added, other = REFUSED[name]
    with pytest.raises(InvalidFileError) as caught:
        export_sentencepiece(train(**STYLES["llama"][0]), config, added, {}, other.get("rows", ROWS), tmp_path)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "options",
    [{"model_type": "unigram"}, {"normalization_rule_name": "nmt_nfkc"}, {"treat_whitespace_as_suffix": True}],
    ids=lambda options: next(iter(options)),
)
def test_other_kinds_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedModelError, match=r"tokenizer\.model"):
        export_sentencepiece(train(**options), {}, {}, {}, ROWS, tmp_path)


def test_a_damaged_file(tmp_path: Path) -> None:
    hf_builder.write_hf(tmp_path / "m", files={"tokenizer.model": "no model"})
    with pytest.raises(FastgoError):
        import_model(tmp_path / "m", tmp_path / "out")
