"""Replaces the damaged weights files of a model folder: they are made anew from the source that the model came from.

Formats and places are those of the manifest, so the same source gives the same bytes; what does not have the manifest's
SHA-256 is never put in place.

Units: bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fastgo.assets import hub, hub_catalog, storage
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.open_source import open_source
from fastgo.assets.quant import FORMATS, Array, QuantFormat, row_chunks
from fastgo.assets.quantize import quantize
from fastgo.assets.safetensors import ShardWriter, TensorPlan
from fastgo.assets.source import Source, SourceTensor
from fastgo.assets.storage import Progress
from fastgo.errors import InvalidFileError


def repair(folder: ModelFolder, source: Path | None = None, progress: Progress | None = None) -> list[str]:
    """Make the damaged and missing weights files anew, from `source` or what the provenance names; returns their names.

    Raises:
        InvalidFileError: the source is not known, or it gives something else than the model had.
        FastgoError: the source can't be got or read, as `hub.download` and `open_source`.
        CacheError: the folder can't be written.
    """
    damaged = folder.damaged_shards(progress)
    if damaged:
        with _open(folder, source, progress) as opened:
            tensors = {tensor.name: tensor for tensor in opened.tensors}
            for index in damaged:
                _remake(folder, index, tensors, opened.name, progress)
    return [folder.manifest.shards[index].file for index in damaged]


@contextmanager
def _open(folder: ModelFolder, source: Path | None, progress: Progress | None) -> Iterator[Source]:
    origin = folder.manifest.provenance.origin
    if source is None and origin is None:
        raise InvalidFileError(
            f"{folder.name} has damaged weights, and its manifest does not say where it came from",
            hint=f"give what it was made from, {folder.manifest.provenance.source_file}, with --source",
        )
    if source is None and origin is not None and origin.startswith(hub_catalog.PREFIX):
        found = hub.download(hub_catalog.parse(origin), progress)
        hub.check(found, progress)
        source = found.path
    with open_source(source or Path(origin or "")) as opened:
        yield opened


def _remake(
    folder: ModelFolder, index: int, tensors: Mapping[str, SourceTensor], source: str, progress: Progress | None
) -> None:
    shard = folder.manifest.shards[index]
    entries = sorted((entry.offset, name) for name, entry in folder.tensors.items() if entry.shard == index)
    plans = [TensorPlan(name, FORMATS[folder.tensors[name].format], folder.tensors[name].shape) for _, name in entries]
    temporary = folder.path / f".{shard.file}.repair-{os.getpid()}"
    with storage.storage_errors(f"write {folder.path}"):
        try:
            storage.require_space(folder.path, shard.nbytes)
            with ShardWriter(temporary, plans) as writer:
                for plan in plans:
                    writer.write_rows(_pieces(_tensor(tensors, plan, source), plan.format))
                    if progress:
                        progress(writer.nbytes, shard.nbytes, f"making {shard.file} anew")
            if writer.sha256 != shard.sha256:
                raise _differs(source)
            temporary.replace(folder.path / shard.file)
            storage.sync_path(folder.path)
        finally:
            temporary.unlink(missing_ok=True)


def _tensor(tensors: Mapping[str, SourceTensor], plan: TensorPlan, source: str) -> SourceTensor:
    tensor = tensors.get(plan.name)
    if tensor is None or tensor.shape != plan.shape:
        raise _differs(source)
    return tensor


def _pieces(tensor: SourceTensor, wanted: QuantFormat) -> Iterator[Mapping[str, Array]]:
    for rows in row_chunks(*tensor.matrix_shape):
        is_same = wanted is tensor.format
        yield tensor.read_planes(rows) if is_same else quantize(wanted, tensor.read_weights(rows))


def _differs(source: str) -> InvalidFileError:
    return InvalidFileError(
        f"{source} gives other weights than the model had: it has changed, or the model was calibrated with a text, "
        "or another version of fastgo made it",
        hint="convert or pull the model again",
    )
