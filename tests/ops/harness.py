"""Runs one operation on the device: a graph of one node, lowered and recorded as the engine does it.

The arena is filled with NaN before the run, so that an element that no thread writes shows; guards lie behind all
tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
from bfloats import from_bfloat
from builders import BUILDERS, Attributes
from fastgo.assets import quant
from fastgo.engine.devices import open_device, parallel_width
from fastgo.graph.dag import Graph, Storage, Tensor
from fastgo.graph.lower import Memory
from fastgo.ops import vector_tuning
from fastgo.ops.vector_cuts import Cut
from guarded_arena import GuardedArena

Array = npt.NDArray[Any]
_GUARD, _GUARD_BYTES = 0xA5, 256  # what lies behind every input and state tensor, and must stay

# Of our own formats, which share two kernels: each kernel with and without zero points, each size of group.
OWN_FORMATS = ("int8_channel", "int8_g64_zero", "int4_channel_zero", "int4_g32", "int4_g128_zero")

# NumPy has no bfloat16: its bits are given and returned as uint16.
_DTYPES = {"float32": "f32", "float16": "f16", "uint16": "bf16", "int32": "i32", "uint32": "u32", "uint8": "u8"}
_NUMPY_DTYPES = {name: np.dtype(numpy_name) for numpy_name, name in _DTYPES.items()}


@dataclass(frozen=True)
class Weight:
    """A matrix, or a stack of them, in a format of assets/quant.py, as its planar bytes."""

    format: str
    shape: tuple[int, ...]
    planar: npt.NDArray[np.uint8]

    def dense(self) -> npt.NDArray[np.float64]:
        rows, columns = quant.matrix_shape(self.shape)
        return quant.dequantize(self.format, self.planar, rows, columns).astype(np.float64).reshape(self.shape)


@dataclass(frozen=True)
class Int8Cache:
    """Keys or values (num_sequences, kv_heads, capacity, head_dim) int8, and the rows' scales, float16."""

    elements: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float16]


