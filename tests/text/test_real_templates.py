"""Chat templates of real models give, to the character, what transformers renders (tools/make_template_goldens.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fastgo.errors import UsageError
from fastgo.text.chat import render
from real_tokenizers import VOCAB_SIZES, real_tokenizer
from template_cases import CASES, FIXED

GOLDENS = json.loads((Path(__file__).parent / "goldens" / "chat_templates.json").read_text("utf-8"))


def ours(config: dict[str, Any], case: str) -> str:
    tokens = {}
    for name in ("bos_token", "eos_token"):
        value = config.get(name) or ""
        tokens[name] = value["content"] if isinstance(value, dict) else value
    fields = {**CASES[case], **FIXED, **tokens}
    return render(config["chat_template"], fields.pop("messages"), **fields)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("model", VOCAB_SIZES)
def test_as_transformers_renders_it(model: str, case: str) -> None:
    config = real_tokenizer(model, "tokenizer_config.json")
    expected = GOLDENS[model][case]
    if expected is None:
        with pytest.raises(UsageError, match="refuses this conversation"):
            ours(config, case)
    else:
        assert ours(config, case) == expected


def test_the_goldens_tell_the_cases_apart() -> None:
    assert set(GOLDENS) == set(VOCAB_SIZES)
    assert len(set(GOLDENS["qwen3"].values())) == len(CASES) - 1  # thinking on is what that template does anyway
