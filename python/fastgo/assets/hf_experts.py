"""Experts that a checkpoint keeps as matrices of their own become one tensor (num_experts, outputs, inputs)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np

from fastgo.assets.quant import Array
from fastgo.assets.source import SourceTensor
from fastgo.errors import InvalidFileError

_EXPERT = re.compile(r"(model\.layers\.\d{1,5}\.mlp\.experts)\.(\d{1,5})\.(\w+_proj\.weight)", re.ASCII)


def stack_experts(tensors: list[SourceTensor], where: str) -> list[SourceTensor]:
    """The tensors, with the experts' matrices of each layer and kind as one. Raises InvalidFileError if they differ."""
    stacks: dict[str, dict[int, SourceTensor]] = {}
    others = []
    for tensor in tensors:
        match = _EXPERT.fullmatch(tensor.name)
        if match:
            stacks.setdefault(f"{match[1]}.{match[3]}", {})[int(match[2])] = tensor
        else:
            others.append(tensor)
    return [*others, *(_stacked(name, experts, where) for name, experts in stacks.items())]


def _stacked(name: str, experts: Mapping[int, SourceTensor], where: str) -> SourceTensor:
    if sorted(experts) != list(range(len(experts))):
        raise InvalidFileError(f"{where}: an expert of {name} is missing", hint="get the whole model")
    parts = [experts[index] for index in range(len(experts))]
    first = parts[0]
    if len(first.shape) != 2 or any((part.shape, part.format) != (first.shape, first.format) for part in parts):
        raise InvalidFileError(f"{where}: the experts of {name} differ in shape or type", hint="get the model again")
    return SourceTensor(name, first.format, (len(parts), *first.shape), _reader(parts))


def _reader(parts: list[SourceTensor]) -> Callable[[slice], Mapping[str, Array]]:
    height = parts[0].shape[0]

    def read(wanted: slice) -> Mapping[str, Array]:
        start, stop, _ = wanted.indices(len(parts) * height)
        pieces = []
        while start < stop:
            expert, row = divmod(start, height)
            end = min(row + stop - start, height)
            pieces.append(parts[expert].read_planes(slice(row, end)))
            start += end - row
        return {role: np.concatenate([piece[role] for piece in pieces]) for role in pieces[0]}

    return read