@dataclass(frozen=True)
class Int4Cache:
    """Keys or values (num_sequences, kv_heads, capacity, head_dim) from -7 to 7, and the groups' scales, float16."""

    elements: npt.NDArray[np.int8]
    scales: npt.NDArray[np.float16]

    def packed(self) -> npt.NDArray[np.uint8]:
        pairs = (self.elements.reshape(-1, 2) + 8).astype(np.uint8)
        return pairs[:, 0] | pairs[:, 1] << np.uint8(4)

    @staticmethod
    def unpacked(content: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> Int4Cache:
        nbytes = math.prod(shape) // 2
        nibbles = np.stack([content[:nbytes] & 15, content[:nbytes] >> 4], axis=-1).astype(np.int8) - 8
        scales = content[nbytes:].copy().view(np.float16)
        return Int4Cache(nibbles.reshape(shape), scales.reshape(*shape[:-1], -1))


Input = Array | Weight | Int8Cache | Int4Cache


class Bench:
    """A graph whose inputs are given as arrays. `tensors` may be viewed before they are used by an operation."""

    def __init__(self, inputs: Mapping[str, Input], width: int | None = None) -> None:
        self.device = open_device()
        self.graph = Graph(width or parallel_width(self.device.info))
        self.tensors: dict[str, Tensor] = {}
        self._memory: dict[Tensor, Memory] = {}
        self._outputs: dict[str, tuple[Memory, Tensor]] = {}
        for name, value in inputs.items():
            self._add(name, value)

    def _add(self, name: str, value: Input) -> None:
        if isinstance(value, Weight):
            tensor = self.graph.tensor(name, value.shape, value.format, Storage.WEIGHT)
            content = value.planar
        elif isinstance(value, Int8Cache):
            tensor = self.graph.tensor(name, value.elements.shape, "int8", Storage.STATE)
            content = np.concatenate([part.reshape(-1).view(np.uint8) for part in (value.elements, value.scales)])
        elif isinstance(value, Int4Cache):
            tensor = self.graph.tensor(name, value.elements.shape, "int4", Storage.STATE)
            content = np.concatenate([value.packed(), value.scales.reshape(-1).view(np.uint8)])
        else:
            tensor = self.graph.tensor(name, value.shape, _DTYPES[value.dtype.name], Storage.STATE)
            content = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        buffer = self.device.buffer(content.size + _GUARD_BYTES, name)
        np.frombuffer(buffer, np.uint8, content.size)[:] = content
        np.frombuffer(buffer, np.uint8, _GUARD_BYTES, content.size)[:] = _GUARD
        self.tensors[name] = tensor
        self._memory[tensor] = Memory(buffer, 0, content.size)

    def map_weights(self, folder: Path) -> None:
        """Puts the weights, with their guards, into files of a folder and maps them, as a model's are."""
        for tensor in (t for t in self.tensors.values() if t.storage is Storage.WEIGHT):
            memory, path = self._memory[tensor], folder / tensor.name
            path.write_bytes(memoryview(memory.buffer))
            self._memory[tensor] = Memory(self.device.map_file(str(path)), 0, memory.nbytes)

    def write(self, name: str, value: Array) -> None:
        """New content of an input."""
        memory = self._memory[self.tensors[name]]
        np.frombuffer(memory.buffer, value.dtype, value.size)[:] = value.reshape(-1)

    def prepare(self, outputs: Mapping[str, Tensor], *, indirect: bool = True) -> None:
        """Records the graph; `run` may then be called many times."""
        self.graph.results.extend(t for t in outputs.values() if t.root.storage is Storage.ARENA)
        self._arena = GuardedArena(self.device, self.graph, self._memory.__getitem__)
        lowering = self._arena.lowering
        self.program = lowering.record("test", indirect=indirect)
        self._outputs = {name: (lowering.memory(tensor), tensor) for name, tensor in outputs.items()}

    def run(self) -> dict[str, Any]:
        """Runs the graph once; the outputs' values by name."""
        self.device.submit([self.program]).wait()
        for tensor, memory in self._memory.items():
            guard = np.frombuffer(memory.buffer, np.uint8, _GUARD_BYTES, memory.nbytes)
            assert (guard == _GUARD).all(), f"something was written beyond the end of {tensor.name}"
        self._arena.check()
        return {name: self._read(memory, tensor) for name, (memory, tensor) in self._outputs.items()}

    def _read(self, memory: Memory, tensor: Tensor) -> Array | Int8Cache | Int4Cache:
        staging = self.device.buffer(memory.nbytes, "read back")
        self.device.copy(memory.buffer, memory.offset, staging, 0, memory.nbytes).wait()
        if tensor.dtype == "int8":
            elements = np.frombuffer(staging, np.int8, tensor.size).reshape(tensor.shape)
            scales = np.frombuffer(staging, np.float16, offset=tensor.size).reshape(tensor.shape[:-1])
            return Int8Cache(elements.copy(), scales.copy())
        if tensor.dtype == "int4":
            return Int4Cache.unpacked(np.frombuffer(staging, np.uint8, memory.nbytes), tensor.shape)
        dtype = _NUMPY_DTYPES[tensor.dtype]
        return np.frombuffer(staging, dtype, tensor.root.size).reshape(tensor.root.shape).copy()


def run(op: str, inputs: Mapping[str, Input], attributes: Attributes) -> dict[str, Any]:
    """The outputs of one operation, by the kernel's names; an array that is updated in place is an input too."""
    return prepared(op, inputs, attributes).run()


def run_wide(op: str, inputs: Mapping[str, Input], attributes: Attributes, width: int = 132) -> dict[str, Any]:
    """`run` with the kernels that a GPU of `width` cores gets."""
    bench = Bench(inputs, width)
    bench.prepare(BUILDERS[op](bench.graph, bench.tensors, attributes))
    return bench.run()


def run_wide_cut(op: str, inputs: Mapping[str, Input], attributes: Attributes, cut: Cut | None) -> dict[str, Any]:
    """`run_wide` with one-row products cut up in this way, as if it was measured to be best; None: as they are."""
    if cut is None:
        return run_wide(op, inputs, attributes)
    with mock.patch.object(vector_tuning, "cut", return_value=cut) as asked:
        results = run_wide(op, inputs, attributes)
    asked.assert_called()
    return results


def run_wide_to_bfloat(op: str, inputs: Mapping[str, Input], attributes: Attributes) -> dict[str, Any]:
    """`run_wide` as if the pass `bfloat_inputs` had found that y is for products of many rows: bfloat16."""
    return run_to_bfloat(op, inputs, attributes, 132)


def run_to_bfloat(
    op: str, inputs: Mapping[str, Input], attributes: Attributes, width: int | None = None
) -> dict[str, Any]:
    """The same with the device's own width."""
    bench = Bench(inputs, width)
    outputs = BUILDERS[op](bench.graph, bench.tensors, attributes)
    outputs["y"].dtype = "bf16"
    bench.prepare(outputs)
    results = bench.run()
    return {**results, "y": from_bfloat(results["y"])}


def prepared(op: str, inputs: Mapping[str, Input], attributes: Attributes, folder: Path | None = None) -> Bench:
    """A bench with one operation, ready to run; with a `folder`, weights are mapped from files in it."""
    bench = Bench(inputs)
    if folder is not None:
        bench.map_weights(folder)
    bench.prepare(BUILDERS[op](bench.graph, bench.tensors, attributes))
    return bench


@cache
def random_weight(format: str, rows: int, columns: int, seed: int = 0) -> Weight:
    """Any integers, scales of either sign and some of them zero, about as large as a model's."""
    rng = np.random.default_rng([seed, rows, columns, *format.encode()])
    planar = np.zeros(quant.total_nbytes(format, rows, columns), np.uint8)
    for role, plane in quant.plane_views(format, planar, rows, columns).items():
        if format == "bf16":
            plane[...] = rng.normal(0.0, 0.1, plane.shape).astype(np.float32).view(np.uint32) >> 16
        elif role == "low" and plane.dtype.kind == "f":
            plane[...] = rng.normal(0.0, 0.1, plane.shape)
        elif plane.dtype == np.float16:
            plane[...] = rng.uniform(-0.02, 0.02, plane.shape) * (rng.random(plane.shape) > 0.1)
        elif plane.dtype == np.uint8 and role != "low":
            plane[...] = rng.integers(0, 64, plane.shape)
        else:
            bounds = np.iinfo(plane.dtype)
            plane[...] = rng.integers(bounds.min, bounds.max, plane.shape, endpoint=True)
    return Weight(format, (rows, columns), planar)


def random_rows(seed: int, *shape: int) -> npt.NDArray[np.float32]:
    """Activations: normal, one element of the first row large, a stretch of the last row zero."""
    rng = np.random.default_rng([seed, *shape])
    values = rng.normal(0.0, 1.0, shape).astype(np.float32)
    flat = values.reshape(-1, shape[-1])
    flat[0, shape[-1] // 3] = 30.0
    flat[-1, shape[-1] // 2 : shape[-1] // 2 + 32] = 0.0
    return values


def error(got: Array, want: Array, scale: Array | None = None) -> float:
    """The largest difference over the larger of the element and its row's root mean square; inf for what isn't finite.

    `scale`: values whose size stands for `want`'s, where those may cancel.
    """
    if got.shape != want.shape or not np.isfinite(got).all():
        return float("inf")
    size = np.abs(want if scale is None else scale)
    row = np.sqrt(np.mean(np.square(size), axis=-1, keepdims=True))
    return float(np.max(np.abs(got.astype(np.float64) - want) / np.maximum(np.maximum(size, row), 1e-30)))


def product_scale(x: Array, weight: Array) -> Array:
    """How large x weightᵀ would be if its products had random signs: what their rounding is to be measured by."""
    return np.asarray(np.sqrt(np.square(x) @ np.square(weight).T))
