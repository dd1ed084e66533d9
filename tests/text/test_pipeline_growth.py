"""How much longer a tokenizer's own steps may make a text, for the steps that the public library knows."""

from __future__ import annotations

import pytest
from fastgo.errors import InvalidFileError
from fastgo.text.pipeline_growth import MAX_GROWTH, check_growth
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers


def tokenizer(*steps: normalizers.Normalizer) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.Sequence(list(steps))
    return made


def test_the_steps_of_real_tokenizers_pass() -> None:
    made = tokenizer(normalizers.Prepend("▁"), normalizers.Replace(" ", "▁"), normalizers.NFC())
    made.pre_tokenizer = pre_tokenizers.ByteLevel()
    check_growth(made, "it")


@pytest.mark.parametrize(
    "steps",
    [
        [normalizers.Replace("a", "a" * (MAX_GROWTH + 1))],
        [normalizers.Replace(Regex(""), "a" * MAX_GROWTH)],
        [normalizers.Replace("a", "aa")] * 7,
        [normalizers.Prepend("a" * MAX_GROWTH)],
        [normalizers.Prepend("a" * 1000), normalizers.Replace("a", "a" * 60)],
        [normalizers.NFC()] * 100,
        [normalizers.Replace("a", "a" * 1_000_000)] * 60,
    ],
)
def test_steps_that_make_texts_much_longer_are_refused(steps: list[normalizers.Normalizer]) -> None:
    with pytest.raises(InvalidFileError, match=r"^it: its \d+ steps make a text up to \S+ times longer"):
        check_growth(tokenizer(*steps), "it")
