"""From nodes to a recorded device program: memory, argument structs, and barriers where memory says so.

A dispatch starts a new stage when it touches bytes that an earlier dispatch of the stage writes, or writes bytes that
one reads. Everything else in a stage may overlap on the device.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from fastgo import _fastmetal, switches
from fastgo.graph.dag import Graph, KernelCall, Node, Storage, Tensor
from fastgo.graph.plan import plan_arena

CPU_DEVICE = "softmetal CPU"  # how the name of softmetal's CPU device begins
_STRUCT_CODES = {"uint": "I", "int": "i", "float": "f", "ulong": "Q", "long": "q"}


@dataclass(frozen=True)
class Memory:
    """Where a tensor's root lives: a device buffer, the byte offset in it, and how many bytes belong to the tensor."""

    buffer: _fastmetal.Buffer
    offset: int
    nbytes: int


@cache
def _reflection(kernel: str) -> dict[str, Any]:
    return _fastmetal.kernel(kernel)


def pack_arguments(kernel: str, values: Mapping[str, Any]) -> bytes:
    """The bytes of a kernel's argument struct (its buffer 0). Raises ValueError when names or lengths don't agree."""
    argument = next(a for a in _reflection(kernel)["arguments"] if a["index"] == 0 and a["is_buffer"])
    fields = {f["name"]: f for f in argument["fields"]}
    if fields.keys() != values.keys():
        raise ValueError(f"{kernel} takes arguments {sorted(fields)}, got {sorted(values)}")
    packed = bytearray(argument["size"])
    for name, member in fields.items():
        value = values[name] if member["count"] > 1 else (values[name],)
        if len(value) != member["count"]:
            raise ValueError(f"{kernel}: argument {name} has {member['count']} elements, got {len(value)}")
        struct.pack_into(f"<{member['count']}{_STRUCT_CODES[member['type']]}", packed, member["offset"], *value)
    return bytes(packed)


def _buffer_arguments(kernel: str) -> list[dict[str, Any]]:
    """Reflection of the buffers behind the argument struct."""
    return [a for a in _reflection(kernel)["arguments"] if a["is_buffer"] and a["index"] > 0]


def _runs_shaders(device: _fastmetal.Device) -> bool:
    """Whether the device runs the shaders themselves, not native kernels in the place of some."""
    is_cpu = str(device.info["name"]).startswith(CPU_DEVICE)
    return not is_cpu or switches.value("FASTGO_CPU_KERNELS") == "msl"


def _check_buffers(call: KernelCall) -> None:
    names = sorted(a["name"] for a in _buffer_arguments(call.kernel))
    if names != sorted(call.buffers):
        raise ValueError(f"{call.kernel} takes buffers {names}, got {sorted(call.buffers)}")


class _Hazards:
    """Byte ranges touched since the last barrier, by buffer."""

    def __init__(self) -> None:
        self._touched: list[tuple[object, int, int, bool]] = []

    def conflict(self, accesses: list[tuple[object, int, int, bool]]) -> bool:
        return any(
            (writes or wrote) and key is other and begin < other_end and other_begin < end
            for key, begin, end, writes in accesses
            for other, other_begin, other_end, wrote in self._touched
        )

    def clear(self) -> None:
        self._touched.clear()

    def add(self, accesses: list[tuple[object, int, int, bool]]) -> None:
        # Weights are never written, so they can't conflict.
        self._touched.extend(accesses)


class Lowering:
    """Lowers one graph onto one device.

    `resolve` gives the memory of a weight or state tensor. The arena is allocated here and lives as long as the
    program that uses it.
    """

    def __init__(self, device: _fastmetal.Device, graph: Graph, resolve: Callable[[Tensor], Memory]) -> None:
        self._device = device
        self._runs_shaders = _runs_shaders(device)
        self._graph = graph
        self._resolve = resolve
        plan = plan_arena(graph, device.heap_alignment)
        self.arena_nbytes = plan.nbytes
        heap = device.heap(plan.nbytes, "arena", device.info["has_unified_memory"])
        # The heap itself is the key of hazards: placed buffers overlap where the plan reuses memory.
        self._heap = heap
        self._offsets = plan.offsets
        self._placed = {
            root: heap.place(offset, root.nbytes, root.name) for root, offset in plan.offsets.items()
        }  # fmt: skip

    def memory(self, tensor: Tensor) -> Memory:
        """Memory of a tensor's root."""
        root = tensor.root
        if root.storage is Storage.ARENA:
            return Memory(self._placed[root], 0, root.nbytes)
        return self._resolve(root)

    def calls(self, node: Node) -> list[KernelCall]:
        """The node's dispatches, in the forms that this device is to run."""
        calls = node.op.lower(node)
        return [call.shader_call or call for call in calls] if self._runs_shaders else calls

    def record(self, label: str, *, indirect: bool = True) -> _fastmetal.Program:
        """Records the graph's dispatches, with a barrier wherever memory is handed on."""
        program = self._device.program(label, indirect)
        hazards = _Hazards()
        for node in self._graph.nodes:
            for call in self.calls(node):
                _check_buffers(call)
                accesses = self._accesses(call)
                if hazards.conflict(accesses):
                    program.barrier()
                    hazards.clear()
                hazards.add(accesses)
                self._dispatch(program, call)
        program.finish()
        return program

    def _accesses(self, call: KernelCall) -> list[tuple[object, int, int, bool]]:
        writes = {a["name"]: a["writes"] for a in _reflection(call.kernel)["arguments"]}
        accesses: list[tuple[object, int, int, bool]] = []
        for name, tensor in call.buffers.items():
            if tensor is None or tensor.root.storage is Storage.WEIGHT:
                continue
            root = tensor.root
            begin = tensor.offset_nbytes
            # As Metal's validation sees it: a buffer from the offset on, for it can't know how far a kernel goes.
            end = root.nbytes
            if root.storage is Storage.ARENA:
                base = self._offsets[root]
                accesses.append((self._heap, base + begin, base + end, writes[name]))
            else:
                memory = self._resolve(root)
                accesses.append((memory.buffer, memory.offset + begin, memory.offset + end, writes[name]))
        return accesses

    def _dispatch(self, program: _fastmetal.Program, call: KernelCall) -> None:
        arguments = _buffer_arguments(call.kernel)
        bindings: list[tuple[_fastmetal.Buffer, int] | None] = [None] * (1 + max(a["index"] for a in arguments))
        for argument in arguments:
            tensor = call.buffers[argument["name"]]
            if tensor is not None:
                memory = self.memory(tensor)
                offset = 0 if tensor.offset == 0 else tensor.offset_nbytes
                bindings[argument["index"]] = (memory.buffer, memory.offset + offset)
        pipeline = self._device.pipeline(call.kernel, dict(call.constants))
        program.dispatch(pipeline, bindings, pack_arguments(call.kernel, call.arguments), call.grid, call.threads)
