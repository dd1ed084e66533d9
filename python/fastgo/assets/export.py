"""Writes a model folder as one GGUF file, so that other programs run what was made here.

Weights are carried over without loss, some rows at a time; the file gets its name when it is whole and on the disk.

Units: bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fastgo.assets import storage
from fastgo.assets.gguf import GgufTensor
from fastgo.assets.gguf_blocks import gguf_blocks, require_gguf_format
from fastgo.assets.gguf_metadata import metadata_from_config, rope_divisors
from fastgo.assets.gguf_names import ROPE_DIVISORS, gguf_name, halves_row_order
from fastgo.assets.gguf_source import SAMPLING_KEYS
from fastgo.assets.gguf_writer import GgufTensorPlan, encode_header, write_tensor
from fastgo.assets.manifest import TensorEntry
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.quant import FORMATS, Bytes, Float32s, plane_views, row_chunks
from fastgo.assets.storage import Progress
from fastgo.errors import UsageError

_QUANTISATION_VERSION = 2  # of ggml's block formats
_F32_TYPE = 0  # GGUF's number of float32
_SPARE_NBYTES = 1 << 20


def export_gguf(folder: ModelFolder, path: Path, progress: Progress | None = None, *, force: bool = False) -> int:
    """Write the file `path`; returns its size.

    Raises:
        UsageError: the file exists and `force` is not set.
        UnsupportedModelError: GGUF can't carry the model: a weight format of our own, a config or a tokenizer.
        InvalidFileError: the folder's tokenizer is damaged.
        CacheError: the file can't be written.
    """
    if path.is_dir() or (os.path.lexists(path) and not force):
        raise UsageError(f"{path} exists already", hint="give another name, or --force to replace the file")
    names = {name: gguf_name(name, folder.config) for name in folder.tensors}
    tensors = [
        (_plan(names[name], name, entry), _pieces(folder, name, entry)) for name, entry in folder.tensors.items()
    ]
    divisors = rope_divisors(folder.config)
    if divisors is not None:
        plan = GgufTensorPlan(ROPE_DIVISORS, divisors.shape, _F32_TYPE, divisors.nbytes)
        tensors.append((plan, iter([divisors.view(np.uint8)])))
    plans = [plan for plan, _ in tensors]
    header = encode_header(_metadata(folder, names, divisors), plans)
    total = sum(plan.nbytes for plan in plans)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with storage.storage_errors(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        storage.require_space(path.parent, len(header) + total + _SPARE_NBYTES)
        try:
            with temporary.open("wb") as file:
                file.write(header)
                done = 0
                for plan, pieces in tensors:
                    write_tensor(file, plan, pieces)
                    done += plan.nbytes
                    if progress:
                        progress(done, total, f"writing {path.name}")
                file.flush()
                os.fsync(file.fileno())
            nbytes = temporary.stat().st_size
            temporary.replace(path)
            storage.sync_path(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    return nbytes


def _plan(gguf: str, name: str, entry: TensorEntry) -> GgufTensorPlan:
    format = FORMATS[entry.format]
    type_id = require_gguf_format(format, name)
    return GgufTensorPlan(gguf, entry.shape, type_id, format.gguf_nbytes(*entry.matrix_shape))


def _metadata(folder: ModelFolder, names: dict[str, str], divisors: Float32s | None) -> dict[str, Any]:
    from fastgo.text.vocabulary_export import tokenizer_metadata

    manifest, nothing = folder.manifest, np.zeros(0, np.uint8)
    tensors = {
        names[name]: GgufTensor(names[name], entry.shape, FORMATS[entry.format], nothing)
        for name, entry in folder.tensors.items()
    }
    if divisors is not None:
        raw = divisors.view(np.uint8)
        tensors[ROPE_DIVISORS] = GgufTensor(ROPE_DIVISORS, divisors.shape, FORMATS["f32"], raw)
    metadata = metadata_from_config(folder.config, tensors, folder.name)
    metadata |= {
        "general.type": "model",
        "general.name": folder.name,
        "general.alignment": 32,
        "general.quantization_version": _QUANTISATION_VERSION,
    }
    if manifest.licence:
        metadata["general.license"] = manifest.licence
    metadata |= {SAMPLING_KEYS[name]: _number(name, value) for name, value in manifest.generation.items()}
    if manifest.tokenizer is not None:
        metadata |= tokenizer_metadata(folder.path, manifest.tokenizer, folder.config.vocab_size)
    if manifest.chat_template:
        metadata["tokenizer.chat_template"] = manifest.chat_template
    return metadata


def _number(name: str, value: float) -> int | float:
    return int(value) if name == "top_k" else value


def _pieces(folder: ModelFolder, name: str, entry: TensorEntry) -> Iterator[Bytes]:
    """A tensor's rows as GGUF blocks, in GGUF's order."""
    rows, columns = entry.matrix_shape
    format = FORMATS[entry.format]
    views = plane_views(format, folder.planar(name), rows, columns)
    order = halves_row_order(name, entry.shape, folder.config, folder.name)
    if order is not None:
        order = np.argsort(order)  # the row of ours that comes at each place of theirs
        if len(entry.shape) == 1:
            yield gguf_blocks(format, {"low": views["low"][:, order]})
            return
    for chunk in row_chunks(rows, columns):
        wanted: Any = chunk if order is None else order[chunk]
        yield gguf_blocks(format, {role: view[wanted] for role, view in views.items()})
