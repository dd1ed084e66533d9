"""`fastgo verify --repair`: damaged weights files are made anew, and only they."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastgo.assets import convert, repository
from fastgo.assets.model_folder import ModelFolder
from fastgo.cli.app import app
from fastgo.text.byte_level import PRE_TOKENIZERS, build_tokenizer_json
from hf_builder import tensors, write_hf
from typer.testing import CliRunner, Result


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def flip(path: Path, offset: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and inode of each file."""
    return {path.name: (path.read_bytes(), path.stat().st_ino) for path in folder.iterdir()}


@pytest.fixture
def converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFolder:
    """A quantised model folder of two weights files, made from `m`."""
    monkeypatch.setenv("FASTGO_CACHE_DIR", str(tmp_path / "cache"))
    write_hf(tmp_path / "m", "qwen3")
    options = ("--quantize", "q8", "--shard-size", "60k")
    assert invoke("convert", tmp_path / "m", tmp_path / "out", *options).exit_code == 0
    folder = ModelFolder.open(tmp_path / "out")
    assert len(folder.manifest.shards) == 2
    return folder


@pytest.mark.parametrize("damage", ["byte", "header", "cut", "missing", "link"])
def test_only_the_damaged_file_is_replaced(converted: ModelFolder, tmp_path: Path, damage: str) -> None:
    before = contents(converted.path)
    bad = converted.shard_path(1)
    if damage in ("byte", "header"):
        flip(bad, -1 if damage == "byte" else 20)
    elif damage == "cut":
        bad.write_bytes(bad.read_bytes()[:-1])
    else:
        bad.rename(tmp_path / "elsewhere")
        if damage == "link":
            bad.symlink_to(tmp_path / "elsewhere")
    assert invoke("verify", converted.path).exit_code == 4
    refused = invoke("verify", converted.path, "--repair")
    assert refused.exit_code == 4 and "--source" in refused.stderr

    result = invoke("verify", converted.path, "--repair", "--source", tmp_path / "m")
    assert result.exit_code == 0 and "24 tensors in 2 files are sound" in result.stdout, result.stderr
    assert result.stderr.count("was made anew") == 1 and bad.name in result.stderr
    after = contents(converted.path)
    assert {name: data for name, (data, _) in after.items()} == {name: data for name, (data, _) in before.items()}
    assert all(after[name] == before[name] for name in before if name != bad.name)
    assert not bad.is_symlink() and invoke("verify", converted.path).exit_code == 0


def test_another_source_is_refused_and_nothing_replaced(converted: ModelFolder, tmp_path: Path) -> None:
    flip(converted.shard_path(0))
    before = contents(converted.path)
    write_hf(tmp_path / "changed", "qwen3", tensors("qwen3", seed=1))
    write_hf(tmp_path / "llama", "llama")
    for name in ("changed", "llama"):
        result = invoke("verify", converted.path, "--repair", "--source", tmp_path / name)
        assert result.exit_code == 4 and f"{name} gives something else" in result.stderr
    assert contents(converted.path) == before
    assert invoke("verify", converted.path, "--source", tmp_path / "m").exit_code == 2


def test_damaged_tokenizer_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGO_CACHE_DIR", str(tmp_path / "cache"))
    tokenizer = build_tokenizer_json({"a": 0, "b": 1, "ab": 2}, [("a", "b")], {}, PRE_TOKENIZERS["gpt-2"])
    write_hf(tmp_path / "m", "qwen3", files={"tokenizer.json": tokenizer})
    assert invoke("convert", tmp_path / "m", tmp_path / "out", "--quantize", "q8").exit_code == 0
    before = contents(tmp_path / "out")
    for damage in (flip, Path.unlink):
        damage(tmp_path / "out" / "tokenizer.json")
        assert "tokenizer.json" in invoke("verify", tmp_path / "out").stderr
        result = invoke("verify", tmp_path / "out", "--repair", "--source", tmp_path / "m")
        assert result.exit_code == 0 and "tokenizer.json was made anew" in result.stderr, result.stderr
        after = contents(tmp_path / "out")
        assert {name: data for name, (data, _) in after.items()} == {name: data for name, (data, _) in before.items()}
    flip(tmp_path / "out" / "tokenizer.json")
    write_hf(tmp_path / "other", "qwen3")
    refused = invoke("verify", tmp_path / "out", "--repair", "--source", tmp_path / "other")
    assert refused.exit_code == 4 and "gives something else" in refused.stderr


def test_a_sound_model_is_left_alone(converted: ModelFolder) -> None:
    before = contents(converted.path)
    result = invoke("verify", converted.path, "--repair")
    assert result.exit_code == 0 and "anew" not in result.stderr and contents(converted.path) == before


def test_an_import_knows_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGO_CACHE_DIR", str(tmp_path / "cache"))
    write_hf(tmp_path / "m", "qwen3")
    monkeypatch.setitem(convert.import_model.__kwdefaults__, "max_shard_nbytes", 250_000)
    folder = repository.open_model(tmp_path / "m")
    assert len(folder.manifest.shards) == 2
    assert folder.manifest.provenance.origin == str(tmp_path / "m")
    flip(folder.shard_path(1))
    assert "24 tensors in 2 files are sound" in invoke("verify", "m", "--repair").stdout
    folder.verify()
    assert invoke("convert", "m", tmp_path / "out").exit_code == 0
    assert ModelFolder.open(tmp_path / "out").manifest.provenance.origin is None
