"""The real models' tokenizers, exported and loaded once, and small made-up vocabularies."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastgo.assets.gguf import GgufFile
from fastgo.text.gguf_tokenizer import export_tokenizer
from fastgo.text.tokenizer import Tokenizer
from vocabularies import Exported


def _export(gguf: Path, folder: Path) -> Exported:
    with GgufFile.open(gguf) as file:
        info = export_tokenizer(file.metadata, folder)
        template = file.metadata.get("tokenizer.chat_template")
    return Exported(Tokenizer.load(folder, info), folder, info, template)


@pytest.fixture(scope="session")
def gemma(gemma_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return _export(gemma_gguf, tmp_path_factory.mktemp("gemma-tokenizer"))


@pytest.fixture(scope="session")
def smollm2(smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return _export(smollm2_gguf, tmp_path_factory.mktemp("smollm2-tokenizer"))


@pytest.fixture(params=["gemma", "smollm2"])
def exported(request: pytest.FixtureRequest) -> Exported:
    found: Exported = request.getfixturevalue(request.param)
    return found
