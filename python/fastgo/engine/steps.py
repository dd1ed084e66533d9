"""Recorded programs of a session: one forward pass over a number of rows, with what is wanted from it.

Owns the graphs' path from the architecture through the passes to a program; the session owns when they run.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from fastgo import _fastmetal
from fastgo.engine.adjustments import Adjustments
from fastgo.engine.engine import Engine
from fastgo.engine.exact_head import MOST_WANTED
from fastgo.engine.kv_cache import KvCache
from fastgo.engine.pass_graph import MAX_ROWS, add_forward_pass, fuse, graph_for
from fastgo.engine.sampling import Sampling
from fastgo.errors import DeviceError
from fastgo.graph.dag import Graph, Storage, Tensor
from fastgo.graph.lower import Lowering, Memory
from fastgo.models.forward import Product
from fastgo.ops.adjust_logits import PENALTY_WORDS, adjust_logits
from fastgo.ops.log_probabilities import MOST_LIKELY, log_probabilities
from fastgo.ops.matmul import matmul
from fastgo.ops.sample import PARAMETER_WORDS, sample

_KEPT_STEPS = 6  # recorded passes of other sizes than those in use


class Output(Enum):
    """What a pass leaves behind besides the keys and values of its rows."""

    NOTHING = "nothing"
    LAST_LOGITS = "last_logits"
    ALL_LOGITS = "all_logits"
    ALL_STATES = "all_states"  # what the output matrix would be multiplied with
    NEXT_TOKEN = "next_token"  # sampled from the last row
    NEXT_TOKENS = "next_tokens"  # sampled from every row


@dataclass(frozen=True)
class Extras:
    """What is recorded into passes that sample, beyond the plain draw, because some sequence asks for it.

    `needs_few_logits`: the only sequence is drawn from at most MOST_WANTED of its largest logits.
    """

    adjusts: bool = False  # penalties, bias
    logprobs: bool = False
    needs_few_logits: bool = False


@dataclass(frozen=True)
class LogProbabilities:
    """Natural logarithms: of the token drawn, and of the likeliest ones, (id, value) by falling value."""

    token: float
    likely: tuple[tuple[int, float], ...]


class State:
    """Small host-visible buffers that passes of a session read and write; int32 but for the sampling parameters.

    `tokens`, `positions` and `sequences` (MAX_ROWS,) are a pass's input; a sampled token and its position go
    to their first element, so that decode feeds itself (of every row, to the row's own). `history` (num_sequences,
    max_positions) holds the token sampled after each position; `parameters` (num_sequences, PARAMETER_WORDS); `wanted`
    (1,) is how many logits the only sequence needs. What `extras` need is there once `expect` was told.
    """

    def __init__(self, device: _fastmetal.Device, max_positions: int, num_sequences: int = 1) -> None:
        self.extras = Extras()
        self._device = device
        self._num_sequences = num_sequences
        self._adjustments: Adjustments | None = None
        self.buffers = {
            "tokens": device.buffer(MAX_ROWS * 4, "tokens"),
            "positions": device.buffer(MAX_ROWS * 4, "positions"),
            "sequences": device.buffer(MAX_ROWS * 4, "sequences"),
            "history": device.buffer(num_sequences * max_positions * 4, "history"),
            "parameters": device.buffer(num_sequences * PARAMETER_WORDS * 4, "sampling parameters"),
            "wanted": device.buffer(4, "wanted logits"),
        }
        self.tokens = np.frombuffer(memoryview(self.buffers["tokens"]), np.int32)
        self.positions = np.frombuffer(memoryview(self.buffers["positions"]), np.int32)
        self.sequences = np.frombuffer(memoryview(self.buffers["sequences"]), np.int32)
        self.sequences[:] = 0
        self.history = np.frombuffer(memoryview(self.buffers["history"]), np.int32).reshape(num_sequences, -1)

    def expect(self, samplings: Iterable[Sampling], vocab_size: int) -> None:
        """Prepares for sequences with these samplings together. Raises UsageError for a bias outside the vocabulary."""
        samplings = list(samplings)
        for sampling in samplings:
            sampling.check_vocabulary(vocab_size)
        adjusts, logprobs = any(s.adjusts for s in samplings), any(s.logprobs is not None for s in samplings)
        is_narrow = self._num_sequences == 1 and all(1 <= s.wanted_logits <= MOST_WANTED for s in samplings)
        self.extras = Extras(adjusts, logprobs, is_narrow and not adjusts and not logprobs)
        if self.extras.adjusts and self._adjustments is None:
            self._adjustments = Adjustments(self._device, vocab_size, self._num_sequences)
            self.buffers |= self._adjustments.buffers
        if self.extras.logprobs and "likely" not in self.buffers:
            rows = self._num_sequences
            self.buffers["logprobs"] = self._device.buffer(rows * (1 + MOST_LIKELY) * 4, "log-probabilities")
            self.buffers["likely"] = self._device.buffer(rows * MOST_LIKELY * 4, "likely tokens")

    def set_sampling(self, sampling: Sampling, prompt: Sequence[int] = (), sequence: int = 0) -> None:
        """Sets how the tokens are drawn that follow `prompt` in a sequence; only while nothing runs, after `expect`."""
        parameters = np.frombuffer(memoryview(self.buffers["parameters"]), np.uint32).reshape(-1, PARAMETER_WORDS)
        parameters[sequence] = np.frombuffer(sampling.pack(), np.uint32)
        if self.extras.needs_few_logits:
            np.frombuffer(memoryview(self.buffers["wanted"]), np.uint32)[0] = sampling.wanted_logits
        if self.extras.adjusts and self._adjustments is not None:
            self._adjustments.set(sampling, prompt, sequence)

    def drawn(self, position: int, sequence: int = 0) -> int:
        """The token that was sampled after `position`. Raises DeviceError if no logit was finite."""
        token = int(self.history[sequence, position])
        if token < 0:
            raise DeviceError("the model gave no finite logits", hint="`fastgo verify` checks the weights")
        return token

    def log_probabilities(self, sampling: Sampling, row: int = 0) -> LogProbabilities | None:
        """Of the token that row `row` of the latest pass drew, as many as asked for; only while nothing runs."""
        if sampling.logprobs is None:
            return None
        values = np.frombuffer(memoryview(self.buffers["logprobs"]), np.float32).reshape(-1, 1 + MOST_LIKELY)[row]
        likely = np.frombuffer(memoryview(self.buffers["likely"]), np.int32).reshape(-1, MOST_LIKELY)[row]
        pairs = zip(likely[: sampling.logprobs].tolist(), values[1:].tolist(), strict=False)
        return LogProbabilities(float(values[0]), tuple((token, value) for token, value in pairs if token >= 0))


@dataclass(frozen=True)
class Step:
    """A recorded pass. `logits` is where they are left, None if the pass leaves none."""

    program: _fastmetal.Program
    logits: Memory | None
    arena_nbytes: int


class StepBuilder:
    """Builds steps for one session's state and cache."""

    def __init__(self, engine: Engine, state: State, cache: KvCache) -> None:
        self._engine = engine
        self._cache = cache
        self._state = state
        self._steps: OrderedDict[tuple[int, Output, Extras], Step] = OrderedDict()
        self._memory = {"rope": Memory(engine.rope, 0, engine.rope.nbytes)}
        if engine.local_rope is not None:
            self._memory["local_rope"] = Memory(engine.local_rope, 0, engine.local_rope.nbytes)
        if engine.exact_head is not None:
            self._memory |= engine.exact_head.memory
        for layer, (keys, values) in enumerate(cache.buffers):
            self._memory[f"keys {layer}"] = Memory(keys, 0, keys.nbytes)
            self._memory[f"values {layer}"] = Memory(values, 0, values.nbytes)

    def graph(self, rows: int, output: Output) -> Graph:
        """The fused graph of a pass over `rows` tokens."""
        info = self._engine.device.info
        graph = graph_for(info)
        logits = add_forward_pass(
            graph,
            self._engine.config,
            self._engine.weight_facts,
            self._cache.shape,
            self._cache.dtype,
            rows,
            range(0 if output in (Output.ALL_LOGITS, Output.ALL_STATES, Output.NEXT_TOKENS) else rows - 1, rows),
            self._product(output),
        )
        if output in (Output.NEXT_TOKEN, Output.NEXT_TOKENS):
            self._sample(graph, logits, rows)
        elif output is not Output.NOTHING:
            graph.results.append(logits)
        fuse(graph, rows, info)
        return graph

    def _product(self, output: Output) -> Product:
        """What multiplies the output matrix in such a pass."""
        if output is Output.ALL_STATES:
            return lambda x, _: x
        head = self._engine.exact_head
        if output is Output.NEXT_TOKEN and self._state.extras.needs_few_logits and head is not None:
            return head.product
        return matmul

    def build(self, rows: int, output: Output) -> Step:
        """Plans, allocates and records a pass."""
        graph = self.graph(rows, output)
        lowering = self.lowering(graph)
        program = lowering.record(f"{output.value} x {rows}")
        logits = lowering.memory(graph.results[0]) if graph.results else None
        return Step(program, logits, lowering.arena_nbytes)

    def lowering(self, graph: Graph) -> Lowering:
        """Of a graph over this engine's weights and this session's state and cache."""
        return Lowering(self._engine.device, graph, self._resolve)

    def step(self, rows: int, output: Output) -> Step:
        """A pass that was built before, or a new one."""
        samples = output in (Output.NEXT_TOKEN, Output.NEXT_TOKENS)
        key = (rows, output, self._state.extras if samples else Extras())
        if key not in self._steps:
            self._steps[key] = self.build(rows, output)
            while len(self._steps) > _KEPT_STEPS:
                self._steps.popitem(last=False)
        self._steps.move_to_end(key)
        return self._steps[key]

    @property
    def arenas_nbytes(self) -> int:
        """Memory of the passes kept."""
        return sum(step.arena_nbytes for step in self._steps.values())

    def _sample(self, graph: Graph, logits: Tensor, rows: int) -> None:
        """Draws from each row of logits, which belong to the last rows of the pass."""
        num_sequences, max_positions = self._state.history.shape
        count, vocab_size = logits.shape
        tokens, positions, sequences = (
            self._state_tensor(graph, name, (MAX_ROWS,), "i32") for name in ("tokens", "positions", "sequences")
        )
        last = range(rows - count, rows)
        drawn_from = logits
        if self._state.extras.adjusts:
            drawn_from, _ = adjust_logits(
                logits,
                self._state_tensor(graph, "penalties", (num_sequences, PENALTY_WORDS), "u32"),
                tokens.rows(last.start, last.stop),
                positions.rows(last.start, last.stop),
                sequences.rows(last.start, last.stop),
                self._state_tensor(graph, "bias", (num_sequences, vocab_size), "f32"),
                self._state_tensor(graph, "seen", (num_sequences, vocab_size), "u32"),
            )
        sample(
            drawn_from,
            self._state_tensor(graph, "parameters", (num_sequences, PARAMETER_WORDS), "u32"),
            positions.rows(last.start, last.stop),
            sequences.rows(last.start, last.stop),
            tokens.rows(0, count),
            positions.rows(0, count),
            self._state_tensor(graph, "history", (num_sequences, max_positions), "i32"),
        )
        if self._state.extras.logprobs:
            log_probabilities(
                logits,
                tokens.rows(0, count),
                self._state_tensor(graph, "logprobs", (num_sequences, 1 + MOST_LIKELY), "f32").rows(0, count),
                self._state_tensor(graph, "likely", (num_sequences, MOST_LIKELY), "i32").rows(0, count),
            )

    def _state_tensor(self, graph: Graph, name: str, shape: tuple[int, ...], dtype: str) -> Tensor:
        return graph.tensor(name, shape, dtype, Storage.STATE)

    def _resolve(self, tensor: Tensor) -> Memory:
        if tensor.storage is Storage.WEIGHT:
            return self._engine.weights[tensor.name].memory
        if tensor.name in self._memory:
            return self._memory[tensor.name]
        buffer = self._state.buffers[tensor.name]
        return Memory(buffer, 0, buffer.nbytes)


def read_floats(device: _fastmetal.Device, memory: Memory, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """A copy of float32 values on the device; nothing that writes them may be running."""
    buffer, offset = memory.buffer, memory.offset
    if not device.info["has_unified_memory"]:
        buffer, offset = device.buffer(memory.nbytes, "read back"), 0
        device.copy(memory.buffer, memory.offset, buffer, 0, memory.nbytes).wait()
    values = np.frombuffer(memoryview(buffer), np.float32, math.prod(shape), offset)
    return np.array(values.reshape(shape))
