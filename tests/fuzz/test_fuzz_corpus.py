"""Replays the fuzzer's corpus: a choice of what it found interesting, and all that once broke a reader."""

from __future__ import annotations

from pathlib import Path

import fuzz_targets
import pytest

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("name", fuzz_targets.TARGETS)
def test_replay(name: str) -> None:
    inputs = sorted((CORPUS / name).iterdir())
    assert len(inputs) > 10
    for path in inputs:
        fuzz_targets.run(name, path.read_bytes())


@pytest.mark.parametrize("name", fuzz_targets.TARGETS)
def test_seeds_are_sound(name: str) -> None:
    for seed in fuzz_targets.seeds()[name]:
        assert fuzz_targets.run(name, seed) is None
