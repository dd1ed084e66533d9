"""Makes a model folder from a source: carries tensors over, or quantises them as a recipe says.

Rows are streamed in chunks through a few threads into shards; nothing ever holds a whole tensor. Two runs over the same
source with the same recipe give the same bytes. The folder gets its name only when everything, the manifest last, is
on the disk.

Units: bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastgo.assets import manifest as manifests
from fastgo.assets import storage
from fastgo.assets.importance import Importance
from fastgo.assets.licence_files import copy_licences
from fastgo.assets.manifest import IMPORTER_VERSION, Manifest, Provenance, ShardEntry, TensorEntry
from fastgo.assets.new_folder import new_folder
from fastgo.assets.open_source import open_source
from fastgo.assets.quant import Array, Float32s, row_chunks
from fastgo.assets.quantize import quantize
from fastgo.assets.recipe import Recipe, with_calibration
from fastgo.assets.resume import ConversionLog
from fastgo.assets.safetensors import ShardWriter, TensorPlan, WrittenTensor
from fastgo.assets.source import Source, SourceTensor, check_complete
from fastgo.assets.storage import Progress

MAX_SHARD_NBYTES = 4 << 30
_SPACE_FOR_OTHER_FILES = 64 << 20  # tokenizer, manifest, headers
LOSSLESS = Recipe()


@dataclass(frozen=True)
class _Task:
    """A tensor to write: its plan here, where it comes from, and what its columns count (all the same if None)."""

    plan: TensorPlan
    tensor: SourceTensor
    importance: Float32s | None

    def planes(self, rows: slice) -> Mapping[str, Array]:
        """The planes of some rows in the format of the plan."""
        if self.plan.format is self.tensor.format:
            return self.tensor.read_planes(rows)
        return quantize(self.plan.format, self.tensor.read_weights(rows), self.importance)


def import_model(
    path: Path | str,
    out_dir: Path | str,
    progress: Progress | None = None,
    *,
    source_sha256: str | None = None,
    max_shard_nbytes: int = MAX_SHARD_NBYTES,
    name: str | None = None,
    origin: str | None = None,
) -> Manifest:
    """Make the model folder `out_dir`, which must not exist, without loss. Raises as `open_source` and `convert`.

    `name` is that of a Hugging Face folder if its own says nothing; `origin` goes into the provenance.
    """
    with open_source(Path(path), name) as source:
        source = replace(source, origin=origin)
        if source_sha256:
            known = source_sha256
            source = replace(source, sha256=lambda _: known)
        return convert(source, Path(out_dir), progress=progress, max_shard_nbytes=max_shard_nbytes)


def convert(
    source: Source,
    out_dir: Path,
    recipe: Recipe = LOSSLESS,
    *,
    importance: Importance | None = None,
    progress: Progress | None = None,
    max_shard_nbytes: int = MAX_SHARD_NBYTES,
    force: bool = False,
    jobs: int | None = None,
) -> Manifest:
    """Make a model folder.

    Args:
        recipe: which formats; by default those of the source.
        importance: how much the columns of matrices count when these are quantised.
        progress: called after each chunk of rows.
        max_shard_nbytes: a shard is closed before it would exceed this; a larger tensor has a shard of its own.
        force: replace a model folder that is there.
        jobs: threads that quantise; by default one for each processor.
    Returns:
        The folder's manifest.
    Raises:
        InvalidFileError, UnsupportedModelError: the source is incomplete, damaged or not supported.
        UsageError: `out_dir` exists, or a rule of the recipe can't be followed.
        CacheError: the folder can't be written.
    """
    check_complete(source)
    counts = importance.counts if importance else {}
    shards = _split_shards(_plan(source, recipe, counts), max_shard_nbytes)
    with new_folder(out_dir, force) as folder:
        log = ConversionLog(folder, _key(source, recipe, counts, max_shard_nbytes))
        needed = sum(task.plan.nbytes for tasks in shards[len(log.shards) :] for task in tasks)
        needed -= sum(tensor.nbytes for tensor in log.begun[1].values())
        storage.require_space(folder, needed + _SPACE_FOR_OTHER_FILES)
        _write_shards(folder, shards, log, _Meter(shards, progress, source), jobs or os.cpu_count() or 1)
        manifest = _manifest(source, folder, log, _how(source, recipe, importance), progress)
        copy_licences(source.licence_files, folder)
        log.remove()
        encoded = manifests.encode(manifest)
        manifest = manifests.decode(encoded, source.name)
        storage.sync_tree(folder)
        storage.write_durably(folder / manifests.FILE_NAME, encoded)
        storage.sync_path(folder)
    return manifest


def _manifest(source: Source, folder: Path, log: ConversionLog, how: str, progress: Progress | None) -> Manifest:
    """What the folder's manifest will say; writes the tokenizer's files, whose hashes are part of it."""
    return Manifest(
        config=source.config,
        provenance=Provenance(
            source.name, source.nbytes, source.sha256(progress), IMPORTER_VERSION, how, source.origin
        ),
        shards=tuple(log.shards),
        tensors=log.tensors,
        tokenizer=_hashed(source.write_tokenizer(folder), folder),
        chat_template=source.chat_template,
        generation=source.generation,
        licence=source.licence,
    )


def _hashed(tokenizer: dict[str, Any] | None, folder: Path) -> dict[str, Any] | None:
    """A tokenizer's entry with the SHA-256 of its files."""
    if tokenizer is None:
        return None
    return tokenizer | {"sha256": [storage.file_sha256(folder / name) for name in tokenizer["files"]]}


