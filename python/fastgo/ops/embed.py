"""embed: a row of the embedding table for each token, times a scale."""

from __future__ import annotations

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import WEIGHTS_PER_BLOCK, Array, ceil_div, plane_offsets, weight_kernel

_THREADS = 32


def embed(table: Tensor, tokens: Tensor, *, scale: float = 1.0) -> Tensor:
    """(vocab_size, columns) weight, (rows,) int32 -> (rows, columns) float32."""
    graph = tokens.graph
    y = graph.output("embed", (tokens.shape[0], table.shape[1]))
    graph.add_node(EMBED, {"table": table, "tokens": tokens}, {"y": y}, scale=scale)
    return y


def _lower(node: Node) -> list[KernelCall]:
    table = node.inputs["table"]
    vocab_size, columns = table.shape
    blocks = ceil_div(columns, WEIGHTS_PER_BLOCK)
    arguments = {
        "columns": columns,
        "vocab_size": vocab_size,
        "planes": plane_offsets(table),
        "scale": node.scale,
    }
    grid = (ceil_div(blocks, _THREADS), node.inputs["tokens"].shape[0], 1)
    return [
        KernelCall(weight_kernel("embed", table), {**node.inputs, **node.outputs}, arguments, grid, (_THREADS, 1, 1))
    ]


def reference(table: Array, tokens: Array, *, scale: float = 1.0) -> Array:
    """Rows of the dequantised table."""
    return table[tokens] * scale


EMBED = Op("embed", _lower, reference)
