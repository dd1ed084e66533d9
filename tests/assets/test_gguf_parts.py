"""Models split over several GGUF files: any part stands for the whole, and parts that don't belong are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fastgo.assets.convert import import_model
from fastgo.assets.repository import open_model
from fastgo.errors import InvalidFileError
from gguf_builder import write_model


def write_parts(folder: Path) -> list[Path]:
    write_model(folder / "model.gguf", split_max_tensors=8)
    return sorted(folder.glob("model-*-of-*.gguf"))


def test_the_whole_model_is_imported_from_any_part(tmp_path: Path, cache: Path) -> None:
    parts = write_parts(tmp_path)
    assert len(parts) == 3
    write_model(tmp_path / "whole.gguf")
    whole = import_model(tmp_path / "whole.gguf", tmp_path / "whole")
    found = open_model(parts[1])
    assert found.name == "model" and found.config == whole.config
    assert {name: (entry.shape, entry.sha256) for name, entry in found.tensors.items()} == {
        name: (entry.shape, entry.sha256) for name, entry in whole.tensors.items()
    }
    assert found.manifest.provenance.source_nbytes == sum(part.stat().st_size for part in parts)
    assert open_model(parts[0]).path == found.path


def test_a_missing_part(tmp_path: Path, cache: Path) -> None:
    parts = write_parts(tmp_path)
    parts[1].unlink()
    with pytest.raises(InvalidFileError, match=r"model-00002-of-00003\.gguf is missing, one of the 3 files"):
        open_model(parts[0])


def test_parts_that_do_not_belong_together(tmp_path: Path, cache: Path) -> None:
    parts = write_parts(tmp_path)
    shutil.copyfile(parts[0], tmp_path / "renamed.gguf")
    with pytest.raises(InvalidFileError, match="part 0 of 3, counted from 0, expected 0 of 1"):
        open_model(tmp_path / "renamed.gguf")
    shutil.copyfile(parts[0], parts[2])
    with pytest.raises(InvalidFileError, match="part 0 of 3, counted from 0, expected 2 of 3"):
        open_model(parts[0])
