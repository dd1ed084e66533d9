"""The real models' tokenizer files, which tools/fetch_tokenizers.py leaves in $FASTGO_TEST_TOKENIZERS/<name>."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

VOCAB_SIZES = {"gemma3": 262_144, "qwen3": 151_936, "llama3.2": 128_256, "qwen2.5": 151_936}


def real_tokenizer(name: str, file: str = "tokenizer.json") -> dict[str, Any]:
    """One of its files; skips the test where they were not fetched."""
    folder = Path(os.environ.get("FASTGO_TEST_TOKENIZERS", "/nonexistent")) / name
    if not folder.is_dir():
        pytest.skip("not fetched: python tools/fetch_tokenizers.py FOLDER, FASTGO_TEST_TOKENIZERS=FOLDER")
    return _read(folder / file)


@cache
def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text("utf-8")))
