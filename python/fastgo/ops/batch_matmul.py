"""Products of a few rounded rows, in tiles of sixteen outputs, on wide devices: weights are read once for eight rows.

`matmul` makes batch_matmul by itself, the fusion passes batch_matmul_glu and batch_matmul_add. An input `squares` says
that the rows are normed ones, still to be divided by their root mean square (`eps`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastgo.assets import quant
from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops import vector_tuning
from fastgo.ops.common import (
    ACTIVATIONS,
    SIMD_WIDTH,
    WEIGHTS_PER_BLOCK,
    Array,
    activate,
    ceil_div,
    finish,
    plane_offsets,
)
from fastgo.ops.rounded_rows import round_rows

MOST_ROWS = 16
_TILE_OUTPUTS = 16
_GLU_OUTPUTS = 32  # of a threadgroup: two tiles of each matrix
_STEP_COLUMNS = 128
_MOST_PARTS = {2: 8, 4: 4}  # by the tiles of a threadgroup
_GROUPS_A_CORE = 3  # wanted, before a threadgroup takes four tiles instead of two


def suits(rows: int, weight: Tensor) -> bool:
    """Whether products of so many rows with this weight go in such tiles."""
    format = quant.get_format(weight.dtype).kernel
    is_wide = vector_tuning.uses_tiles(format, weight.graph.parallel_width)
    return is_wide and 1 < rows <= MOST_ROWS and weight.shape[1] % WEIGHTS_PER_BLOCK == 0


def batch_matmul(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    """As `matmul`, for what `suits`."""
    rows = x.shape[0]
    y = x.graph.output("matmul", (rows, weight.shape[0]))
    inputs = {"x": round_rows(x), "weight": weight} | ({} if bias is None else {"bias": bias})
    x.graph.add_node(BATCH_MATMUL, inputs, {"y": y}, rows=rows, activation=activation)
    return y


def _call(
    kernel: str, node: Node, weight: Tensor, outputs: int, tiles: int, arguments: dict[str, Any]
) -> dict[str, Any]:
    """What the three calls have in common; `outputs` are those of a threadgroup."""
    columns = weight.shape[1]
    parts = 1
    while parts < _MOST_PARTS[tiles] and parts * 2 <= ceil_div(columns, _STEP_COLUMNS):
        parts *= 2
    return {
        "kernel": kernel,
        "buffers": {**node.inputs, **node.outputs},
        "arguments": {"rows": node.rows, "outputs": weight.shape[0], **arguments},
        "grid": (ceil_div(weight.shape[0], outputs), node.inputs["x"].shape[0], 1),
        "threads": (parts * SIMD_WIDTH, 1, 1),
        "constants": {"batch_columns": columns, "batch_parts": parts},
    }


def _lower(node: Node) -> list[KernelCall]:
    weight = node.inputs["weight"]
    wanted = _GROUPS_A_CORE * weight.graph.parallel_width
    tiles = 4 if weight.shape[0] >= 4 * _TILE_OUTPUTS * wanted else 2
    kernel = f"matmul_batch_tile_{quant.get_format(weight.dtype).kernel}_t{tiles}"
    call = _call(kernel, node, weight, tiles * _TILE_OUTPUTS, tiles, {"planes": plane_offsets(weight)})
    buffers, constants = finish(node)
    call["buffers"] = {**buffers, **call["buffers"]}
    call["constants"] |= constants
    return [_ending_norm(call, node)]


def _ending_norm(call: dict[str, Any], node: Node) -> KernelCall:
    """The call of a kernel that can divide its rows by their root mean square."""
    call["buffers"] = {"squares": None, **call["buffers"]}
    call["constants"]["has_squares"] = "squares" in node.inputs
    call["arguments"]["eps"] = node.attributes.get("eps", 0.0)
    return KernelCall(**call)


def _rows(x: Array, squares: Array | None, eps: float) -> Array:
    """The inputs before they were rounded, normed."""
    if squares is None:
        return x
    return np.asarray(x / np.sqrt(squares.sum(axis=-1, keepdims=True) / x.shape[1] + eps))


def reference(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    squares: Array | None = None,
    *,
    rows: int,
    activation: str,
    eps: float = 0.0,
) -> Array:
    """With the inputs before they were rounded, and the dequantised weight."""
    product = _rows(x[:rows], squares, eps) @ weight.T
    return activate(activation, product if bias is None else product + bias)


BATCH_MATMUL = Op("batch_matmul", _lower, reference)


def _lower_glu(node: Node) -> list[KernelCall]:
    gate, up = node.inputs["gate"], node.inputs["up"]
    arguments = {
        "gate_planes": plane_offsets(gate),
        "up_planes": plane_offsets(up),
        "activation": ACTIVATIONS[node.activation],
    }
    kernel = f"matmul_glu_batch_tile_{quant.get_format(gate.dtype).kernel}"
    call = _call(kernel, node, gate, _GLU_OUTPUTS, 4, arguments)
    call["buffers"] = {"y": None, "rounded": None, **call["buffers"]}
    call["constants"]["rounds_output"] = "rounded" in node.outputs
    return [_ending_norm(call, node)]


def glu_reference(
    x: Array, gate: Array, up: Array, squares: Array | None = None, *, rows: int, activation: str, eps: float = 0.0
) -> Array:
    """With the inputs before they were rounded, and dequantised weights."""
    inputs = _rows(x[:rows], squares, eps)
    return np.asarray(activate(activation, inputs @ gate.T) * (inputs @ up.T))


BATCH_MATMUL_GLU = Op("batch_matmul_glu", _lower_glu, glu_reference)


def may_add(product: Node) -> bool:
    """Whether a residual add and the next norm's weight may go into this batch_matmul."""
    is_plain = "bias" not in product.inputs and product.activation == "none" and "squares" not in product.inputs
    return is_plain and product.inputs["weight"].shape[0] % WEIGHTS_PER_BLOCK == 0


def squares_output(x: Tensor) -> Tensor:
    """What takes the sums of squares of each chunk of x (rows, columns)."""
    return x.graph.output("squares", (x.shape[0], x.shape[1] // WEIGHTS_PER_BLOCK))


def _lower_add(node: Node) -> list[KernelCall]:
    weight = node.inputs["weight"]
    kernel = f"matmul_add_batch_tile_{quant.get_format(weight.dtype).kernel}"
    return [KernelCall(**_call(kernel, node, weight, 2 * _TILE_OUTPUTS, 2, {"planes": plane_offsets(weight)}))]


def add_reference(
    x: Array, weight: Array, residual: Array, norm_weight: Array, *, rows: int
) -> tuple[Array, Array, Array]:
    """The stream, its product with the norm's weight, its squares."""
    stream = residual + x[:rows] @ weight.T
    return stream, stream * norm_weight, np.square(stream).reshape(rows, -1, WEIGHTS_PER_BLOCK).sum(axis=-1)


BATCH_MATMUL_ADD = Op("batch_matmul_add", _lower_add, add_reference)
