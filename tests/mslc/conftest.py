"""Builds the test shaders once a session."""

from __future__ import annotations

import pytest
from shader_runner import Shaders, build


@pytest.fixture(scope="session")
def shaders(tmp_path_factory: pytest.TempPathFactory) -> Shaders:
    return build(tmp_path_factory.mktemp("mslc"))
