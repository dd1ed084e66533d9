"""A loaded model: weights mapped onto a device, rotary tables, and graphs made from its architecture. Immutable.

Many sessions may share one engine. Sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fastgo import _fastmetal
from fastgo.assets.model_folder import ModelFolder
from fastgo.engine.exact_head import open_exact_head
from fastgo.engine.weights_check import check_weights
from fastgo.errors import UsageError
from fastgo.graph.lower import Memory
from fastgo.models.config import RopeConfig
from fastgo.models.rope import rope_frequencies
from fastgo.ops.cache_format import check_cache_format, default_cache_format


@dataclass(frozen=True)
class WeightRecord:
    """One weight as the graph sees it: matrix shape, format, and its bytes on the device."""

    shape: tuple[int, ...]
    format: str
    memory: Memory


class Engine:
    """Weights and constants of one model on one device.

    `cache_dtype` is what keys and values are kept in: one of CACHE_FORMATS, None for the model's own. Raises UsageError
    for another, InvalidFileError when a weight is missing or has a wrong shape, DeviceError when mapping fails.
    """

    def __init__(self, device: _fastmetal.Device, folder: ModelFolder, cache_dtype: str | None = None) -> None:
        check_cache_format(cache_dtype, folder.config.head_dim)
        self.device = device
        self.folder = folder
        self.config = folder.config
        self.cache_dtype = cache_dtype or default_cache_format(entry.format for entry in folder.tensors.values())
        check_weights(folder)
        shards = [device.map_file(str(folder.shard_path(i))) for i in range(len(folder.manifest.shards))]
        self.weights = {
            name: WeightRecord(entry.shape, entry.format, Memory(shards[entry.shard], entry.offset, entry.nbytes))
            for name, entry in folder.tensors.items()
        }
        self.exact_head = open_exact_head(device, folder)
        self.rope = self._rope_table(self.config.rope)
        self.local_rope = self._rope_table(self.config.local_rope) if self.config.local_rope else None

    def check_context(self, context: int) -> None:
        """Raises UsageError unless the model can hold so many tokens."""
        limit = self.config.max_position_embeddings
        if not 1 <= context <= limit:
            raise UsageError(f"context is {context} tokens, expected 1 to {limit}, the model's own limit")

    def check_ids(self, ids: Sequence[int], room: int) -> None:
        """Raises UsageError unless there are ids, all of the vocabulary, and not more than `room`."""
        if not len(ids):
            raise UsageError("the prompt is empty", hint="give at least one token")
        if min(ids) < 0 or max(ids) >= self.config.vocab_size:
            raise UsageError(f"a token id is outside the vocabulary of {self.config.vocab_size} tokens")
        if len(ids) > room:
            raise UsageError(
                f"the prompt has {len(ids)} tokens, the context has room for {room}",
                hint="shorten the prompt or raise --context",
            )

    def weight_facts(self, name: str) -> tuple[tuple[int, ...], str]:
        """Shape and format of the weight of that name."""
        weight = self.weights[name]
        return weight.shape, weight.format

    def _rope_table(self, rope: RopeConfig) -> _fastmetal.Buffer:
        return upload(self.device, rope_frequencies(rope, self.config.head_dim), "rope frequencies")


def upload(device: _fastmetal.Device, values: npt.NDArray[np.float32], label: str) -> _fastmetal.Buffer:
    """A buffer with these values, in the device's own memory if it has one."""
    buffer = device.buffer(values.nbytes, label)
    np.frombuffer(memoryview(buffer), values.dtype, values.size)[:] = values.ravel()
    if device.info["has_unified_memory"]:
        return buffer
    private = device.buffer(values.nbytes, label, False)
    device.copy(buffer, 0, private, 0, values.nbytes).wait()
    return private
