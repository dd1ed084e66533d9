"""Shared fixtures: a private cache for each test, and one cache of the real models for the session."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastgo.assets import catalog
from fastgo.errors import ModelNotFoundError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    path = tmp_path / "cache"
    monkeypatch.setenv("FASTGO_CACHE_DIR", str(path))
    return path


@pytest.fixture(scope="session")
def real_cache_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("real-cache")


@pytest.fixture
def real_cache(real_cache_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The session's cache, which keeps the real models once they are imported."""
    monkeypatch.setenv("FASTGO_CACHE_DIR", str(real_cache_path))
    return real_cache_path


@pytest.fixture(scope="session")
def real_gguf(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """GGUF files of the real models by short name."""
    scratch = tmp_path_factory.mktemp("real-gguf")
    try:
        return {entry.names[0]: catalog.gguf_source(entry, scratch) for entry in catalog.ENTRIES}
    except ModelNotFoundError as error:
        pytest.skip(f"{error.message}: {error.hint}")
