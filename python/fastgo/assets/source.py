"""What a model can be made from, whatever its files: a config, tensors that are read some rows at a time, and texts.

GGUF files, Hugging Face folders and fastgo folders all become a `Source`; the converter knows nothing else of them.

Units: bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastgo.assets.quant import Array, Float32s, QuantFormat, dequantize_planes, matrix_shape
from fastgo.assets.storage import Progress
from fastgo.errors import InvalidFileError, UnsupportedModelError
from fastgo.models.architectures import ARCHITECTURES
from fastgo.models.config import ModelConfig


@dataclass(frozen=True)
class SourceTensor:
    """One tensor.

    Attributes:
        name: in Hugging Face's terms.
        format: in which it can be kept without loss.
        shape: NumPy order.
        read_planes: the planes of a slice of its rows in `format`, by role, each of its own dtype and shape.
    """

    name: str
    format: QuantFormat
    shape: tuple[int, ...]
    read_planes: Callable[[slice], Mapping[str, Array]]

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(rows, columns); a vector is one row."""
        return matrix_shape(self.shape)

    def read_weights(self, rows: slice) -> Float32s:
        """The weights of some rows, float32 (rows, columns). Raises InvalidFileError if one is not finite."""
        weights = dequantize_planes(self.format, self.read_planes(rows))
        if not np.isfinite(weights).all():
            raise InvalidFileError(
                f"tensor {self.name} has weights that are infinite or not a number", hint="get the model again"
            )
        return weights


@dataclass(frozen=True)
class Source:
    """A model to convert.

    Attributes:
        name: the file's or folder's name.
        nbytes: size of its weights.
        tensors: in the order in which the model uses them.
        chat_template, generation, licence: as in a manifest.
        carried: one line on how its weights differ from what they came from: the recipe of a folder that was quantised,
            types of a GGUF that another format carries; empty if they don't.
        sha256: of the whole source, in hexadecimal; takes a while.
        fingerprint: text that is another one for other files; quick.
        licence_files: the texts of its licence.
        origin: as in a manifest's provenance.
        write_tokenizer: writes the tokenizer's files into a folder and returns the manifest's entry; None for none.
    """

    name: str
    nbytes: int
    config: ModelConfig
    tensors: tuple[SourceTensor, ...]
    sha256: Callable[[Progress | None], str]
    fingerprint: Callable[[], str]
    write_tokenizer: Callable[[Path], dict[str, Any] | None]
    chat_template: str | None = None
    generation: dict[str, float] = field(default_factory=dict)
    licence: str | None = None
    licence_files: tuple[Path, ...] = ()
    origin: str | None = None
    carried: str = ""


def check_complete(source: Source) -> None:
    """Checks that the source has the weights of its architecture, each in the right shape, and no others.

    Raises:
        InvalidFileError: one is missing or has a wrong shape.
        UnsupportedModelError: one that the architecture does not know; leaving it out would change the answers.
    """
    shapes = {tensor.name: tensor.shape for tensor in source.tensors}
    expected = dict(ARCHITECTURES[source.config.architecture].expected_shapes(source.config))
    for name in shapes:
        if name not in expected:
            raise UnsupportedModelError(
                f"{source.name} has weight {name!r}, which the architecture {source.config.architecture} does not know",
                hint="get a model of a plain dense architecture",
            )
    for name, shape in expected.items():
        if name not in shapes:
            raise InvalidFileError(f"{source.name}: weight {name} is missing", hint="get the whole model")
        if shapes[name] != shape:
            raise InvalidFileError(
                f"{source.name}: weight {name} has shape {shapes[name]}, expected {shape}",
                hint="its config and its weights don't belong together",
            )
