"""moe_group: pairs of token and expert sorted by expert, cut into tiles of pairs that share an expert's weights."""

from __future__ import annotations

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import SIMD_WIDTH, Array, ceil_div

MAX_EXPERTS = 1024  # of shaders/moe_group.metal
TILE_PAIRS = 8  # BATCH_ROWS of shaders/include/matmul_args.h
MANY_TILE_PAIRS = 64  # MOE_SIDE of shaders/include/moe_many.h


def moe_group(experts: Tensor, num_experts: int) -> tuple[Tensor, Tensor, int]:
    """experts (rows, top_k) int32 -> order (pairs,) int32, and tiles (max_tiles, 3) int32: expert, begin, end.

    A tile holds the pairs order[begin:end], at most so many as the third result says. There are as many tiles as the
    worst case needs; those left over are empty.
    """
    graph, pairs = experts.graph, experts.size
    # Where the experts are busy, wide devices take as many pairs together as their matrix units like.
    is_many = graph.parallel_width > 1 and pairs >= TILE_PAIRS * num_experts
    tile_pairs = MANY_TILE_PAIRS if is_many else TILE_PAIRS
    max_tiles = (pairs + (tile_pairs - 1) * min(num_experts, pairs)) // tile_pairs
    outputs = {
        "order": graph.output("moe_group", (pairs,), "i32"),
        "tiles": graph.output("moe_group", (max_tiles, 3), "i32"),
    }
    graph.add_node(MOE_GROUP, {"experts": experts}, outputs, num_experts=num_experts, tile_pairs=tile_pairs)
    return outputs["order"], outputs["tiles"], tile_pairs


def _lower(node: Node) -> list[KernelCall]:
    arguments = {
        "pairs": node.inputs["experts"].size,
        "num_experts": node.num_experts,
        "max_tiles": node.outputs["tiles"].shape[0],
        "tile_pairs": node.tile_pairs,
    }
    threads = SIMD_WIDTH * ceil_div(node.num_experts, SIMD_WIDTH)
    return [KernelCall("moe_group", {**node.inputs, **node.outputs}, arguments, (1, 1, 1), (threads, 1, 1))]


def reference(experts: Array, *, num_experts: int, tile_pairs: int = TILE_PAIRS) -> tuple[Array, Array]:
    """The order, and the tiles in use."""
    flat = experts.reshape(-1)
    tiles = []
    begin = 0
    for expert in range(num_experts):
        end = begin + int(np.sum(flat == expert))
        tiles += [(expert, start, min(start + tile_pairs, end)) for start in range(begin, end, tile_pairs)]
        begin = end
    return np.argsort(flat, kind="stable"), np.array(tiles)


MOE_GROUP = Op("moe_group", _lower, reference)