class _Meter:
    """Counts what is written, in bytes of the result."""

    def __init__(self, shards: list[list[_Task]], progress: Progress | None, source: Source) -> None:
        self._total = sum(task.plan.nbytes for tasks in shards for task in tasks)
        self._done = 0
        self._progress = progress
        self._what = f"importing {source.name}{f': {source.carried}' if source.carried else ''}"

    def pieces(self, task: _Task, pieces: Iterator[Mapping[str, Array]]) -> Iterator[Mapping[str, Array]]:
        """Passes a tensor's pieces on and reports them."""
        start, rows, nbytes = self._done, 0, task.plan.nbytes
        for piece in pieces:
            yield piece
            rows += len(next(iter(piece.values())))
            self._done = start + nbytes * rows // task.tensor.matrix_shape[0]
            if self._progress:
                self._progress(self._done, self._total, self._what)

    def skip(self, tasks: list[_Task]) -> None:
        """Counts tensors that are there already."""
        self._done += sum(task.plan.nbytes for task in tasks)


def _plan(source: Source, recipe: Recipe, counts: Mapping[str, Float32s]) -> list[_Task]:
    return [
        _Task(
            TensorPlan(
                tensor.name, recipe.format_of(tensor.name, tensor.shape, tensor.format, source.config), tensor.shape
            ),
            tensor,
            counts.get(tensor.name),
        )
        for tensor in source.tensors
    ]


def _how(source: Source, recipe: Recipe, importance: Importance | None) -> str:
    words = with_calibration(recipe, importance.text_sha256) if importance else str(recipe)
    return f"{words}; source: {source.carried}" if source.carried else words


def _key(source: Source, recipe: Recipe, counts: Mapping[str, Float32s], max_shard_nbytes: int) -> str:
    digest = hashlib.sha256()
    for name, values in sorted(counts.items()):
        digest.update(name.encode() + values.tobytes())
    facts = (
        source.name, source.fingerprint(), str(recipe), digest.hexdigest(), max_shard_nbytes, IMPORTER_VERSION,
    )  # fmt: skip
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _split_shards(tasks: list[_Task], max_nbytes: int) -> list[list[_Task]]:
    shards: list[list[_Task]] = []
    filled = 0
    for task in tasks:
        if not shards or filled + task.plan.nbytes > max_nbytes:
            shards.append([])
            filled = 0
        shards[-1].append(task)
        filled += task.plan.nbytes
    return shards


def _write_shards(folder: Path, shards: list[list[_Task]], log: ConversionLog, meter: _Meter, jobs: int) -> None:
    for tasks in shards[: len(log.shards)]:
        meter.skip(tasks)
    with _threads(jobs) as pool:
        for index in range(len(log.shards), len(shards)):
            file_name = f"weights-{index + 1:05d}-of-{len(shards):05d}.safetensors"
            tasks = shards[index]
            left = log.begun[1] if log.begun[0] == file_name else {}
            written = [WrittenTensor(entry.offset, entry.nbytes, entry.sha256) for entry in left.values()]
            with ShardWriter(folder / file_name, [task.plan for task in tasks], written) as writer:
                meter.skip(tasks[: writer.kept])
                entries = dict(list(left.items())[: writer.kept])
                for task in tasks[writer.kept :]:
                    found = writer.write_rows(meter.pieces(task, _pieces(task, pool, 2 * jobs)))
                    plan = task.plan
                    entries[plan.name] = TensorEntry(
                        plan.format.name, plan.shape, index, found.offset, found.nbytes, found.sha256
                    )
                    log.note(file_name, entries)
            log.add(ShardEntry(file_name, writer.nbytes, writer.sha256), entries)


@contextmanager
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that give up what they have not begun when an error or Ctrl-C ends the work."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _pieces(task: _Task, pool: ThreadPoolExecutor, ahead: int) -> Iterator[Mapping[str, Array]]:
    """A tensor's chunks of rows in order, with at most `ahead` of them in work."""
    running: deque[Future[Mapping[str, Array]]] = deque()
    for rows in row_chunks(*task.tensor.matrix_shape):
        running.append(pool.submit(task.planes, rows))
        if len(running) > ahead:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()
