"""matmul: y = act(x Wᵀ + bias), with weights of any format of assets/quant.py dequantised on the fly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from fastgo.assets import quant
from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops import vector_tuning
from fastgo.ops.batch_matmul import batch_matmul, suits
from fastgo.ops.common import (
    ACTIVATIONS,
    SIMD_WIDTH,
    WEIGHTS_PER_BLOCK,
    Array,
    activate,
    bfloat_input,
    ceil_div,
    finish,
    plane_offsets,
    weight_kernel,
)


@dataclass(frozen=True)
class Tile:
    """What one threadgroup computes: `rows` x (`outputs` a simdgroup x `simdgroups`). Mirrors the instantiations."""

    rows: int
    outputs: int
    simdgroups: int


_VECTOR = Tile(rows=1, outputs=4, simdgroups=2)
_BATCH = Tile(rows=8, outputs=2, simdgroups=4)
MANY_ROWS = 17  # up to here the eight-row form reads weights at most twice
LARGE_TILES = 100
_UNIT_FORMATS = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q4_k", "int8", "int4")  # FOR_EACH_UNIT_FORMAT


def matmul(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, activation: str = "none") -> Tensor:
    """(rows, columns) float32, (outputs, columns) weight, (outputs,) float32 -> (rows, outputs) float32.

    Raises ValueError for shapes that don't fit or an unknown activation.
    """
    rows, columns = x.shape
    outputs, weight_columns = weight.shape
    if columns != weight_columns or not x.is_contiguous:
        raise ValueError(f"can't multiply {x.name} {x.shape} with the transpose of {weight.name} {weight.shape}")
    if bias is not None and (bias.shape != (outputs,) or not bias.is_contiguous):
        raise ValueError(f"can't add {bias.name} {bias.shape} to the {outputs} outputs of {weight.name}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation}, expected one of {sorted(ACTIVATIONS)}")
    if suits(rows, weight):
        return batch_matmul(x, weight, bias, activation)
    y = x.graph.output("matmul", (rows, outputs))
    inputs = {"x": x, "weight": weight} | ({} if bias is None else {"bias": bias})
    x.graph.add_node(MATMUL, inputs, {"y": y}, activation=activation)
    return y


def tiled_call(
    kernel: str, node: Node, outputs: int, vector: Tile, batch: Tile, arguments: dict[str, object], parts: int = 1
) -> KernelCall:
    """The call of a matmul kernel: its one-row form for one row, else its eight-row form.

    Shaders multiply many rows in square tiles, with bfloat operands, unless the weights are float32; native kernels
    have that form too, for what the pass `bfloat_inputs` has made bfloats of. `parts` is how many rows of weights make
    an output.
    """
    rows = node.inputs["x"].shape[0]
    weight = next(tensor for name, tensor in node.inputs.items() if name != "x")
    many = None
    if multiplies_bfloats(rows, weight):
        many = _tile_call(kernel, node, outputs, _many_tile(rows, outputs * parts, parts), arguments)
        many = replace(many, constants=bfloat_input(node))
    if many is not None and "bf16" in (node.inputs["x"].dtype, node.outputs["y"].dtype):
        return many
    return replace(_tile_call(kernel, node, outputs, vector if rows == 1 else batch, arguments), shader_call=many)


def multiplies_bfloats(rows: int, weight: Tensor) -> bool:
    """Whether shaders round the inputs of so many rows to bfloat for their product with this weight."""
    return rows >= MANY_ROWS and weight.dtype != "f32"


def many_side(rows: int, weight_rows: int) -> int:
    """The side of the square tiles of many rows: the larger one wherever enough of them keep a large device busy."""
    return 128 if ceil_div(rows, 128) * ceil_div(weight_rows, 128) >= LARGE_TILES else 64


def _many_tile(rows: int, weight_rows: int, parts: int) -> Tile:
    side = many_side(rows, weight_rows)
    return Tile(rows=side, outputs=16 // parts, simdgroups=side // 16)


def _tile_call(kernel: str, node: Node, outputs: int, tile: Tile, arguments: dict[str, object]) -> KernelCall:
    rows, columns = node.inputs["x"].shape
    grid = (ceil_div(rows, tile.rows), ceil_div(outputs, tile.outputs * tile.simdgroups), 1)
    return KernelCall(
        f"{kernel}_r{tile.rows}",
        {**node.inputs, **node.outputs},
        {"rows": rows, "outputs": outputs, "columns": columns, **arguments},
        grid,
        (tile.simdgroups * SIMD_WIDTH, 1, 1),
    )


def vector_call(kernel: str, node: Node, weight: Tensor, arguments: dict[str, object]) -> KernelCall | None:
    """The call of a kernel's one-row form for wide devices, where the device, rows and format suit it."""
    rows, columns = node.inputs["x"].shape
    format, width = quant.get_format(weight.dtype).kernel, weight.graph.parallel_width
    if rows != 1 or width == 1 or columns % WEIGHTS_PER_BLOCK != 0 or format not in _UNIT_FORMATS:
        return None
    outputs = weight.shape[0]
    cut = vector_tuning.cut(kernel, format, outputs, columns, width)
    is_streamed = kernel == "matmul_vector" and vector_tuning.uses_streams(format, width)
    if cut.depth or is_streamed:
        kernel = f"{kernel}_stream_{format}_o{cut.outputs}" if is_streamed else f"{kernel}_tile_{format}_d{cut.depth}"
        constants = {"tile_columns": columns, "tile_parts": cut.parts, "tile_simdgroups": cut.simdgroups}
    else:
        kernel, constants = f"{kernel}_{format}_o{cut.outputs}", {}
        arguments = {"columns": columns, "parts": cut.parts, **arguments}
    return KernelCall(
        kernel,
        {**node.inputs, **node.outputs},
        {"outputs": outputs, **arguments},
        (ceil_div(outputs, cut.outputs * cut.simdgroups // cut.parts), 1, 1),
        (cut.simdgroups * SIMD_WIDTH, 1, 1),
        constants,
    )


def _lower(node: Node) -> list[KernelCall]:
    weight = node.inputs["weight"]
    arguments: dict[str, object] = {"planes": plane_offsets(weight)}
    if (vector := vector_call("matmul_vector", node, weight, arguments)) is not None:
        call = vector
    else:
        call = tiled_call(weight_kernel("matmul", weight), node, weight.shape[0], _VECTOR, _BATCH, arguments)
    buffers, constants = finish(node)
    return [in_all_forms(call, constants, buffers)]


def in_all_forms(
    call: KernelCall,
    constants: Mapping[str, bool | int | float],
    buffers: Mapping[str, Tensor | None] = MappingProxyType({}),
) -> KernelCall:
    """The call, and the form that shaders take in its place, with these constants and buffers as well."""
    shader_call = call.shader_call and in_all_forms(call.shader_call, constants, buffers)
    return replace(
        call,
        buffers={**buffers, **call.buffers},
        constants={**call.constants, **constants},
        shader_call=shader_call,
    )


def reference(x: Array, weight: Array, bias: Array | None = None, *, activation: str = "none") -> Array:
    """With the dequantised weight."""
    product = x @ weight.T
    return activate(activation, product if bias is None else product + bias)


MATMUL = Op("matmul", _lower, reference)
