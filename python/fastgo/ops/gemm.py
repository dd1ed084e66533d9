"""gemm: act(a b + bias) of plain float matrices, batched; operands are views of any strides, transposed ones too."""

from __future__ import annotations

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import ACTIVATIONS, Array, activate, ceil_div

_TILE = 32  # rows and columns of a threadgroup
_THREADS = 128


def gemm(a: Tensor, b: Tensor, bias: Tensor | None = None, *, activation: str = "none") -> Tensor:
    """(..., rows, inner) and (..., inner, columns), both f32, f16 or bf16 -> (..., rows, columns) float32.

    `bias` is (columns,) float32.
    `...` is nothing or one batch dimension, 1 for an operand that all the batch shares. Raises ValueError for shapes
    or types that don't fit.
    """
    batched_a, batched_b = _batched(a), _batched(b)
    batch = max(batched_a.shape[0], batched_b.shape[0])
    rows, inner = batched_a.shape[1:]
    columns = batched_b.shape[2]
    if batched_b.shape[1] != inner or a.dtype != b.dtype or (bias is not None and bias.shape != (columns,)):
        raise ValueError(f"can't multiply {a.shape} {a.dtype} with {b.shape} {b.dtype}, bias {bias and bias.shape}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation}, expected one of {sorted(ACTIVATIONS)}")
    inputs = {
        "a": batched_a.broadcast_to(batch, rows, inner),
        "b": batched_b.broadcast_to(batch, inner, columns),
    }
    if bias is not None:
        inputs["bias"] = bias
    is_batched = len(a.shape) == 3 or len(b.shape) == 3
    y = a.graph.output("gemm", (batch, rows, columns) if is_batched else (rows, columns))
    a.graph.add_node(GEMM, inputs, {"y": y}, activation=activation)
    return y


def _batched(x: Tensor) -> Tensor:
    if len(x.shape) not in (2, 3):
        raise ValueError(f"gemm takes matrices or one batch of them, got {x.name} {x.shape}")
    return x if len(x.shape) == 3 else x.broadcast_to(1, *x.shape)


def _lower(node: Node) -> list[KernelCall]:
    a, b = node.inputs["a"], node.inputs["b"]
    batch, rows, inner = a.shape
    columns = b.shape[2]
    arguments = {
        "rows": rows,
        "columns": columns,
        "inner": inner,
        "activation": ACTIVATIONS[node.activation],
        "a_strides": a.strides,
        "b_strides": b.strides,
    }
    return [
        KernelCall(
            f"gemm_{a.dtype}",
            {"bias": None, **node.inputs, **node.outputs},
            arguments,
            (ceil_div(columns, _TILE), ceil_div(rows, _TILE), batch),
            (_THREADS, 1, 1),
            {"has_bias": "bias" in node.inputs},
        )
    ]


def reference(a: Array, b: Array, bias: Array | None = None, *, activation: str = "none") -> Array:
    product = a @ b
    return activate(activation, product if bias is None else product + bias)


GEMM = Op("gemm", _lower, reference)
