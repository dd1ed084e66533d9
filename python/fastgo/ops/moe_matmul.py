"""moe_matmul: each token times the matrices of the experts chosen for it; no other expert's weights are read."""

from __future__ import annotations

import numpy as np

from fastgo.assets import quant
from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops import vector_tuning
from fastgo.ops.common import SIMD_WIDTH, WEIGHTS_PER_BLOCK, Array, ceil_div, plane_offsets, weight_kernel
from fastgo.ops.matmul import Tile
from fastgo.ops.moe_group import MANY_TILE_PAIRS
from fastgo.ops.moe_route import Routing

_VECTOR = Tile(rows=1, outputs=4, simdgroups=2)
_GROUPED = Tile(rows=8, outputs=2, simdgroups=4)
_MANY_SIMDGROUPS = 4  # of a tile of many pairs, with 16 rows of weights each


def moe_matmul(x: Tensor, weight: Tensor, routing: Routing) -> Tensor:
    """x (rows, columns), or (rows, top_k, columns) with a row for each expert; weight (num_experts, outputs, columns).

    Returns (rows, top_k, outputs) float32.
    """
    rows, top_k = routing.experts.shape
    num_experts, outputs, columns = weight.shape
    fits = (
        num_experts == routing.num_experts and x.is_contiguous and x.shape in ((rows, columns), (rows, top_k, columns))
    )
    if not fits:
        raise ValueError(
            f"can't multiply {x.name} {x.shape} with {weight.name} {weight.shape} "
            f"for {top_k} of {routing.num_experts} experts"
        )
    inputs = {"x": x, "weight": weight, "experts": routing.experts}
    if routing.order is not None and routing.tiles is not None:
        inputs |= {"order": routing.order, "tiles": routing.tiles}
    y = x.graph.output("moe_matmul", (rows, top_k, outputs))
    x.graph.add_node(MOE_MATMUL, inputs, {"y": y}, tile_pairs=routing.tile_pairs)
    return y


def moe_call(
    kernel: str,
    node: Node,
    weight: Tensor,
    vector: Tile,
    grouped: Tile,
    arguments: dict[str, object],
    parts: int = 1,
) -> KernelCall:
    """The call of an expert kernel: by tiles of pairs where there are tiles, else a pair at a time.

    On wide devices a pair goes in tiles of outputs, for weights that have them, and tiles of many pairs are multiplied
    with bfloat operands, unless the weights are float32. `parts` is how many rows of weights make an output.
    """
    num_experts, outputs, columns = weight.shape
    pairs, is_grouped = node.inputs["experts"].size, "tiles" in node.inputs
    arguments = {
        "pairs": pairs,
        "pairs_per_row": pairs // (node.inputs["x"].size // columns),
        "num_experts": num_experts,
        "outputs": outputs,
        "columns": columns,
        **arguments,
    }
    format, width = quant.get_format(weight.dtype).kernel, weight.graph.parallel_width
    if not is_grouped and vector_tuning.uses_tiles(format, width) and columns % WEIGHTS_PER_BLOCK == 0:
        return _tile_call(f"{kernel}_tile", node, weight, pairs, arguments)
    tile, form = (grouped, f"{kernel}_grouped") if is_grouped else (vector, kernel)
    if node.tile_pairs == MANY_TILE_PAIRS and weight.dtype != "f32":
        tile, form = Tile(MANY_TILE_PAIRS, 16 // parts, _MANY_SIMDGROUPS), f"{kernel}_many"
    unused = ("experts",) if is_grouped else ("order", "tiles")
    count = node.inputs["tiles"].shape[0] if is_grouped else pairs
    return KernelCall(
        weight_kernel(form, weight),
        {name: t for name, t in {**node.inputs, **node.outputs}.items() if name not in unused},
        arguments,
        (count, ceil_div(outputs, tile.outputs * tile.simdgroups), 1),
        (tile.simdgroups * SIMD_WIDTH, 1, 1),
    )


def _tile_call(kernel: str, node: Node, weight: Tensor, pairs: int, arguments: dict[str, object]) -> KernelCall:
    _, outputs, columns = weight.shape
    format = quant.get_format(weight.dtype).kernel
    # All pairs' outputs keep the cores busy together.
    cut = vector_tuning.cut(kernel, format, outputs * pairs, columns, weight.graph.parallel_width)
    return KernelCall(
        f"{kernel}_{format}_d{cut.depth}",
        {name: t for name, t in {**node.inputs, **node.outputs}.items() if name not in ("order", "tiles")},
        arguments,
        (ceil_div(outputs, cut.outputs * cut.simdgroups // cut.parts), pairs, 1),
        (cut.simdgroups * SIMD_WIDTH, 1, 1),
        {"tile_columns": columns, "tile_parts": cut.parts, "tile_simdgroups": cut.simdgroups},
    )


def _lower(node: Node) -> list[KernelCall]:
    weight = node.inputs["weight"]
    return [moe_call("moe_matmul", node, weight, _VECTOR, _GROUPED, {"planes": plane_offsets(weight)})]


def reference(x: Array, weight: Array, experts: Array) -> Array:
    """x (rows, columns) or (rows, top_k, columns), with the dequantised weight (num_experts, outputs, columns)."""
    inputs = x if x.ndim == 3 else np.broadcast_to(x[:, None], (*experts.shape, x.shape[1]))
    return np.stack(
        [
            np.stack([weight[expert] @ inputs[row, slot] for slot, expert in enumerate(chosen)])
            for row, chosen in enumerate(experts)
        ]
    )


MOE_MATMUL = Op("moe_matmul", _lower, reference)
