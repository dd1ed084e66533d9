"""Tensors as views: reshape, transpose, rows and broadcast against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fastgo.graph.dag import Graph, Node, Storage, Tensor, contiguous_strides
from fastgo.ops.add import ADD
from graph_bench import view_of
from hypothesis import given
from hypothesis import strategies as st


def tensor_of(shape: tuple[int, ...]) -> tuple[Tensor, np.ndarray]:
    array = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    return Graph().tensor("x", shape, "f32", Storage.ARENA), array


def assert_same(tensor: Tensor, array: np.ndarray) -> None:
    flat = np.arange(tensor.root.size, dtype=np.float32)
    assert tensor.shape == array.shape
    np.testing.assert_array_equal(view_of(flat, tensor), array)


@given(st.data())
def test_chains_of_views(data: Any) -> None:
    """Any chain of views shows the elements that NumPy shows."""
    tensor, array = tensor_of(tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))))
    for _ in range(data.draw(st.integers(1, 5))):
        kind = data.draw(st.sampled_from(["transpose", "rows", "reshape", "broadcast"]))
        if kind == "transpose":
            order = data.draw(st.permutations(range(array.ndim)))
            tensor, array = tensor.transpose(*order), array.transpose(order)
        elif kind == "rows":
            begin = data.draw(st.integers(0, array.shape[0] - 1))
            end = data.draw(st.integers(begin + 1, array.shape[0]))
            tensor, array = tensor.rows(begin, end), array[begin:end]
        elif kind == "broadcast":
            shape = (2, *(3 if size == 1 else size for size in array.shape))
            if array.ndim < 4:
                tensor, array = tensor.broadcast_to(*shape), np.broadcast_to(array, shape)
        elif tensor.is_contiguous:
            tensor, array = tensor.reshape(array.size), array.reshape(-1)
        assert_same(tensor, array)


def test_views_share_their_root() -> None:
    x, _ = tensor_of((4, 6))
    view = x.rows(1, 3).transpose(1, 0)
    assert view.root is x and x.root is x
    assert (view.offset, view.strides, view.size, view.nbytes) == (6, (1, 6), 12, 48)
    assert not view.is_contiguous and x.rows(1, 3).is_contiguous


def test_contiguous_strides() -> None:
    assert contiguous_strides((2, 3, 4)) == (12, 4, 1)
    assert contiguous_strides((5,)) == (1,)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("reshape", (5, 5)),
        ("reshape", (-1,)),
        ("transpose", (0,)),
        ("transpose", (0, 0)),
        ("transpose", (1, 2)),
        ("rows", (0, 5)),
        ("rows", (-1, 2)),
        ("rows", (2, 2)),
        ("broadcast_to", (4,)),
        ("broadcast_to", (4, 7)),
        ("broadcast_to", (2, 3, 6)),
    ],
)
def test_impossible_views(method: str, arguments: tuple[int, ...]) -> None:
    x, _ = tensor_of((4, 6))
    with pytest.raises(ValueError):
        getattr(x, method)(*arguments)


def test_a_transpose_cannot_be_reshaped() -> None:
    x, _ = tensor_of((4, 6))
    with pytest.raises(ValueError, match="can't view x"):
        x.transpose(1, 0).reshape(24)


def test_an_alias_is_another_value_in_the_same_memory() -> None:
    graph = Graph()
    x, y = (graph.output(name, (2, 2)) for name in "xy")
    first = graph.add_node(ADD, {"a": y, "b": y}, {"y": x})
    after = graph.alias(x)
    second = graph.add_node(ADD, {"a": x, "b": y}, {"y": after})
    assert after.root is x
    assert (x.producer, after.producer, x.rows(0, 1).producer) == (first, second, first)


def test_nodes_give_their_attributes() -> None:
    node = Node(ADD, {}, {}, {"eps": 0.5})
    assert node.eps == 0.5
    with pytest.raises(AttributeError, match="no attribute scale"):
        node.scale  # noqa: B018
