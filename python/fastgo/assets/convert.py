"""Import of a GGUF file: the same weights, without loss, as a fastgo model folder.

Tensors are streamed one by one into shards. The work happens in a temporary folder beside the target, which gets its
name only when everything, the manifest last, is on the disk: a target is complete or absent.

Units: bytes.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgo.assets import manifest as manifests
from fastgo.assets import storage
from fastgo.assets.gguf import GgufFile, GgufTensor
from fastgo.assets.gguf_config import config_from_gguf
from fastgo.assets.gguf_names import halves_row_order, hugging_face_name, model_order
from fastgo.assets.manifest import Manifest, Provenance, ShardEntry, TensorEntry
from fastgo.assets.quant import Bytes, from_gguf, matrix_shape
from fastgo.assets.safetensors import ShardWriter, TensorPlan
from fastgo.assets.storage import Progress
from fastgo.errors import InvalidFileError, UsageError
from fastgo.models.config import ModelConfig

IMPORTER_VERSION = 1  # goes up whenever an import of the same file gives another folder
MAX_SHARD_NBYTES = 4 << 30
TEMPORARY_MARK = ".importing-"
_HASH_CHUNK_NBYTES = 8 << 20
_SAMPLING_KEYS = {
    "temperature": "general.sampling.temp",
    "top_k": "general.sampling.top_k",
    "top_p": "general.sampling.top_p",
    "min_p": "general.sampling.min_p",
}


@dataclass(frozen=True)
class _Source:
    """A tensor to import: its plan here, the GGUF tensor, and the row of the latter for each row (None: the same)."""

    plan: TensorPlan
    tensor: GgufTensor
    row_order: npt.NDArray[np.intp] | None


def import_gguf(
    path: Path | str,
    out_dir: Path | str,
    progress: Progress | None = None,
    *,
    source_sha256: str | None = None,
    max_shard_nbytes: int = MAX_SHARD_NBYTES,
) -> Manifest:
    """Make the model folder `out_dir`, which must not exist, from a GGUF file.

    Args:
        progress: called after each tensor.
        source_sha256: of the file, if known; else it is computed.
        max_shard_nbytes: a shard is closed before it would exceed this; a larger tensor has a shard of its own.
    Returns:
        The folder's manifest.
    Raises:
        ModelNotFoundError, InvalidFileError, UnsupportedModelError: as `GgufFile.open`; or the model is not supported.
        UsageError: `out_dir` exists.
        CacheError: the folder can't be written.
    """
    path, out_dir = Path(path), Path(out_dir)
    with GgufFile.open(path) as file:
        config = config_from_gguf(file.metadata, file.tensors, path.name)
        shards = _split_shards(_plan_tensors(file, config), max_shard_nbytes)
        if out_dir.exists():
            raise UsageError(f"{out_dir} exists already", hint="remove it first, or give another folder")
        with storage.storage_errors(f"write {out_dir}"):
            out_dir.parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}{TEMPORARY_MARK}", dir=out_dir.parent))
            try:
                manifest = _fill_folder(folder, file, config, shards, progress, source_sha256)
                folder.chmod(0o755)
                folder.rename(out_dir)
                storage.sync_path(out_dir.parent)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
    return manifest


def file_sha256(path: Path, progress: Progress | None = None) -> str:
    """SHA-256 of a file in hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    total = path.stat().st_size
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK_NBYTES):
            digest.update(chunk)
            done += len(chunk)
            if progress:
                progress(done, total, f"reading {path.name}")
    return digest.hexdigest()


