"""Tiny random models, and the measuring scripts of bench/ and tools/ as importable modules."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from places import GOLDENS, ROOT

sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "tools")]


@pytest.fixture(scope="session")
def tiny_gguf() -> Path:
    """Gemma 3 with seven layers, two of them global, float32."""
    return GOLDENS / "gemma3.gguf"
