"""Keys and values of all layers for one or several sequences, in one heap; copied when it grows. Sizes are bytes."""

from __future__ import annotations

import math

from fastgo import _fastmetal
from fastgo.graph.dag import dense_nbytes, elements_nbytes, row_scales_nbytes
from fastgo.models.config import ModelConfig

_SMALLEST_CAPACITY = 512


def cache_capacity(tokens: int, limit: int) -> int:
    """The capacity, in tokens, for a timeline of `tokens`: the next power of two, at most `limit`."""
    capacity = _SMALLEST_CAPACITY
    while capacity < tokens:
        capacity *= 2
    return min(capacity, limit)


class KvCache:
    """Keys and values of each layer, (num_sequences, num_key_value_heads, capacity, head_dim) in one of the formats."""

    def __init__(
        self, device: _fastmetal.Device, config: ModelConfig, capacity: int, dtype: str, num_sequences: int = 1
    ) -> None:
        self.capacity = capacity
        self.dtype = dtype
        self.shape = (num_sequences, config.num_key_value_heads, capacity, config.head_dim)
        self._device = device
        nbytes = dense_nbytes(self.shape, dtype)
        alignment = device.heap_alignment
        step = -(-nbytes // alignment) * alignment
        heap = device.heap(2 * config.num_hidden_layers * step, "kv cache", device.info["has_unified_memory"])
        self.buffers = [
            (heap.place(2 * i * step, nbytes, f"keys {i}"), heap.place((2 * i + 1) * step, nbytes, f"values {i}"))
            for i in range(config.num_hidden_layers)
        ]
        self.nbytes = heap.nbytes

    def copy_from(self, other: KvCache, tokens: int) -> None:
        """Takes over the first `tokens` positions of each sequence of a smaller cache."""
        last = None
        for mine, theirs in zip(self.buffers, other.buffers, strict=True):
            for target, source in zip(mine, theirs, strict=True):
                for (to, row), (begin, _) in zip(self._planes(), other._planes(), strict=True):
                    for head in range(self.shape[0] * self.shape[1]):
                        at, into = begin + head * other.capacity * row, to + head * self.capacity * row
                        last = self._device.copy(source, at, target, into, tokens * row)
        if last is not None:
            last.wait()

    def _planes(self) -> list[tuple[int, int]]:
        """Where the elements begin, and the scales behind them if the format has any; with the bytes of a row."""
        row = elements_nbytes(self.shape[3], self.dtype)
        scales = row_scales_nbytes(self.shape[3], self.dtype)
        return [(0, row), (math.prod(self.shape[:3]) * row, scales)] if scales else [(0, row)]
