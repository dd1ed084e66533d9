"""A fastgo model folder as the source of another: to quantise it further, or to split it differently."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastgo.assets import storage
from fastgo.assets.hub_catalog import PREFIX
from fastgo.assets.licence_files import licence_files
from fastgo.assets.manifest import FILE_NAME, Provenance, TensorEntry
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.quant import FORMATS, Array, plane_views
from fastgo.assets.source import Source, SourceTensor


def open_folder_source(path: Path) -> Source:
    """The model of a fastgo folder. Raises as `ModelFolder.open`."""
    folder = ModelFolder.open(path)
    manifest, manifest_path = folder.manifest, path / FILE_NAME
    return Source(
        name=folder.name,
        nbytes=folder.nbytes,
        config=folder.config,
        tensors=tuple(
            SourceTensor(name, FORMATS[entry.format], entry.shape, _reader(folder, name, entry))
            for name, entry in folder.tensors.items()
        ),
        # The manifest holds the SHA-256 of all the rest.
        sha256=lambda _: storage.file_sha256(manifest_path),
        fingerprint=lambda: storage.file_sha256(manifest_path),
        write_tokenizer=lambda target: _copy_tokenizer(folder, target),
        chat_template=manifest.chat_template,
        generation=manifest.generation,
        licence=manifest.licence,
        licence_files=licence_files(path),
        origin=_hub_origin(manifest.provenance),
        carried=_history(manifest.provenance),
    )


def _hub_origin(provenance: Provenance) -> str | None:
    """Where the hub has what the folder holds: nowhere if it was quantised. A path is nobody else's business."""
    origin = provenance.origin or ""
    is_whole = provenance.recipe.partition("; source: ")[0] == "none"
    return origin if origin.startswith(PREFIX) and is_whole else None


def _history(provenance: Provenance) -> str:
    """What was done to the weights before: the folder's recipe, or only what follows it if it kept all formats."""
    recipe, _, before = provenance.recipe.partition("; source: ")
    return before if recipe == "none" else provenance.recipe


def _reader(folder: ModelFolder, name: str, entry: TensorEntry) -> Callable[[slice], Mapping[str, Array]]:
    def read(rows: slice) -> Mapping[str, Array]:
        views = plane_views(entry.format, folder.planar(name), *entry.matrix_shape)
        return {role: view[rows] for role, view in views.items()}

    return read


def _copy_tokenizer(folder: ModelFolder, target: Path) -> dict[str, Any] | None:
    info = folder.manifest.tokenizer
    for name in (info or {}).get("files", ()):
        shutil.copyfile(folder.path / name, target / name)
    return info
