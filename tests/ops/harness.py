"""Runs one operation on the device: a graph of one node, lowered and recorded as the engine does it.

The arena is filled with NaN before the run, so that an element that no thread writes shows; guards lie behind all
tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from bfloats import from_bfloat
from fastgo.assets import quant
from fastgo.engine.devices import open_device, parallel_width
from fastgo.graph.dag import Graph, Storage, Tensor
from fastgo.graph.lower import Memory
from fastgo.graph.passes import PASSES
from fastgo.ops import batch_matmul
from fastgo.ops.add import add
from fastgo.ops.add_rms_norm import ADD_RMS_NORM
from fastgo.ops.adjust_logits import adjust_logits
from fastgo.ops.attention import attention
from fastgo.ops.attention_split import attention_split
from fastgo.ops.bias_add import bias_add
from fastgo.ops.cast import cast
from fastgo.ops.combine_matmul import COMBINE_MATMUL
from fastgo.ops.copy import copy
from fastgo.ops.dropout import dropout
from fastgo.ops.embed import embed
from fastgo.ops.glu import glu
from fastgo.ops.layer_norm import layer_norm
from fastgo.ops.log_probabilities import log_probabilities
from fastgo.ops.matmul import matmul
from fastgo.ops.matmul_glu import MATMUL_GLU
from fastgo.ops.matmul_group import MATMUL_GROUP
from fastgo.ops.moe_combine import moe_combine
from fastgo.ops.moe_group import moe_group
from fastgo.ops.moe_matmul import moe_matmul
from fastgo.ops.moe_route import Routing, moe_route
from fastgo.ops.norm_matmul_glu import NORM_MATMUL_GLU
from fastgo.ops.norm_matmul_group import NORM_MATMUL_GROUP
from fastgo.ops.rms_norm import rms_norm
from fastgo.ops.rope_attention import ROPE_ATTENTION, split_outputs
from fastgo.ops.rope_cache import rope_cache
from fastgo.ops.sample import sample
from fastgo.ops.sandwich_norm import SANDWICH_NORM
from fastgo.ops.scatter_rows import scatter_rows
from fastgo.ops.soft_cap import soft_cap
from fastgo.ops.transpose_2d import transpose_2d
from guarded_arena import GuardedArena

Array = npt.NDArray[Any]
_GUARD, _GUARD_BYTES = 0xA5, 256  # what lies behind every input and state tensor, and must stay
Tensors = Mapping[str, Tensor]
Attributes = Mapping[str, Any]

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


def _in_place_norm(op: Any, graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    outputs = {"x": graph.alias(t["x"]), "y": graph.output("y", t["x"].shape)}
    graph.add_node(op, dict(t), outputs, **attributes)
    return outputs


def _matmul_glu(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    """The fused node itself; for a few rows of a wide device the pass makes it."""
    outputs = {"y": graph.output("y", (t["x"].shape[0], t["gate"].shape[0]))}
    if batch_matmul.suits(t["x"].shape[0], t["gate"]):
        outputs = {"y": glu(matmul(t["x"], t["gate"]), matmul(t["x"], t["up"]), **attributes)}
        graph.results.append(outputs["y"])
        assert PASSES["matmul_glu"](graph) == 1
    else:
        graph.add_node(MATMUL_GLU, dict(t), outputs, **attributes)
    return outputs


def _matmul_group(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    names = ("first", "second", "third")
    outputs = {f"y_{name}": graph.output(name, (t["x"].shape[0], t[name].shape[0])) for name in names}
    graph.add_node(MATMUL_GROUP, dict(t), outputs)
    return outputs


def _matmul_split(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    y = matmul(**t, **attributes)
    graph.results.append(y)
    assert PASSES["matmul_split"](graph) == 1
    return {"y": y}


def _combine_matmul(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    outputs = {"y": graph.output("y", (1, t["weight"].shape[0]))}
    graph.add_node(COMBINE_MATMUL, dict(t), outputs, **attributes)
    return outputs


def _norm_matmul(
    op: Any, weights: Sequence[str], graph: Graph, t: Tensors, attributes: Attributes
) -> dict[str, Tensor]:
    """A product of the norm for each of `weights`, outputs' names and weights' names paired with a colon."""
    outputs = {"stream": graph.output("stream", t["x"].shape)} if "branch" in t else {}
    for pair in weights:
        output, _, weight = pair.partition(":")
        outputs[output] = graph.output(output, (1, t[weight].shape[0]))
    graph.add_node(op, dict(t), outputs, **attributes)
    return outputs


def _moe_route(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    """All that routing gives, grouped or not."""
    routing = moe_route(t["logits"], **attributes)
    outputs = {"experts": routing.experts, "weights": routing.weights}
    if routing.order is not None and routing.tiles is not None:
        outputs |= {"order": routing.order, "tiles": routing.tiles}
    return outputs


def _moe_matmul(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    """With `experts` given; grouped if the attribute says so. With weights `gate` and `up`, their fused form."""
    num_experts = attributes["num_experts"]
    groups = moe_group(t["experts"], num_experts) if attributes["grouped"] else ()
    routing = Routing(t["experts"], t["experts"], num_experts, *groups)
    if "weight" in t:
        return {"y": moe_matmul(t["x"], t["weight"], routing)}
    gate, up = moe_matmul(t["x"], t["gate"], routing), moe_matmul(t["x"], t["up"], routing)
    outputs = {"y": glu(gate, up, activation=attributes["activation"])}
    graph.results.append(outputs["y"])
    assert PASSES["matmul_glu"](graph) == 1
    return outputs


def _rope_cache(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    q_out, k_cache, v_cache = rope_cache(**t, **attributes)
    return {"q_out": q_out, "k_cache": k_cache, "v_cache": v_cache}


def _rope_attention(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    caches = {name: graph.alias(t[name]) for name in ("k_cache", "v_cache")}
    _, _, capacity, head_dim = t["k_cache"].shape
    span = min(capacity, attributes["window"] or capacity)
    parts = split_outputs(graph, t["q"].shape[1] // head_dim, head_dim, span)
    outputs = {**caches, "y": graph.output("y", t["q"].shape), **parts}
    inputs = {name: tensor for name, tensor in t.items() if name not in caches}
    graph.add_node(ROPE_ATTENTION, inputs, outputs, **attributes)
    return outputs


def _log_probabilities(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    log_probabilities(**t)
    return {name: t[name] for name in ("values", "likely")}


def _sample(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    sample(**t)
    return {name: t[name] for name in ("token", "next_position", "history")}


_BUILDERS: Mapping[str, Callable[[Graph, Tensors, Attributes], dict[str, Tensor]]] = {
    "add": lambda _, t, a: {"y": add(**t)},
    "add_rms_norm": lambda graph, t, a: _in_place_norm(ADD_RMS_NORM, graph, t, a),
    "adjust_logits": lambda _, t, a: dict(zip(("y", "seen"), adjust_logits(**t), strict=True)),
    "attention": lambda _, t, a: {"y": attention(**t, **a)},
    "attention_split": lambda _, t, a: dict(zip(("y", "log_sum_exp"), attention_split(**t, **a), strict=True)),
    "bias_add": lambda _, t, a: {"y": bias_add(**t)},
    "cast": lambda _, t, a: {"y": cast(**t, **a)},
    "dropout": lambda _, t, a: {"y": dropout(**t, **a)},
    "layer_norm": lambda _, t, a: {"y": layer_norm(**t, **a)},
    "log_probabilities": _log_probabilities,
    "scatter_rows": lambda _, t, a: {"y": scatter_rows(**t)},
    "soft_cap": lambda _, t, a: {"y": soft_cap(**t, **a)},
    "transpose_2d": lambda _, t, a: {"y": transpose_2d(**t)},
    "combine_matmul": _combine_matmul,
    "copy": lambda _, t, a: {"y": copy(**t)},
    "embed": lambda _, t, a: {"y": embed(**t, **a)},
    "glu": lambda _, t, a: {"y": glu(**t, **a)},
    "matmul": lambda _, t, a: {"y": matmul(**t, **a)},
    "matmul_glu": _matmul_glu,
    "matmul_group": _matmul_group,
    "matmul_split": _matmul_split,
    "moe_combine": lambda _, t, a: {"y": moe_combine(t["x"], Routing(t["weights"], t["weights"], 0))},
    "moe_matmul": _moe_matmul,
    "moe_route": _moe_route,
    "norm_matmul_glu": lambda graph, t, a: _norm_matmul(NORM_MATMUL_GLU, ["y:gate"], graph, t, a),
    "norm_matmul_group": lambda graph, t, a: _norm_matmul(
        NORM_MATMUL_GROUP, ["y_first:first", "y_second:second", "y_third:third"], graph, t, a
    ),
    "rms_norm": lambda _, t, a: {"y": rms_norm(**t, **a)},
    "rope_attention": _rope_attention,
    "rope_cache": _rope_cache,
    "sample": _sample,
    "sandwich_norm": lambda graph, t, a: _in_place_norm(SANDWICH_NORM, graph, t, a),
}


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
    bench.prepare(_BUILDERS[op](bench.graph, bench.tensors, attributes))
    return bench.run()


def run_wide_to_bfloat(op: str, inputs: Mapping[str, Input], attributes: Attributes) -> dict[str, Any]:
    """`run_wide` as if the pass `bfloat_inputs` had found that y is for products of many rows: bfloat16."""
    return run_to_bfloat(op, inputs, attributes, 132)


def run_to_bfloat(
    op: str, inputs: Mapping[str, Input], attributes: Attributes, width: int | None = None
) -> dict[str, Any]:
    """The same with the device's own width."""
    bench = Bench(inputs, width)
    outputs = _BUILDERS[op](bench.graph, bench.tensors, attributes)
    outputs["y"].dtype = "bf16"
    bench.prepare(outputs)
    results = bench.run()
    return {**results, "y": from_bfloat(results["y"])}


def prepared(op: str, inputs: Mapping[str, Input], attributes: Attributes, folder: Path | None = None) -> Bench:
    """A bench with one operation, ready to run; with a `folder`, weights are mapped from files in it."""
    bench = Bench(inputs)
    if folder is not None:
        bench.map_weights(folder)
    bench.prepare(_BUILDERS[op](bench.graph, bench.tensors, attributes))
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
