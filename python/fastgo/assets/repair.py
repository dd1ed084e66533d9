"""Replaces damaged files of a model folder, weights and tokenizer: made anew from the source that the model came from.

Formats and places are those of the manifest, so the same source gives the same bytes (of a calibrated model: the same
source and text); what does not have the manifest's SHA-256 is never put in place.

Units: bytes.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from fastgo.assets import hub, hub_catalog, storage
from fastgo.assets.importance import Importance
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.open_source import open_source
from fastgo.assets.quant import FORMATS, Array, Float32s, QuantFormat, row_chunks
from fastgo.assets.quantize import quantize
from fastgo.assets.recipe import calibration_text
from fastgo.assets.safetensors import ShardWriter, TensorPlan
from fastgo.assets.source import Source, SourceTensor
from fastgo.assets.storage import Progress
from fastgo.errors import InvalidFileError, UsageError


def repair(
    folder: ModelFolder,
    source: Path | None = None,
    progress: Progress | None = None,
    calibrate: Callable[[Path], Importance] | None = None,
) -> list[str]:
    """Make the damaged and missing files anew, from `source` or what the provenance names; returns their names.

    Args:
        calibrate: reads, from the path of the source, the text that a calibrated model was rounded by.
    Raises:
        InvalidFileError: the source or the text is not known, or they give something else than the model had.
        UsageError: the text is another one, or the model was not calibrated.
        FastgoError: the source can't be got or read, as `hub.download` and `open_source`.
        CacheError: the folder can't be written.
    """
    wanted_text = calibration_text(folder.manifest.provenance.recipe)
    if calibrate and wanted_text is None:
        raise UsageError(f"{folder.name} was made without a text to calibrate with", hint="leave it out")
    damaged, files = folder.damaged_shards(progress), folder.damaged_tokenizer_files()
    if damaged or files:
        if damaged and wanted_text is not None and calibrate is None:
            raise InvalidFileError(
                f"{folder.name} has damaged weights, and was calibrated with a text"
                f"{f' of SHA-256 {wanted_text}' if wanted_text else ''}",
                hint="give that text with --calibrate",
            )
        path = _source_path(folder, source, progress)
        counts = _counts(calibrate(path), wanted_text or "") if damaged and calibrate else {}
        with open_source(path) as opened:
            tensors = {tensor.name: tensor for tensor in opened.tensors}
            for index in damaged:
                _remake(folder, index, tensors, counts, opened.name, progress)
            if files:
                _replace_tokenizer_files(folder, files, opened)
    return [folder.manifest.shards[index].file for index in damaged] + files


def _replace_tokenizer_files(folder: ModelFolder, files: list[str], source: Source) -> None:
    info = folder.manifest.tokenizer or {}
    wanted = dict(zip(info["files"], info["sha256"], strict=True))
    with (
        storage.storage_errors(f"write {folder.path}"),
        tempfile.TemporaryDirectory(prefix=".tokenizer-", dir=folder.path) as scratch,
    ):
        source.write_tokenizer(Path(scratch))
        for name in files:
            made = Path(scratch) / name
            if not made.is_file() or storage.file_sha256(made) != wanted[name]:
                raise _differs(source.name)
            storage.sync_path(made)
            made.replace(folder.path / name)
        storage.sync_path(folder.path)


def _counts(found: Importance, wanted_text: str) -> Mapping[str, Float32s]:
    if wanted_text and found.text_sha256 != wanted_text:
        raise UsageError(
            f"--calibrate: expected the text of SHA-256 {wanted_text}, this one's is {found.text_sha256}",
            hint="give the text that the model was calibrated with",
        )
    return found.counts


def _source_path(folder: ModelFolder, source: Path | None, progress: Progress | None) -> Path:
    """Where the source is, after its download if it is on the hub."""
    origin = folder.manifest.provenance.origin
    if source is None and origin is None:
        raise InvalidFileError(
            f"{folder.name} has damaged files, and its manifest does not say where it came from",
            hint=f"give what it was made from, {folder.manifest.provenance.source_file}, with --source",
        )
    if source is None and origin is not None and origin.startswith(hub_catalog.PREFIX):
        found = hub.download(hub_catalog.parse(origin), progress)
        hub.check(found, progress)
        return found.path
    return source or Path(origin or "")


def _remake(
    folder: ModelFolder,
    index: int,
    tensors: Mapping[str, SourceTensor],
    counts: Mapping[str, Float32s],
    source: str,
    progress: Progress | None,
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
                    tensor = _tensor(tensors, plan, source)
                    writer.write_rows(_pieces(tensor, plan.format, counts.get(plan.name)))
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


def _pieces(tensor: SourceTensor, wanted: QuantFormat, importance: Float32s | None) -> Iterator[Mapping[str, Array]]:
    for rows in row_chunks(*tensor.matrix_shape):
        is_same = wanted is tensor.format
        yield tensor.read_planes(rows) if is_same else quantize(wanted, tensor.read_weights(rows), importance)


def _differs(source: str) -> InvalidFileError:
    return InvalidFileError(
        f"{source} gives something else than the model had: it has changed, or another fastgo made the model",
        hint="convert or pull the model again",
    )
