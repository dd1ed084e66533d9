"""Merges as the tokenizers library reads them: lines, or pairs where a line would say something else."""

from __future__ import annotations

import json

import pytest
from fastgo.text.byte_level import PRE_TOKENIZERS, build_tokenizer_json
from tokenizers import Tokenizer


@pytest.mark.parametrize(
    ("left", "right", "is_line"),
    [("a", "b", True), ("#", "version", True), ("#version", "b", False), ("a", " b", False), ("a b", "c", False)],
)
def test_the_library_makes_every_merge(left: str, right: str, is_line: bool) -> None:
    content = build_tokenizer_json({left: 0, right: 1, left + right: 2}, [(left, right)], {}, PRE_TOKENIZERS["gpt-2"])
    assert content["model"]["merges"] == ([f"{left} {right}"] if is_line else [[left, right]])
    library = Tokenizer.from_str(json.dumps(content))
    assert json.loads(library.to_str())["model"]["merges"] == [[left, right]]
