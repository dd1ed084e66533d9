"""A graph with named float32 inputs that can be run on the device and evaluated with NumPy in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from fastgo.engine.devices import open_device
from fastgo.graph.dag import Graph, Storage, Tensor
from fastgo.graph.lower import Lowering, Memory

Array = npt.NDArray[Any]


class GraphBench:
    """`tensors` are the inputs; build on them with the operations' functions, then `run` or `evaluate` results."""

    def __init__(self, inputs: Mapping[str, Array]) -> None:
        self.device = open_device()
        self.graph = Graph()
        self.arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in inputs.items()}
        self.tensors = {
            name: self.graph.tensor(name, array.shape, "f32", Storage.WEIGHT if name.startswith("w") else Storage.STATE)
            for name, array in self.arrays.items()
        }
        self._memory = {tensor: self._upload(name, self.arrays[name]) for name, tensor in self.tensors.items()}

    def _upload(self, name: str, array: Array) -> Memory:
        buffer = self.device.buffer(array.nbytes, name)
        np.frombuffer(buffer, np.float32, array.size)[:] = array.ravel()
        return Memory(buffer, 0, array.nbytes)

    def lower(self) -> Lowering:
        return Lowering(self.device, self.graph, self._memory.__getitem__)

    def run(self, *, indirect: bool = True) -> list[Array]:
        """The values of the graph's results; what is left over in the arena from before is NaN."""
        lowering = self.lower()
        program = lowering.record("test", indirect=indirect)
        for node in self.graph.nodes:
            for tensor in node.outputs.values():
                if tensor.root.storage is Storage.ARENA:
                    memory = lowering.memory(tensor)
                    self.device.fill(memory.buffer, memory.offset, memory.nbytes, 0xFF).wait()
        self.device.submit([program]).wait()
        return [self._read(lowering.memory(tensor), tensor) for tensor in self.graph.results]

    def _read(self, memory: Memory, tensor: Tensor) -> Array:
        staging = self.device.buffer(memory.nbytes, "read back")
        self.device.copy(memory.buffer, memory.offset, staging, 0, memory.nbytes).wait()
        return view_of(np.frombuffer(staging, np.float32, tensor.root.size), tensor).copy()

    def evaluate(self) -> list[Array]:
        """What the graph as it stands means: every node's reference, each value in memory of its own."""
        values = {self.tensors[name]: array.ravel().astype(np.float64) for name, array in self.arrays.items()}
        for node in self.graph.nodes:
            inputs = {name: view_of(values[tensor.root], tensor) for name, tensor in node.inputs.items()}
            found = node.op.reference(**inputs, **node.attributes)
            for tensor, value in zip(
                node.outputs.values(), found if isinstance(found, tuple) else (found,), strict=True
            ):
                values[tensor.root] = value.ravel()
        return [view_of(values[tensor.root], tensor) for tensor in self.graph.results]


def view_of(root: Array, tensor: Tensor) -> Array:
    """The elements of `tensor` in the flat values of its root."""
    strides = [stride * root.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(root[tensor.offset :], tensor.shape, strides)
