"""The twin of a model whose channels are in another order: the same function, and other blocks of weights."""

from __future__ import annotations

from pathlib import Path

import fastgo
import numpy as np
import pytest
from fastgo.assets.convert import import_model
from fastgo.assets.model_folder import ModelFolder
from hf_builder import write_hf
from shuffled_model import write_twin


@pytest.mark.parametrize("architecture", ["gemma3", "llama", "qwen3"])
def test_it_computes_the_same(tmp_path: Path, architecture: str) -> None:
    write_hf(tmp_path / "m", architecture)
    import_model(tmp_path / "m", tmp_path / "out")
    folder = ModelFolder.open(tmp_path / "out")
    twin = write_twin(folder, tmp_path / "twin")
    with fastgo.load(folder.path, "cpu") as first, fastgo.load(twin.path, "cpu") as second:
        logits = [model.logits(list(range(3, 40)), all_positions=True) for model in (first, second)]
    np.testing.assert_allclose(logits[0], logits[1], atol=1e-4)
    moved = [name for name in folder.tensors if not np.array_equal(folder.weights(name), twin.weights(name))]
    assert len(moved) >= len(folder.tensors) - 2 * folder.config.num_hidden_layers  # all but q and k norms
    down = "model.layers.0.mlp.down_proj.weight"
    np.testing.assert_array_equal(np.sort(folder.weights(down), axis=None), np.sort(twin.weights(down), axis=None))
