"""Fixtures for all tests: the two real models, as the GGUF files that their Python packages carry."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastgo.assets import catalog
from fastgo.errors import ModelNotFoundError


def _gguf(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return catalog.gguf_source(catalog.BY_NAME[name], tmp_path_factory.mktemp("gguf"))
    except ModelNotFoundError as error:
        pytest.skip(f"{error.message}: {error.hint}")


@pytest.fixture(scope="session")
def gemma_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gemma 3 270M, Q4_K_M, SentencePiece vocabulary, no chat template."""
    return _gguf("gemma3", tmp_path_factory)


@pytest.fixture(scope="session")
def smollm2_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 135M Instruct, Q4_1, byte-level BPE vocabulary, ChatML template."""
    return _gguf("smollm2", tmp_path_factory)
