"""Nodes, tensors and views: a model's forward pass as data, before anything is allocated or run.

A Tensor is a typed, strided window onto a root: memory of the arena (activations), a weight, or state that outlives a
run (KV cache, tokens, positions). A Node is one operation; nodes are kept in the order they were built, which is a
topological order. Strides and offsets count elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

_ELEMENT_BITS = {"f32": 32, "f16": 16, "bf16": 16, "i32": 32, "u32": 32, "u8": 8, "int8": 8, "int4": 4}
_SCALE_BYTES = 2  # of the scales of a cache's integers


def elements_nbytes(count: int, dtype: str) -> int:
    """Bytes of so many elements; only for dtypes with a fixed element size."""
    return count * _ELEMENT_BITS[dtype] // 8


def row_scales_nbytes(width: int, dtype: str) -> int:
    """Bytes of the scales that a cache keeps, behind all elements, for a row of its last dimension (cache_row.h)."""
    if dtype == "int8":
        return _SCALE_BYTES
    return width // scale_group(width) * _SCALE_BYTES if dtype == "int4" else 0


def scale_group(width: int) -> int:
    """How many neighbours of a row of `width` elements share a scale in an int4 cache."""
    return min(32, width & -width)


def dense_nbytes(shape: Sequence[int], dtype: str) -> int:
    """Bytes of a dense tensor; only for dtypes with a fixed element size."""
    scales = math.prod(shape[:-1]) * row_scales_nbytes(shape[-1], dtype) if shape else 0
    return elements_nbytes(math.prod(shape), dtype) + scales


class Storage(Enum):
    """Who owns a root tensor's memory."""

    ARENA = "arena"
    WEIGHT = "weight"
    STATE = "state"


@dataclass(eq=False, repr=False)
class Tensor:
    """A view of `shape` elements of `dtype`. A quantised weight has its format as dtype and no usable strides.

    `root` is the tensor that owns the memory, the tensor itself if it is no view.
    """

    graph: Graph
    name: str
    shape: tuple[int, ...]
    dtype: str
    storage: Storage
    strides: tuple[int, ...]
    offset: int = 0
    base: Tensor | None = None
    own_producer: Node | None = None

    def __repr__(self) -> str:
        return f"<{self.name} {self.shape} {self.dtype}>"

    @property
    def root(self) -> Tensor:
        return self if self.base is None else self.base.root

    @property
    def producer(self) -> Node | None:
        """The node whose result this is, also seen through views; None for weights and state."""
        if self.own_producer is not None or self.base is None:
            return self.own_producer
        return self.base.producer

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of a dense tensor of this shape; only for dtypes with a fixed element size."""
        return dense_nbytes(self.shape, self.dtype)

    @property
    def offset_nbytes(self) -> int:
        """Where this view begins in its root, in bytes; only for dtypes with a fixed element size."""
        return elements_nbytes(self.offset, self.dtype)

    @property
    def is_contiguous(self) -> bool:
        return self.strides == contiguous_strides(self.shape)

    def _view(self, shape: Sequence[int], strides: Sequence[int], offset: int) -> Tensor:
        return Tensor(self.graph, self.name, tuple(shape), self.dtype, self.storage, tuple(strides), offset, self)

    def reshape(self, *shape: int) -> Tensor:
        """The same elements under another shape. Raises ValueError unless dense and of equal size."""
        if not self.is_contiguous or math.prod(shape) != self.size:
            raise ValueError(f"can't view {self.name} {self.shape} with strides {self.strides} as {shape}")
        return self._view(shape, contiguous_strides(shape), self.offset)

    def transpose(self, *order: int) -> Tensor:
        """Dimensions in another order; no data moves."""
        if sorted(order) != list(range(len(self.shape))):
            raise ValueError(f"{order} is no permutation of the {len(self.shape)} dimensions of {self.name}")
        return self._view([self.shape[i] for i in order], [self.strides[i] for i in order], self.offset)

    def rows(self, begin: int, end: int) -> Tensor:
        """The slice [begin, end) of the first dimension."""
        if not 0 <= begin < end <= self.shape[0]:
            raise ValueError(f"rows {begin}:{end} are outside {self.name} {self.shape}")
        return self._view((end - begin, *self.shape[1:]), self.strides, self.offset + begin * self.strides[0])

    def broadcast_to(self, *shape: int) -> Tensor:
        """Repeats dimensions of size 1, and adds leading ones, without copying (stride 0)."""
        missing = len(shape) - len(self.shape)
        padded = (1,) * missing + self.shape
        strides = (0,) * missing + self.strides
        if missing < 0 or any(have not in (1, want) for have, want in zip(padded, shape, strict=True)):
            raise ValueError(f"can't broadcast {self.name} {self.shape} to {shape}")
        repeated = [0 if have != want else s for have, want, s in zip(padded, shape, strides, strict=True)]
        return self._view(shape, repeated, self.offset)


@dataclass(frozen=True)
class KernelCall:
    """One dispatch, by names: what `lower` of an operation returns.

    `buffers` maps the kernel's argument names to tensors (None where a function constant leaves one out), `arguments`
    the members of its argument struct to values. `grid` counts threadgroups, `threads` is the size of one.
    `shader_call` takes this call's place where the device runs the shaders themselves: a native kernel of the CPU may
    be fastest behind a form that is not the shaders' fastest.
    """

    kernel: str
    buffers: Mapping[str, Tensor | None]
    arguments: Mapping[str, Any]
    grid: tuple[int, int, int]
    threads: tuple[int, int, int]
    constants: Mapping[str, bool | int | float] = field(default_factory=dict)
    shader_call: KernelCall | None = None


@dataclass(frozen=True)
class Op:
    """An operation: its name, how a node becomes dispatches, and its float64 reference in NumPy."""

    name: str
    lower: Callable[[Node], list[KernelCall]]
    reference: Callable[..., Any]


@dataclass(eq=False, repr=False)
class Node:
    """One use of an operation. Inputs and outputs carry the kernel's argument names."""

    op: Op
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    attributes: dict[str, Any]

    def __repr__(self) -> str:
        return f"<{self.op.name} {self.inputs} -> {self.outputs}>"

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["attributes"][name]
        except KeyError:
            raise AttributeError(f"node {self.__dict__.get('op')} has no attribute {name}") from None


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides of a dense tensor, in elements."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * shape[i + 1]
    return tuple(strides)


