"""What a model needs of a device's memory, known before anything is loaded: weights, KV cache, scratch.

Scratch is the arenas of the passes of a long prompt and of decode, planned as for a run, and the history of tokens.
Units: bytes; context in tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from fastgo import _fastmetal
from fastgo.assets.model_folder import ModelFolder
from fastgo.engine.exact_head import planned_nbytes
from fastgo.engine.pass_graph import MAX_ROWS, add_forward_pass, fuse, graph_for
from fastgo.engine.weights_check import check_weights
from fastgo.errors import OutOfMemoryError
from fastgo.graph.dag import dense_nbytes
from fastgo.graph.plan import plan_arena
from fastgo.models.config import ModelConfig
from fastgo.ops.cache_format import check_cache_format, default_cache_format


class Target(Protocol):
    """What is to be known of a device."""

    @property
    def info(self) -> dict[str, Any]: ...

    @property
    def heap_alignment(self) -> int: ...


@dataclass(frozen=True)
class Fit:
    """Bytes that a model with `context` tokens takes, and those that the device has.

    `weights` are with the index of the output head.
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


def estimate(
    folder: ModelFolder,
    context: int,
    device: Target,
    cache_dtype: str | None = None,
    head_index: int = 0,
) -> Fit:
    """The fit of a model on a device.

    `cache_dtype`: as for Engine. Raises UsageError for an unknown one. `head_index`: bytes of exact_head.py's file.
    """
    dtype, alignment, available = _cache_dtype(folder, cache_dtype), device.heap_alignment, available_nbytes(device)
    # Decode, the last chunk of a prompt, and the chunks before it if there are any.
    passes = (1, min(context, MAX_ROWS), *((MAX_ROWS,) if context > MAX_ROWS else ()))
    scratch = sum(_arena_nbytes(folder, rows, context, dtype, device) for rows in passes) + 4 * context
    weights = folder.nbytes + head_index
    room = available - weights - scratch
    low, high = 0, folder.config.max_position_embeddings
    while low < high:
        middle = (low + high + 1) // 2
        if kv_cache_nbytes(folder.config, middle, dtype, alignment) <= room:
            low = middle
        else:
            high = middle - 1
    kv_cache = kv_cache_nbytes(folder.config, context, dtype, alignment)
    return Fit(context, weights, kv_cache, scratch, available, low)


def available_nbytes(device: Target) -> int:
    """Memory that the device lets a program use."""
    return int(device.info["memory_bytes"])


def fitting_context(
    folder: ModelFolder, device: _fastmetal.Device, wanted: int | None, cache_dtype: str | None = None
) -> int | None:
    """The context to open a model with: the one wanted, else the model's own limit (None) or what fits of it.

    `cache_dtype`: as for Engine. Raises UsageError for an unknown one, OutOfMemoryError if the wanted context, or any
    at all, does not fit; it tells the largest that does. InvalidFileError if a weight is missing or of a wrong shape.
    """
    check_weights(folder)
    limit, available = folder.config.max_position_embeddings, available_nbytes(device)
    context = min(wanted or limit, limit)
    kv_cache = kv_cache_nbytes(folder.config, context, _cache_dtype(folder, cache_dtype), device.heap_alignment)
    head_index = planned_nbytes(device, folder)
    if 2 * (folder.nbytes + head_index + kv_cache) <= available:
        return wanted  # far from the limit: scratch need not be planned
    found = estimate(folder, context, device, cache_dtype, head_index)
    if found.fits:
        return wanted
    if wanted is None and found.largest_context:
        return found.largest_context
    raise refusal(folder, found)


def refusal(folder: ModelFolder, found: Fit) -> OutOfMemoryError:
    """The error for a model that does not fit."""
    largest = f"the largest context that fits has {found.largest_context} tokens"
    return OutOfMemoryError(
        f"{folder.name} with a context of {found.context} tokens needs {found.total / 1e6:.1f} MB, "
        f"the device has {found.available / 1e6:.1f} MB",
        hint=largest if found.largest_context else "use a smaller model, or quantise it with `fastgo convert`",
    )


def kv_cache_nbytes(config: ModelConfig, capacity: int, dtype: str, alignment: int) -> int:
    """Size of the heap that kv_cache.py allocates for `capacity` tokens."""
    nbytes = dense_nbytes((config.num_key_value_heads, capacity, config.head_dim), dtype)
    return 2 * config.num_hidden_layers * (-(-nbytes // alignment) * alignment)


def _cache_dtype(folder: ModelFolder, wanted: str | None) -> str:
    check_cache_format(wanted, folder.config.head_dim)
    return wanted or default_cache_format(entry.format for entry in folder.tensors.values())


def _arena_nbytes(folder: ModelFolder, rows: int, capacity: int, dtype: str, device: Target) -> int:
    config, graph = folder.config, graph_for(device.info)

    def facts(name: str) -> tuple[tuple[int, ...], str]:
        entry = folder.tensors[name]
        return entry.shape, entry.format

    shape = (1, config.num_key_value_heads, capacity, config.head_dim)
    graph.results.append(add_forward_pass(graph, config, facts, shape, dtype, rows, range(rows - 1, rows)))
    fuse(graph, rows, device.info)
    return plan_arena(graph, device.heap_alignment).nbytes
