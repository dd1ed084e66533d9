"""Experts kept as matrices of their own: one tensor, any slice of its rows, and gaps or mixtures refused."""

from __future__ import annotations

import numpy as np
import pytest
from fastgo.assets.hf_experts import stack_experts
from fastgo.assets.quant import FORMATS
from fastgo.assets.source import SourceTensor
from fastgo.errors import InvalidFileError

ROWS, COLUMNS, EXPERTS = 3, 4, 12
NAME = "model.layers.7.mlp.experts.{}.up_proj.weight"
VALUES = np.arange(EXPERTS * ROWS * COLUMNS, dtype=np.float32).reshape(EXPERTS, ROWS, COLUMNS)


def expert(index: int, format: str = "f32", shape: tuple[int, ...] = (ROWS, COLUMNS)) -> SourceTensor:
    return SourceTensor(NAME.format(index), FORMATS[format], shape, lambda rows: {"low": VALUES[index][rows]})


def test_any_rows_of_the_stack() -> None:
    other = SourceTensor("model.norm.weight", FORMATS["f32"], (COLUMNS,), lambda rows: {})
    kept, stack = stack_experts([*(expert(index) for index in reversed(range(EXPERTS))), other], "m")
    assert kept is other and (stack.name, stack.shape) == (NAME.replace("{}.", ""), (EXPERTS, ROWS, COLUMNS))
    flat = VALUES.reshape(-1, COLUMNS)
    for rows in (slice(0, 1), slice(2, 3), slice(2, 7), slice(0, len(flat)), slice(35, 99)):
        np.testing.assert_array_equal(stack.read_planes(rows)["low"], flat[rows])


@pytest.mark.parametrize(
    "experts",
    [
        [expert(0), expert(2)],
        [expert(1)],
        [expert(0), expert(1, format="bf16")],
        [expert(0), expert(1, shape=(COLUMNS, ROWS))],
        [expert(0, shape=(COLUMNS,))],
    ],
    ids=["gap", "no first", "types", "shapes", "vector"],
)
def test_experts_that_do_not_belong_together(experts: list[SourceTensor]) -> None:
    with pytest.raises(InvalidFileError, match="up_proj"):
        stack_experts(experts, "m")