class Graph:
    """A forward pass under construction: nodes in order, and the tensors that are its results.

    `parallel_width` says for what kind of device it is meant: how many cores run threadgroups side by side, 1 where
    stages are cheap and a row should stay on one core. Operations choose the form of their kernels by it. Without
    `has_unified_memory` state that the host sees is slow to read. With `reads_bfloats` the kernels that multiply many
    rows round them to bfloat, and may as well read them so: on wide devices all do.
    """

    def __init__(
        self, parallel_width: int = 1, has_unified_memory: bool = True, reads_bfloats: bool | None = None
    ) -> None:
        self.parallel_width = parallel_width
        self.reads_bfloats = parallel_width > 1 if reads_bfloats is None else reads_bfloats
        self.has_unified_memory = has_unified_memory
        self.nodes: list[Node] = []
        self.results: list[Tensor] = []

    def tensor(self, name: str, shape: Sequence[int], dtype: str, storage: Storage) -> Tensor:
        """A new root tensor."""
        return Tensor(self, name, tuple(shape), dtype, storage, contiguous_strides(shape))

    def output(self, name: str, shape: Sequence[int], dtype: str = "f32") -> Tensor:
        """A new activation, to be given to `add_node` as an output."""
        return self.tensor(name, shape, dtype, Storage.ARENA)

    def alias(self, tensor: Tensor) -> Tensor:
        """The value of `tensor` after a node changed it in place; same memory, another producer."""
        view = tensor._view(tensor.shape, tensor.strides, tensor.offset)
        view.base = tensor.root
        return view

    def add_node(self, op: Op, inputs: dict[str, Tensor], outputs: dict[str, Tensor], **attributes: Any) -> Node:
        node = Node(op, inputs, outputs, attributes)
        for tensor in outputs.values():
            tensor.own_producer = node
        self.nodes.append(node)
        return node
