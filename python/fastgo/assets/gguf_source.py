"""A GGUF file as the source of a model: names, rotary rows put back in order, tokenizer and texts from the metadata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgo.assets import manifest as manifests
from fastgo.assets.gguf import GgufFile, GgufTensor
from fastgo.assets.gguf_config import config_from_gguf
from fastgo.assets.gguf_names import ROPE_DIVISORS, halves_row_order, hugging_face_name, model_order
from fastgo.assets.gguf_parts import join_tensors, model_name, part_paths, parts_fingerprint, parts_sha256
from fastgo.assets.quant import Array, matrix_shape
from fastgo.assets.source import Source, SourceTensor
from fastgo.errors import InvalidFileError, UnsupportedModelError
from fastgo.models.config import ModelConfig

SAMPLING_KEYS = {
    "temperature": "general.sampling.temp",
    "top_k": "general.sampling.top_k",
    "top_p": "general.sampling.top_p",
    "min_p": "general.sampling.min_p",
    "repetition_penalty": "general.sampling.penalty_repeat",
}


@contextmanager
def open_gguf_source(path: Path) -> Iterator[Source]:
    """The model of a GGUF file, or of all the files that it is a part of, readable while the context is open.

    Raises:
        ModelNotFoundError, InvalidFileError, UnsupportedModelError: as `GgufFile.open`; or the model is not supported.
    """
    paths = part_paths(path)
    with ExitStack() as stack:
        files = [stack.enter_context(GgufFile.open(part)) for part in paths]
        where, metadata, stored = model_name(path), files[0].metadata, join_tensors(files)
        config = config_from_gguf(metadata, stored, where)
        weights = (tensor for name, tensor in stored.items() if name != ROPE_DIVISORS)
        tensors = [_source_tensor(tensor, config, where) for tensor in weights]
        yield Source(
            name=where,
            nbytes=sum(file.nbytes for file in files),
            config=config,
            tensors=tuple(sorted(tensors, key=lambda tensor: model_order(tensor.name))),
            sha256=lambda progress: parts_sha256(paths, progress),
            fingerprint=lambda: parts_fingerprint(paths),
            write_tokenizer=lambda folder: _write_tokenizer(metadata, folder, config, where),
            chat_template=_optional_text(metadata, "tokenizer.chat_template", where),
            generation=_generation_defaults(metadata),
            licence=_optional_text(metadata, "general.license", where),
            carried=_carried(stored),
        )


def _carried(tensors: Mapping[str, GgufTensor]) -> str:
    """One line on the tensors that are kept in another format than the file's; empty if there are none."""
    counts = Counter(tensor.carrier for tensor in tensors.values() if tensor.carrier is not None)
    ordered = sorted(counts.items(), key=lambda item: item[0].gguf_type_id)
    return ", ".join(f"{count} {kind.name} as {kind.format.name} ({kind.manner})" for kind, count in ordered)


def _source_tensor(tensor: GgufTensor, config: ModelConfig, where: str) -> SourceTensor:
    name = hugging_face_name(tensor.name, config, where)
    row_order = halves_row_order(name, tensor.shape, config, where)
    if row_order is not None and len(tensor.shape) == 1 and tensor.format.is_quantised:
        raise UnsupportedModelError(f"{where}: the bias {tensor.name} is quantised", hint="get it with biases as F32")
    return SourceTensor(name, tensor.format, tensor.shape, _reader(tensor, row_order))


def _reader(tensor: GgufTensor, row_order: npt.NDArray[np.intp] | None) -> Callable[[slice], Mapping[str, Array]]:
    rows, columns = matrix_shape(tensor.shape)

    def read(wanted: slice) -> Mapping[str, Array]:
        if row_order is None:
            return tensor.planes(tensor.raw.reshape(rows, -1)[wanted], columns)
        if len(tensor.shape) == 1:
            # A bias is one row of our planes; its values are what the order is about.
            return tensor.planes(tensor.raw.reshape(len(row_order), -1)[row_order].reshape(1, -1), columns)
        return tensor.planes(tensor.raw.reshape(rows, -1)[row_order[wanted]], columns)

    return read


def _write_tokenizer(
    metadata: Mapping[str, Any], folder: Path, config: ModelConfig, where: str
) -> dict[str, Any] | None:
    if "tokenizer.ggml.model" not in metadata:
        return None
    tokens = metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, list) and len(tokens) > config.vocab_size:
        raise InvalidFileError(
            f"{where} has {len(tokens)} tokens, its embedding has {config.vocab_size} rows",
            hint="get the model from another source",
        )
    from fastgo.text.gguf_tokenizer import export_tokenizer

    info = export_tokenizer(metadata, folder)
    return manifests.checked_tokenizer(info, config, f"{where}: tokenizer")


def _generation_defaults(metadata: Mapping[str, Any]) -> dict[str, float]:
    return manifests.sound_generation({name: metadata.get(key) for name, key in SAMPLING_KEYS.items()})


def _optional_text(metadata: Mapping[str, Any], key: str, where: str) -> str | None:
    value = metadata.get(key)
    if value is not None and not isinstance(value, str):
        raise InvalidFileError(f"{where}: metadata {key} is {str(value)[:40]!r}, expected text")
    return value