def _fill_folder(
    folder: Path,
    file: GgufFile,
    config: ModelConfig,
    shards: list[list[_Source]],
    progress: Progress | None,
    source_sha256: str | None,
) -> Manifest:
    where = file.path.name
    tokenizer = _export_tokenizer(file.metadata, folder, config, where)
    shard_entries, tensor_entries = _write_shards(folder, shards, progress, where)
    manifest = Manifest(
        config=config,
        provenance=Provenance(where, file.nbytes, source_sha256 or file_sha256(file.path), IMPORTER_VERSION),
        shards=tuple(shard_entries),
        tensors=tensor_entries,
        tokenizer=tokenizer,
        chat_template=_optional_text(file.metadata, "tokenizer.chat_template", where),
        generation=_generation_defaults(file.metadata),
        licence=_optional_text(file.metadata, "general.license", where),
    )
    encoded = manifests.encode(manifest)
    manifest = manifests.decode(encoded, where)
    storage.sync_tree(folder)
    storage.write_durably(folder / manifests.FILE_NAME, encoded)
    storage.sync_path(folder)
    return manifest


def _plan_tensors(file: GgufFile, config: ModelConfig) -> list[_Source]:
    where = file.path.name
    sources = []
    for tensor in file.tensors.values():
        name = hugging_face_name(tensor.name, config, where)
        row_order = halves_row_order(name, tensor.shape, config, where)
        sources.append(_Source(TensorPlan(name, tensor.format, tensor.shape), tensor, row_order))
    return sorted(sources, key=lambda source: model_order(source.plan.name))


def _split_shards(sources: list[_Source], max_nbytes: int) -> list[list[_Source]]:
    shards: list[list[_Source]] = []
    filled = 0
    for source in sources:
        if not shards or filled + source.plan.nbytes > max_nbytes:
            shards.append([])
            filled = 0
        shards[-1].append(source)
        filled += source.plan.nbytes
    return shards


def _write_shards(
    folder: Path, shards: list[list[_Source]], progress: Progress | None, where: str
) -> tuple[list[ShardEntry], dict[str, TensorEntry]]:
    shard_entries: list[ShardEntry] = []
    tensor_entries: dict[str, TensorEntry] = {}
    total = sum(source.tensor.raw.size for shard in shards for source in shard)
    done = 0
    for index, sources in enumerate(shards):
        file_name = f"weights-{index + 1:05d}-of-{len(shards):05d}.safetensors"
        with ShardWriter(folder / file_name, [source.plan for source in sources]) as writer:
            for source in sources:
                written = writer.write(_planar(source))
                plan = source.plan
                tensor_entries[plan.name] = TensorEntry(
                    plan.format.name, plan.shape, index, written.offset, written.nbytes, written.sha256
                )
                done += source.tensor.raw.size
                if progress:
                    progress(done, total, f"importing {where}")
        shard_entries.append(ShardEntry(file_name, writer.nbytes, writer.sha256))
    return shard_entries, tensor_entries


def _planar(source: _Source) -> Bytes:
    raw = source.tensor.raw
    if source.row_order is not None:
        raw = raw.reshape(len(source.row_order), -1)[source.row_order]
    return from_gguf(source.plan.format, raw, *matrix_shape(source.plan.shape))


def _export_tokenizer(
    metadata: Mapping[str, Any], folder: Path, config: ModelConfig, where: str
) -> dict[str, Any] | None:
    if "tokenizer.ggml.model" not in metadata:
        return None
    tokens = metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, list) and len(tokens) > config.vocab_size:
        raise InvalidFileError(f"{where} has {len(tokens)} tokens, its embedding has {config.vocab_size} rows")
    from fastgo.text.gguf_tokenizer import export_tokenizer

    info = export_tokenizer(metadata, folder)
    return manifests.checked_tokenizer(info, config, f"{where}: tokenizer")


def _generation_defaults(metadata: Mapping[str, Any]) -> dict[str, float]:
    found = {name: metadata.get(key) for name, key in _SAMPLING_KEYS.items()}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }


def _optional_text(metadata: Mapping[str, Any], key: str, where: str) -> str | None:
    value = metadata.get(key)
    if value is not None and not isinstance(value, str):
        raise InvalidFileError(f"{where}: metadata {key} is {str(value)[:40]!r}, expected text")
    return value
