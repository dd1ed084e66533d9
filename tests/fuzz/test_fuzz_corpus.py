"""Replays the fuzzer's corpus: a choice of what it found interesting, and all that once broke a reader."""

from __future__ import annotations

import json
from pathlib import Path

import fuzz_seeds
import fuzz_targets
import json_mutator
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
    for seed in fuzz_seeds.seeds()[name]:
        assert fuzz_targets.run(name, seed) is None


def test_mutations_of_json_are_json_mostly_sound_and_repeatable() -> None:
    seeds = fuzz_seeds.seeds()["manifest"]
    keys = json_mutator.keys_of(seeds)
    assert {"config", "rope", "hidden_size", "model.norm.weight", "data_offsets"} - set(keys) == {"data_offsets"}
    found = {json_mutator.mutate(seeds[0], seed, b"{}", keys) for seed in range(200)}
    assert found == {json_mutator.mutate(seeds[0], seed, b"{}", keys) for seed in range(200)}
    assert len(found) > 150
    for data in found:
        json.loads(data.decode("utf-8", errors="surrogatepass"))


def test_mutated_safetensors_often_pass_the_checks_of_their_layout() -> None:
    (seed,) = fuzz_seeds.seeds()["safetensors"]
    headers = [json_mutator.mutate_safetensors(seed, number, seed) for number in range(200)]
    sound = sum(fuzz_targets.run("safetensors", data) is None for data in headers)
    assert 20 < sound < 180
