"""For all tests: Metal's validation layer, a cache of their own, the two real models, and the ways to run kernels."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Read when the first device is opened; a mistake in the use of Metal then ends the process.
os.environ.setdefault("MTL_DEBUG_LAYER", "1")

import pytest
import variants
from fastgo.assets import catalog
from fastgo.errors import ModelNotFoundError


@pytest.fixture(scope="session", autouse=True)
def session_cache() -> Iterator[Path]:
    """The cache of imported models of this run; the user's is never touched."""
    with tempfile.TemporaryDirectory(prefix="fastgo-tests-") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTGO_CACHE_DIR", folder)
        yield Path(folder)


@pytest.fixture(scope="session", params=variants.names())
def variant(request: pytest.FixtureRequest) -> Iterator[variants.Variant]:
    """Each way in which this machine can run the kernels."""
    running = variants.Variant(request.param)
    yield running
    running.close()


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
