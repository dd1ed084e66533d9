"""Gemma 3 270M and SmolLM2 135M with their real weights against float32 references, by every way to run the kernels.

The files of tests/reference hold, for three prompts of each model, the prompt's ids, the next token's logits, 64 greedy
tokens and the margin of each; they were made with transformers from the same GGUF files.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import variants
from fastgo import tolerances
from fastgo.tolerances import ModelTolerance
from model_runs import Float32s, encode_prompt, greedy, last_logits
from variants import Variant

pytestmark = pytest.mark.real
FOLDER = Path(__file__).parent.parent / "reference"
MODELS = {"gemma": "gemma3", "smollm2": "smollm2"}
SHORT_CASES = ["gemma_prose", "gemma_code", "smollm2_prose", "smollm2_code"]
LONG_CASES = ["gemma_long", "smollm2_long"]
CASES = [*SHORT_CASES, *LONG_CASES]
SLOWEST_SHADERS = 1.0  # tokens a second of Gemma 3 270M by the shaders on the CPU


@dataclass(frozen=True)
class Reference:
    """One file of tests/reference."""

    model: str
    prompt: str
    token_ids: list[int]
    logits: Float32s
    greedy_ids: list[int]
    greedy_margin: list[float]
    llama_cpp_kl: float  # nats, llama.cpp's own distance from the reference on the same file

    @property
    def kl_limit(self) -> float:
        """Fast paths may round, but never end further from float32 than llama.cpp, or 1e-4 if it is nearer."""
        return max(self.llama_cpp_kl, 1e-4)

    @classmethod
    def load(cls, name: str) -> Reference:
        data = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        logits = np.load(FOLDER / f"{name}.logits.npy")
        found = data["reference"]
        model = MODELS[data["model"]]
        kl = data["llama_cpp"]["kl_to_reference"]
        return cls(model, data["prompt"], data["token_ids"], logits, found["greedy_ids"], found["greedy_margin"], kl)


@pytest.fixture(scope="module", autouse=True)
def installed(gemma_gguf: Path, smollm2_gguf: Path) -> None:
    """Skips all where the models' packages are not installed."""


def log_softmax(logits: Float32s) -> npt.NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def tolerance_of(variant: Variant, chunk: int) -> ModelTolerance:
    """Decode is a float path everywhere, and passes of few rows; prefill where no kernel rounds to bfloat16."""
    precision = tolerances.matmul_precision(variant.name, "q4_k", chunk)
    return tolerances.BFLOAT16_MODEL if precision == "bfloat16" else tolerances.FLOAT_MODEL


def check_logits(got: Float32s, reference: Reference, tolerance: ModelTolerance) -> None:
    p, q = log_softmax(reference.logits), log_softmax(got)
    kl = float(np.sum(np.exp(p) * (p - q)))
    worst = float(np.abs(got - reference.logits).max())
    print(f"KL {kl:.2g}, largest difference {worst:.2g}")
    assert kl <= min(tolerance.kl, reference.kl_limit)
    assert worst <= tolerance.max_abs


def check_greedy(got: list[int], reference: Reference, margin: float) -> None:
    """Equal up to the first step at which rounding may decide."""
    unsure = (step for step, lead in enumerate(reference.greedy_margin) if lead < margin)
    sure = next(unsure, len(reference.greedy_margin))
    assert got[:sure] == reference.greedy_ids[: min(sure, len(got))]


@pytest.mark.parametrize("name", CASES)
def test_prompt_ids(name: str) -> None:
    reference = Reference.load(name)
    assert encode_prompt(reference.model, reference.prompt) == reference.token_ids


@pytest.mark.parametrize("name", SHORT_CASES)
def test_short_prompts(variant: Variant, name: str) -> None:
    reference = Reference.load(name)
    got = variant.call(last_logits, reference.model, reference.token_ids, 512)
    check_logits(got, reference, tolerance_of(variant, 512))


@pytest.mark.parametrize("name", SHORT_CASES)
@pytest.mark.parametrize("chunk", [1, 7])
def test_short_prompts_in_chunks(variant: Variant, name: str, chunk: int) -> None:
    if not variant.is_native:
        pytest.skip("too slow; the tiny models are run in all chunks by every variant")
    reference = Reference.load(name)
    got = variant.call(last_logits, reference.model, reference.token_ids, chunk)
    check_logits(got, reference, tolerance_of(variant, chunk))


@pytest.mark.parametrize("name", LONG_CASES)
@pytest.mark.parametrize("chunk", [7, 64, 100, 512])
def test_long_prompts(variant: Variant, name: str, chunk: int) -> None:
    """Beyond Gemma's window and beyond one chunk of the engine."""
    if variant.name not in variants.names()[:2] or (variant.name != variants.names()[0] and chunk != 100):
        pytest.skip("run by the fastest variant, and once by the next, which may be the first float path")
    reference = Reference.load(name)
    got = variant.call(last_logits, reference.model, reference.token_ids, chunk)
    check_logits(got, reference, tolerance_of(variant, chunk))


@pytest.mark.parametrize("name", CASES)
def test_greedy_tokens(variant: Variant, name: str) -> None:
    if variant.name != variants.names()[0] and name != "smollm2_prose":
        pytest.skip("run by the fastest variant")
    reference = Reference.load(name)
    count = len(reference.greedy_ids) if variant.is_native else 8
    tokens, _ = variant.call(greedy, reference.model, reference.token_ids, count)
    assert len(tokens) == count
    check_greedy(tokens, reference, tolerance_of(variant, 512).greedy_margin)


def test_shaders_on_the_cpu_are_fast_enough_to_try(variant: Variant) -> None:
    if variant.name != "msl" or "FASTGO_TEST_SANITIZE" in os.environ:
        pytest.skip("about the shaders on the CPU, at their usual speed")
    reference = Reference.load("gemma_prose")
    tokens, rate = variant.call(greedy, reference.model, reference.token_ids, 8)
    check_greedy(tokens, reference, tolerances.FLOAT_MODEL.greedy_margin)
    print(f"{rate:.1f} tokens a second")
    assert rate >= SLOWEST_SHADERS
