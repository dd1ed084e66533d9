"""quantize: floats to our own int8 and int4 formats, on the device; the host's twin is `quantize_without_search`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fastgo.assets import quant
from fastgo.assets import quantize as host
from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import SIMD_WIDTH, Array, ceil_div, format_planes


def quantize(x: Tensor, *, format: str) -> Tensor:
    """x (rows, columns) float32 -> the bytes of the planar tensor, (total_nbytes,) u8; those between planes are free.

    Raises ValueError for a format that isn't our own, and InvalidFileError if columns are no whole groups.
    """
    rows, columns = x.shape
    if quant.get_format(format).group_size is None or not x.is_contiguous:
        raise ValueError(f"quantize makes our own int8 and int4 formats of dense tensors, not {format}")
    y = x.graph.output("quantize", (quant.total_nbytes(format, rows, columns),), "u8")
    x.graph.add_node(QUANTIZE, {"x": x}, {"y": y}, format=format)
    return y


def _lower(node: Node) -> list[KernelCall]:
    rows, columns = node.inputs["x"].shape
    format = quant.get_format(node.format)
    groups = ceil_div(columns, format.group_size or columns)
    arguments = {"columns": columns, "planes": format_planes(format.name, rows, columns)}
    return [
        KernelCall(
            f"quantize_{format.kernel}",
            {**node.inputs, **node.outputs},
            arguments,
            (groups, rows, 1),
            (SIMD_WIDTH, 1, 1),
        )
    ]


def reference(x: Array, *, format: str) -> Mapping[str, Array]:
    """The planes by role."""
    return host.quantize_without_search(quant.get_format(format), x.astype(np.float32))


QUANTIZE = Op("quantize", _lower, reference)
