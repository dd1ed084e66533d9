"""What a model needs of a device's memory, known before anything is loaded: weights, KV cache, scratch.

Scratch is the arena of a full prefill pass and of a decode pass, planned as for a run. Units: bytes; context in tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastgo.assets.model_folder import ModelFolder
from fastgo.engine.steps import MAX_ROWS
from fastgo.graph.dag import ELEMENT_BYTES, Graph, Storage, Tensor
from fastgo.graph.passes import run_passes
from fastgo.graph.plan import plan_arena
from fastgo.models.architectures import get_architecture
from fastgo.models.config import ModelConfig
from fastgo.models.forward import Forward, LayerCache


@dataclass(frozen=True)
class Fit:
    """Bytes that a model with `context` tokens takes, and those that the device has.

    `largest_context` is the largest that fits, at most the model's own limit; 0 if not even one token's does.
    """

    context: int
    weights: int
    kv_cache: int
    scratch: int
    available: int
    largest_context: int

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.scratch

    @property
    def fits(self) -> bool:
        return self.total <= self.available


def estimate(folder: ModelFolder, context: int, available: int, alignment: int) -> Fit:
    """The fit of a model on a device with `available` bytes whose heaps align to `alignment`."""
    dtype = _cache_dtype(folder)
    scratch = sum(_arena_nbytes(folder, rows, context, dtype, alignment) for rows in (1, MAX_ROWS))
    room = available - folder.nbytes - scratch
    low, high = 0, folder.config.max_position_embeddings
    while low < high:
        middle = (low + high + 1) // 2
        if kv_cache_nbytes(folder.config, middle, dtype, alignment) <= room:
            low = middle
        else:
            high = middle - 1
    kv_cache = kv_cache_nbytes(folder.config, context, dtype, alignment)
    return Fit(context, folder.nbytes, kv_cache, scratch, available, low)


def kv_cache_nbytes(config: ModelConfig, capacity: int, dtype: str, alignment: int) -> int:
    """Size of the heap that kv_cache.py allocates for `capacity` tokens."""
    nbytes = config.num_key_value_heads * capacity * config.head_dim * ELEMENT_BYTES[dtype]
    return 2 * config.num_hidden_layers * (-(-nbytes // alignment) * alignment)


def _cache_dtype(folder: ModelFolder) -> str:
    return "f32" if all(entry.format == "f32" for entry in folder.tensors.values()) else "f16"


def _arena_nbytes(folder: ModelFolder, rows: int, capacity: int, dtype: str, alignment: int) -> int:
    config, graph = folder.config, Graph()
    weights: dict[str, Tensor] = {}

    def weight(name: str) -> Tensor:
        if name not in weights:
            entry = folder.tensors[name]
            weights[name] = graph.tensor(name, entry.shape, entry.format, Storage.WEIGHT)
        return weights[name]

    def state(name: str, shape: tuple[int, ...], dtype: str) -> Tensor:
        return graph.tensor(name, shape, dtype, Storage.STATE)

    cache_shape = (1, config.num_key_value_heads, capacity, config.head_dim)
    half_head = (config.head_dim // 2,)
    forward = Forward(
        config=config,
        weight=weight,
        tokens=state("tokens", (rows,), "i32"),
        positions=state("positions", (rows,), "i32"),
        sequences=state("sequences", (rows,), "i32"),
        rope=state("rope", half_head, "f32"),
        local_rope=state("local_rope", half_head, "f32") if config.local_rope else None,
        cache=[
            LayerCache(state(f"keys {layer}", cache_shape, dtype), state(f"values {layer}", cache_shape, dtype))
            for layer in range(config.num_hidden_layers)
        ],
        output_rows=range(rows - 1, rows),
    )
    graph.results.append(get_architecture(config.architecture).forward(forward))
    run_passes(graph)
    return plan_arena(graph, alignment).nbytes
