"""Token ids and bytes of both real models against cases made with llama.cpp's tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize("model", ["gemma", "smollm2"])
def test_ids_and_bytes_equal_the_reference(model: str, request: pytest.FixtureRequest) -> None:
    tokenizer = request.getfixturevalue(model).tokenizer
    cases = json.loads((CASES / f"{model}.tokenizer_cases.json").read_text(encoding="utf-8"))
    assert len(cases) > 30
    for case in cases:
        assert tokenizer.encode(case["text"]) == case["ids"], case["text"]
        assert tokenizer.encode(case["text"], special=True) == case["ids_parse_special"], case["text"]
        assert tokenizer.decode_bytes(case["ids"]).hex() == case["detok_hex"], case["text"]
