"""The graph of a forward pass and its fusion for a device: from facts about weights and cache, so that nothing needs
to be loaded.

Steps record it, and the estimate of a model's memory plans it. Names of state tensors are those of steps.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastgo.engine.devices import has_large_products, parallel_width, reads_bfloats
from fastgo.graph.dag import Graph, Storage, Tensor
from fastgo.graph.passes import run_passes
from fastgo.models.architectures import ARCHITECTURES
from fastgo.models.config import ModelConfig
from fastgo.models.forward import Forward, LayerCache, Product
from fastgo.ops.copy import COPY
from fastgo.ops.matmul import MANY_ROWS, matmul

MAX_ROWS = 512  # tokens of a prefill chunk
WeightFacts = Callable[[str], tuple[tuple[int, ...], str]]
"""Shape and format of the weight of a name."""


def graph_for(info: dict[str, Any]) -> Graph:
    """An empty graph for a device, by its `info`."""
    return Graph(parallel_width(info), bool(info["has_unified_memory"]), reads_bfloats(info))


def fuse(graph: Graph, rows: int, info: dict[str, Any]) -> None:
    """Runs the passes over the whole graph of so many rows that such a device gains by."""
    # cuBLASLt, loaded for no other passes, shares out the columns of its products by itself.
    run_passes(graph, ("matmul_split",) if rows >= MANY_ROWS and has_large_products(info) else ())


def add_forward_pass(
    graph: Graph,
    config: ModelConfig,
    weight_facts: WeightFacts,
    cache_shape: tuple[int, ...],
    cache_dtype: str,
    rows: int,
    output_rows: range,
    product: Product = matmul,
) -> Tensor:
    """Adds a pass over `rows` tokens to `graph`; returns the logits of `output_rows`, float32 (rows, vocab_size).

    Args:
        cache_shape: of a layer's keys: (num_sequences, num_key_value_heads, capacity, head_dim).
        cache_dtype: one of CACHE_FORMATS.
        product: what multiplies the output matrix; what it gives is returned.
    """
    weights: dict[str, Tensor] = {}

    def weight(name: str) -> Tensor:
        if name not in weights:
            weights[name] = graph.tensor(name, *weight_facts(name), Storage.WEIGHT)
        return weights[name]

    def state(name: str, shape: tuple[int, ...], dtype: str) -> Tensor:
        return graph.tensor(name, shape, dtype, Storage.STATE)

    def near(name: str) -> Tensor:
        """Integers that every layer reads: copied once to the device's own memory if it has one."""
        far = state(name, (MAX_ROWS,), "i32").rows(0, rows)
        if graph.has_unified_memory:
            return far
        copied = graph.output(name, far.shape, far.dtype)
        graph.add_node(COPY, {"x": far}, {"y": copied})
        return copied

    half_head = (config.head_dim // 2,)
    forward = Forward(
        config=config,
        weight=weight,
        tokens=state("tokens", (MAX_ROWS,), "i32").rows(0, rows),
        positions=near("positions"),
        sequences=near("sequences"),
        rope=state("rope", half_head, "f32"),
        local_rope=state("local_rope", half_head, "f32") if config.local_rope else None,
        cache=[
            LayerCache(
                state(f"keys {layer}", cache_shape, cache_dtype), state(f"values {layer}", cache_shape, cache_dtype)
            )
            for layer in range(config.num_hidden_layers)
        ],
        output_rows=output_rows,
        product=product,
    )
    return ARCHITECTURES[config.architecture].forward(forward)
