"""What speed tests feed to a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.repository import open_model
from fastgo.bench.tokens import bench_tokens
from fastgo.text.tokenizer import Tokenizer


def test_a_model_without_a_tokenizer_gets_random_ids(tiny_gguf: Path) -> None:
    folder = open_model(tiny_gguf)
    without = ModelFolder(folder.path, replace(folder.manifest, tokenizer=None))
    ids, content = bench_tokens(without, 50)
    assert content == "random" and len(ids) == 50 and len(set(ids)) > 10
    assert all(0 <= token < folder.config.vocab_size for token in ids)
    assert bench_tokens(without, 50) == (ids, content)


@pytest.mark.real
@pytest.mark.parametrize("count", [1, 64, 3000])
def test_others_get_a_text(smollm2_gguf: Path, count: int) -> None:
    folder = open_model(smollm2_gguf)
    ids, content = bench_tokens(folder, count)
    assert content == "text" and len(ids) == count
    assert folder.manifest.tokenizer is not None
    text = Tokenizer.load(folder.path, folder.manifest.tokenizer).decode(ids)
    assert 'The "assert" statement\n****'.startswith(text[:20]) and len(text) > 2 * count
