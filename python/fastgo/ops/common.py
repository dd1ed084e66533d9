"""What several operations need: plane tables for weights, grid arithmetic, activation codes of the shaders."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fastgo.assets import quant
from fastgo.graph.dag import Node, Tensor

Array = npt.NDArray[Any]

SIMD_WIDTH = 32
WEIGHTS_PER_BLOCK = 32
# enum Elementwise of shaders/include/elementwise_args.h
ELEMENTWISE_THREADS = 256
_ELEMENTWISE_EACH = 4
_PLANE_ROLES = ("low", "high", "scales", "mins", "super_scales", "super_mins")
# enum Activation of shaders/include/matmul_args.h
ACTIVATIONS = {"silu": 0, "gelu_tanh": 1, "gelu_erf": 2, "relu": 3, "none": 4}


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def elementwise_grid(count: int) -> tuple[int, int, int]:
    """Threadgroups of cast and glu for `count` elements."""
    return (ceil_div(count, ELEMENTWISE_THREADS * _ELEMENTWISE_EACH), 1, 1)


@cache
def format_planes(dtype: str, rows: int, columns: int) -> tuple[int, ...]:
    """The `planes` of the kernels for a (rows, columns) tensor of format `dtype`; see `plane_offsets`."""
    group_size = quant.get_format(dtype).group_size
    offsets = {plane.role: plane.offset // quant.PLANE_ALIGNMENT for plane in quant.layout(dtype, rows, columns)}
    if group_size is not None:
        # Zero points stand where other formats have minima; the next entry is the group's size in blocks.
        offsets |= {"mins": offsets.get("zeros", 0), "super_scales": (group_size or columns) // WEIGHTS_PER_BLOCK}
    return tuple(offsets.get(role, 0) for role in _PLANE_ROLES)


def plane_offsets(weight: Tensor) -> tuple[int, ...]:
    """Where each plane of a weight starts, in units of 64 bytes; the `planes` of the kernels.

    The weight is (rows, columns), or has more dimensions before them that count as rows.
    """
    return format_planes(weight.dtype, *quant.matrix_shape(weight.shape))


def finish(node: Node) -> tuple[dict[str, Tensor | None], dict[str, bool | int | float]]:
    """What a product's kernel is given for its bias and activation: buffers and function constants."""
    bias = node.inputs.get("bias")
    return {"bias": bias}, {"has_bias": bias is not None, "output_activation": ACTIVATIONS[node.activation]}


def bfloat_input(node: Node) -> dict[str, bool]:
    """The function constant of kernels for many rows that says what x is made of."""
    return {"reads_bfloat": node.inputs["x"].dtype == "bf16"}


def bfloat_output(node: Node) -> dict[str, bool]:
    """The function constant of kernels that write y as bfloat where the pass `bfloat_inputs` made it so."""
    return {"writes_bfloat": node.outputs["y"].dtype == "bf16"}


def _erf(x: Array) -> Array:
    return np.array([math.erf(value) for value in x.ravel()], x.dtype).reshape(x.shape)


def weight_kernel(kernel: str, weight: Tensor) -> str:
    """The name of the kernel for a weight's format."""
    return f"{kernel}_{quant.get_format(weight.dtype).kernel}"


def activate(name: str, x: Array) -> Array:
    """The activation function of that name, in the precision of `x`."""
    if name == "silu":
        return np.asarray(x / (1.0 + np.exp(-x)))
    if name == "gelu_tanh":
        return np.asarray(0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))))
    if name == "gelu_erf":
        return np.asarray(0.5 * x * (1.0 + _erf(x / np.sqrt(2.0))))
    if name == "relu":
        return np.maximum(x, 0.0)
    if name == "none":
        return x
    raise ValueError(f"unknown activation {name}, expected one of {sorted(ACTIVATIONS)}")
