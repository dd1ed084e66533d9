"""matmul: y = x Wᵀ, with weights of any format of assets/quant.py dequantised on the fly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import SIMD_WIDTH, Array, ceil_div, plane_offsets, weight_kernel


@dataclass(frozen=True)
class Tile:
    """What one threadgroup computes: `rows` x (`outputs` a simdgroup x `simdgroups`). Mirrors the instantiations."""

    rows: int
    outputs: int
    simdgroups: int


_VECTOR = Tile(rows=1, outputs=4, simdgroups=2)
_BATCH = Tile(rows=8, outputs=2, simdgroups=4)


def matmul(x: Tensor, weight: Tensor) -> Tensor:
    """(rows, columns) float32, (outputs, columns) weight -> (rows, outputs) float32."""
    rows, columns = x.shape
    outputs, weight_columns = weight.shape
    if columns != weight_columns or not x.is_contiguous:
        raise ValueError(f"can't multiply {x.name} {x.shape} with the transpose of {weight.name} {weight.shape}")
    y = x.graph.output("matmul", (rows, outputs))
    x.graph.add_node(MATMUL, {"x": x, "weight": weight}, {"y": y})
    return y


def tiled_call(
    kernel: str, node: Node, outputs: int, vector: Tile, batch: Tile, arguments: dict[str, object]
) -> KernelCall:
    """The call of a matmul kernel: its one-row form for one row, else its eight-row form."""
    rows, columns = node.inputs["x"].shape
    tile = vector if rows == 1 else batch
    grid = (ceil_div(rows, tile.rows), ceil_div(outputs, tile.outputs * tile.simdgroups), 1)
    return KernelCall(
        f"{kernel}_r{tile.rows}",
        {**node.inputs, **node.outputs},
        {"rows": rows, "outputs": outputs, "columns": columns, **arguments},
        grid,
        (tile.simdgroups * SIMD_WIDTH, 1, 1),
    )


def _lower(node: Node) -> list[KernelCall]:
    weight = node.inputs["weight"]
    arguments: dict[str, object] = {"planes": plane_offsets(weight)}
    return [tiled_call(weight_kernel("matmul", weight), node, weight.shape[0], _VECTOR, _BATCH, arguments)]


def reference(x: Array, weight: Array) -> Array:
    """With the dequantised weight."""
    return np.asarray(x @ weight.T)


MATMUL = Op("matmul", _lower, reference)
