"""Calibration: what columns count, against NumPy; the same bytes every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fastgo.assets.convert import import_model
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.recipe import Recipe, calibration_text, with_calibration
from fastgo.calibration import importance_in_windows, text_sha256
from fastgo.cli.app import app
from fastgo.text.byte_level import PRE_TOKENIZERS, build_tokenizer_json
from hf_builder import write_hf
from typer.testing import CliRunner, Result

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
    ids = np.random.default_rng(3).integers(0, 96, (64, 16))
    x = folder.weights("model.embed_tokens.weight")[ids.ravel()].astype(np.float64)
    normed = x / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + folder.config.rms_norm_eps)
    squares = np.square(normed * folder.weights("model.layers.0.input_layernorm.weight").ravel()).mean(axis=0)
    found = importance_in_windows(folder, ids.tolist())["model.layers.0.self_attn.q_proj.weight"]
    want = (ids.size * squares / squares.mean() + 512) / (ids.size + 512)
    assert want.max() > 1.5 and want.min() < 0.7
    np.testing.assert_allclose(found, want, rtol=0.05)  # rounded to an eighth of an octave


def test_a_short_text_changes_little(tmp_path: Path) -> None:
    found = importance_in_windows(imported(tmp_path, "gemma3"), [[3, 1, 4, 1]])
    assert all(0.98 < counts.min() <= counts.max() < 2 for counts in found.values())


def test_nothing_to_calibrate(tmp_path: Path) -> None:
    write_hf(tmp_path / "m")
    (tmp_path / "text").write_text(_CALIBRATION)
    options = ["--calibrate", str(tmp_path / "text")]
    result = CliRunner().invoke(app, ["convert", str(tmp_path / "m"), str(tmp_path / "out"), *options])
    assert result.exit_code == 2 and "nothing is quantised" in result.stderr


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_calibrated_model_is_repaired_with_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGO_CACHE_DIR", str(tmp_path / "cache"))
    tokenizer = build_tokenizer_json({"a": 0, "b": 1, "ab": 2}, [("a", "b")], {}, PRE_TOKENIZERS["gpt-2"])
    write_hf(tmp_path / "m", "qwen3", files={"tokenizer.json": tokenizer})
    texts = {name: tmp_path / name for name in ("text", "other")}
    for name, path in texts.items():
        path.write_text(f"{name} abba baab " * 400)
    options = ("--quantize", "q4", "--calibrate", texts["text"])
    assert invoke("convert", tmp_path / "m", tmp_path / "out", *options).exit_code == 0
    folder = ModelFolder.open(tmp_path / "out")
    sha256 = text_sha256(texts["text"].read_text())
    assert folder.manifest.provenance.recipe == f"q4 calibrated with sha256:{sha256}"
    sound = folder.shard_path(0).read_bytes()
    folder.shard_path(0).write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))

    repair = ("verify", folder.path, "--repair", "--source", tmp_path / "m")
    without = invoke(*repair)
    assert without.exit_code == 4 and sha256 in without.stderr and "--calibrate" in without.stderr
    wrong = invoke(*repair, "--calibrate", texts["other"])
    assert wrong.exit_code == 2 and f"expected the text of SHA-256 {sha256}" in wrong.stderr
    assert folder.shard_path(0).read_bytes() != sound
    result = invoke(*repair, "--calibrate", texts["text"])
    assert result.exit_code == 0 and "was made anew" in result.stderr, result.stderr
    assert folder.shard_path(0).read_bytes() == sound
    assert invoke("verify", folder.path, "--calibrate", texts["text"]).exit_code == 2


def test_a_text_for_a_model_without_one(tmp_path: Path) -> None:
    folder = imported(tmp_path, "llama")
    (tmp_path / "text").write_text(_CALIBRATION)
    result = invoke("verify", folder.path, "--repair", "--calibrate", tmp_path / "text")
    assert result.exit_code == 2 and "without a text" in result.stderr


def test_the_words_of_a_manifest_tell_the_text() -> None:
    words = with_calibration(Recipe.parse("q4", ["* calibrated=q8_0"]), "a" * 64)
    assert calibration_text(words) == calibration_text(f"{words}; source: q8 calibrated") == "a" * 64
    assert calibration_text("q4-mixed calibrated") == ""
    assert calibration_text("none; source: q4 calibrated") is None


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
