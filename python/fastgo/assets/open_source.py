"""Finds out what a path holds, a GGUF file, a Hugging Face folder or a fastgo folder, and opens it as a source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastgo.assets.folder_source import open_folder_source
from fastgo.assets.gguf_source import open_gguf_source
from fastgo.assets.hf_folder import is_hf_folder
from fastgo.assets.hf_source import open_hf_source
from fastgo.assets.manifest import FILE_NAME
from fastgo.assets.source import Source
from fastgo.errors import ModelNotFoundError


@contextmanager
def open_source(path: Path, name: str | None = None) -> Iterator[Source]:
    """The model at `path`, readable while the context is open; a Hugging Face folder is called `name` if that is given.

    Raises:
        ModelNotFoundError: no model there.
        InvalidFileError, UnsupportedModelError: it is damaged or not supported.
    """
    if not path.exists():
        raise ModelNotFoundError(f"no such file or folder: {path}", hint="check the path")
    if not path.is_dir():
        with open_gguf_source(path) as source:
            yield source
    elif (path / FILE_NAME).is_file():
        yield open_folder_source(path)
    elif is_hf_folder(path):
        yield open_hf_source(path, name)
    else:
        raise ModelNotFoundError(
            f"{path} has neither {FILE_NAME} nor config.json",
            hint="give a .gguf file, a Hugging Face folder or a folder made by `fastgo convert`",
        )
