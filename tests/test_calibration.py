"""Calibration: what columns count, against NumPy; the same bytes every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fastgo.assets.convert import import_model
from fastgo.assets.model_folder import ModelFolder
from fastgo.calibration import importance_in_windows
from fastgo.cli.app import app
from hf_builder import write_hf
from typer.testing import CliRunner

pytest.importorskip("fastgo._fastmetal")

_CALIBRATION = "The river rose all night. By morning the lower field was under water, and we moved the sheep. " * 3


def imported(folder: Path, architecture: str) -> ModelFolder:
    write_hf(folder / "m", architecture)
    import_model(folder / "m", folder / "out")
    return ModelFolder.open(folder / "out")


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "qwen3"])
def test_every_matrix_has_its_columns_counted(tmp_path: Path, architecture: str) -> None:
    folder = imported(tmp_path, architecture)
    found = importance_in_windows(folder, [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]])
    is_tied = folder.config.tie_word_embeddings
    matrices = {name: entry.shape[-1] for name, entry in folder.tensors.items() if len(entry.shape) > 1}
    if not is_tied:
        del matrices["model.embed_tokens.weight"]
    assert {name: counts.size for name, counts in found.items()} == matrices
    assert all(counts.min() > 0 and counts.dtype == np.float32 for counts in found.values())


def test_the_first_layer_against_numpy(tmp_path: Path) -> None:
    folder = imported(tmp_path, "llama")
    ids = np.array([[3, 1, 4, 1], [5, 9, 2, 6]])
    x = folder.weights("model.embed_tokens.weight")[ids.ravel()].astype(np.float64)
    normed = x / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + folder.config.rms_norm_eps)
    squares = np.square(normed * folder.weights("model.layers.0.input_layernorm.weight").ravel()).mean(axis=0)
    found = importance_in_windows(folder, ids.tolist())["model.layers.0.self_attn.q_proj.weight"]
    want = np.maximum(squares / squares.mean(), 2.0**-10)
    np.testing.assert_allclose(found, want, rtol=0.05)  # rounded to an eighth of an octave


def test_nothing_to_calibrate(tmp_path: Path) -> None:
    write_hf(tmp_path / "m")
    (tmp_path / "text").write_text(_CALIBRATION)
    options = ["--calibrate", str(tmp_path / "text")]
    result = CliRunner().invoke(app, ["convert", str(tmp_path / "m"), str(tmp_path / "out"), *options])
    assert result.exit_code == 2 and "nothing is quantised" in result.stderr


@pytest.mark.real
def test_calibrated_conversion(tmp_path: Path, smollm2_gguf: Path) -> None:
    (tmp_path / "text").write_text(_CALIBRATION)
    outs = [tmp_path / name for name in ("a", "b")]
    for out in outs:
        options = ["--quantize", "q4-mixed", "--calibrate", str(tmp_path / "text")]
        result = CliRunner().invoke(app, ["convert", str(smollm2_gguf), str(out), *options])
        assert result.exit_code == 0, result.stderr
    first, second = (ModelFolder.open(out).manifest for out in outs)
    assert first == second and first.provenance.recipe.startswith("q4-mixed calibrated")
