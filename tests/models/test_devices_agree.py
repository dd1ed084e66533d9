"""Another device gives the greedy tokens of the CPU that runs the same shaders, for 200 tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fastgo.assets.repository import open_model
from fastgo.engine.devices import device_kind, open_device
from fastgo.engine.engine import Engine
from fastgo.engine.sampling import Sampling
from fastgo.engine.session import Session
from fastgo.tolerances import TINY_MODEL_LOGITS
from variants import Variant

FOLDER = Path(__file__).parent.parent / "goldens"
NAMES = sorted(path.stem for path in FOLDER.glob("*.gguf"))
TOKENS = 200


def run_greedy(path: str, prompt: list[int], device: str | None) -> list[int]:
    return list(Session(Engine(open_device(device), open_model(path))).generate(prompt, Sampling(), TOKENS))


def lead_on_cpu(path: str, ids: list[int], first: int, second: int) -> float:
    """How far the logits of two tokens are apart after `ids`."""
    logits = Session(Engine(open_device("cpu"), open_model(path))).logits(ids)
    return float(abs(logits[first] - logits[second]))


def first_difference(a: Sequence[int], b: Sequence[int]) -> int | None:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), None)


@pytest.fixture(scope="module")
def shaders_on_cpu(pytestconfig: pytest.Config) -> Variant:
    variant = Variant("msl")
    pytestconfig.add_cleanup(variant.close)
    return variant


@pytest.mark.skipif(device_kind(open_device().info) == "cpu", reason="the CPU is the only device")
@pytest.mark.parametrize("name", NAMES)
def test_greedy_tokens_are_those_of_the_shaders_on_the_cpu(shaders_on_cpu: Variant, name: str) -> None:
    path = str(FOLDER / f"{name}.gguf")
    context = open_model(path).config.max_position_embeddings
    prompt = np.random.default_rng(3).integers(0, open_model(path).config.vocab_size, 20).tolist()
    there = run_greedy(path, prompt, None)
    here = shaders_on_cpu.call(run_greedy, path, prompt, "cpu")
    assert len(there) == len(here) == min(TOKENS, context - len(prompt) + 1)
    at = first_difference(there, here)
    print(f"{name}: {len(here)} tokens, " + ("all the same" if at is None else f"the same up to number {at}"))
    if at is not None:
        lead = shaders_on_cpu.call(lead_on_cpu, path, [*prompt, *here[:at]], here[at], there[at])
        assert lead <= 2 * TINY_MODEL_LOGITS, f"token {at} differs although its logit leads by {lead:.2g}"
