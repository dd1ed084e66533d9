"""Whether a model folder has the weights that its config needs: what sizes are planned from and kernels rely on."""

from __future__ import annotations

from fastgo.assets.model_folder import ModelFolder
from fastgo.errors import InvalidFileError
from fastgo.models.architectures import ARCHITECTURES


def check_weights(folder: ModelFolder) -> None:
    """Raises InvalidFileError unless each weight is there, in the right shape, and vectors are float32."""
    tensors = folder.tensors
    for name, shape in ARCHITECTURES[folder.config.architecture].expected_shapes(folder.config):
        if name not in tensors:
            raise InvalidFileError(f"{folder.path}: weight {name} is missing", hint="import the model again")
        if tuple(tensors[name].shape) != shape:
            raise InvalidFileError(
                f"{folder.path}: weight {name} has shape {tuple(tensors[name].shape)}, expected {shape}",
                hint="import the model again from a sound file",
            )
        if len(shape) == 1 and tensors[name].format != "f32":
            raise InvalidFileError(
                f"{folder.path}: vector {name} is {tensors[name].format}, expected f32", hint="import the model again"
            )
