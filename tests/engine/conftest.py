"""Engines over the tiny models of tests/goldens."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastgo.assets.repository import open_model
from fastgo.engine.devices import open_device
from fastgo.engine.engine import Engine
from fastgo.models.architectures import ARCHITECTURES

GOLDENS = Path(__file__).parent.parent / "goldens"


def open_engine(name: str) -> Engine:
    return Engine(open_device(None), open_model(GOLDENS / f"{name}.gguf"))


@pytest.fixture(scope="session", params=sorted(ARCHITECTURES))
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each architecture in turn."""
    return open_engine(request.param)


@pytest.fixture
def gemma_engine() -> Engine:
    """An engine of this test's own, with windows and two rotary tables."""
    return open_engine("gemma3")
