"""Keys and values of all layers for one timeline, in one heap; copied over when it grows. Sizes are bytes."""

from __future__ import annotations

from fastgo import _fastmetal
from fastgo.graph.dag import ELEMENT_BYTES
from fastgo.models.config import ModelConfig

_SMALLEST_CAPACITY = 512


def cache_capacity(tokens: int, limit: int) -> int:
    """The capacity, in tokens, for a timeline of `tokens`: the next power of two, at most `limit`."""
    capacity = _SMALLEST_CAPACITY
    while capacity < tokens:
        capacity *= 2
    return min(capacity, limit)


class KvCache:
    """For each layer keys and values (num_key_value_heads, capacity, head_dim) of `dtype` ("f32" or "f16")."""

    def __init__(self, device: _fastmetal.Device, config: ModelConfig, capacity: int, dtype: str) -> None:
        self.capacity = capacity
        self.dtype = dtype
        self.shape = (config.num_key_value_heads, capacity, config.head_dim)
        self._device = device
        self._row_nbytes = config.head_dim * ELEMENT_BYTES[dtype]
        nbytes = config.num_key_value_heads * capacity * self._row_nbytes
        alignment = device.heap_alignment
        step = -(-nbytes // alignment) * alignment
        heap = device.heap(2 * config.num_hidden_layers * step, "kv cache", device.info["has_unified_memory"])
        self.buffers = [
            (heap.place(2 * i * step, nbytes, f"keys {i}"), heap.place((2 * i + 1) * step, nbytes, f"values {i}"))
            for i in range(config.num_hidden_layers)
        ]
        self.nbytes = heap.nbytes

    def copy_from(self, other: KvCache, tokens: int) -> None:
        """Takes over the first `tokens` positions of a smaller cache."""
        last = None
        for mine, theirs in zip(self.buffers, other.buffers, strict=True):
            for target, source in zip(mine, theirs, strict=True):
                for head in range(self.shape[0]):
                    last = self._device.copy(
                        source,
                        head * other.capacity * self._row_nbytes,
                        target,
                        head * self.capacity * self._row_nbytes,
                        tokens * self._row_nbytes,
                    )
        if last is not None:
            last.wait()
