"""The architectures against Hugging Face transformers on tiny random models, by every way to run the kernels.

The files are made by tools/make_goldens.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fastgo.assets.repository import open_model
from fastgo.models.architectures import ARCHITECTURES
from fastgo.models.config import ModelConfig
from fastgo.tolerances import TINY_MODEL_LOGITS
from model_runs import Golden, all_logits, greedy, last_logits
from variants import Variant

FOLDER = Path(__file__).parent.parent / "goldens"
NAMES = sorted(path.stem for path in FOLDER.glob("*.gguf"))


@pytest.fixture(scope="module", params=NAMES)
def golden(request: pytest.FixtureRequest) -> Golden:
    with np.load(FOLDER / f"{request.param}.npz") as arrays:
        return Golden(
            str(FOLDER / f"{request.param}.gguf"),
            arrays["prompt"].tolist(),
            arrays["logits"],
            arrays["greedy"].tolist(),
        )


def largest_difference(got: np.ndarray, want: np.ndarray) -> float:
    assert got.shape == want.shape
    return float(np.abs(got - want).max())


def test_goldens_show_what_they_should() -> None:
    """All architectures and features; windows below the prompt, grouped heads, a scale that isn't head_dim's."""
    configs = {name: open_model(FOLDER / f"{name}.gguf").config for name in NAMES}
    assert {config.architecture for config in configs.values()} == set(ARCHITECTURES)
    gemma = configs["gemma3"]
    assert sorted(set(gemma.layer_is_sliding)) == [False, True] and gemma.sliding_window == 8
    assert gemma.query_scale != pytest.approx(gemma.head_dim**-0.5)
    assert gemma.local_rope is not None and gemma.local_rope != gemma.rope
    assert not configs["llama"].tie_word_embeddings and configs["qwen3"].tie_word_embeddings
    assert configs["mistral"].layer_is_sliding == (True, True, True) and configs["mistral"].sliding_window == 9
    assert configs["qwen2"].biases == ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    assert {name: configs[name].rope.scaling for name in ("llama", "llama3", "qwen3_yarn")} == {
        "llama": "linear",
        "llama3": "divisors",
        "qwen3_yarn": "yarn",
    }
    assert all(c.num_attention_heads > c.num_key_value_heads for c in configs.values())


def test_norm_weights_are_random(golden: Golden) -> None:
    """Weights of one would hide a norm that is not applied, or Gemma's 1 + w."""
    folder = open_model(golden.path)
    for name in folder.tensors:
        if "norm" in name:
            assert np.ptp(folder.weights(name)) > 0.5


def test_logits_of_all_positions(variant: Variant, golden: Golden) -> None:
    got = variant.call(all_logits, golden.path, golden.prompt, [len(golden.prompt)])
    worst = largest_difference(got, golden.logits)
    print(f"worst {variant.name} {Path(golden.path).stem} {worst:.2g}")
    assert worst <= TINY_MODEL_LOGITS


@pytest.mark.parametrize("parts", [[1], [7], [8], [9, 1, 16, 3], [39, 1], [1, 39]], ids=str)
def test_any_chunking_gives_the_same(variant: Variant, golden: Golden, parts: list[int]) -> None:
    got = variant.call(all_logits, golden.path, golden.prompt, parts)
    assert largest_difference(got, golden.logits) <= TINY_MODEL_LOGITS


@pytest.mark.parametrize("chunk", [1, 7, 40])
def test_logits_of_the_last_position(variant: Variant, golden: Golden, chunk: int) -> None:
    got = variant.call(last_logits, golden.path, golden.prompt, chunk)
    assert largest_difference(got, golden.logits[-1]) <= TINY_MODEL_LOGITS


def test_greedy_tokens(variant: Variant, golden: Golden) -> None:
    tokens, _ = variant.call(greedy, golden.path, golden.prompt, len(golden.greedy))
    assert tokens == golden.greedy


def test_config_survives_json() -> None:
    for name in NAMES:
        config = open_model(FOLDER / f"{name}.gguf").config
        assert ModelConfig.from_json(config.to_json()) == config
