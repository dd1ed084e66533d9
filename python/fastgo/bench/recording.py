"""Passes recorded outside a session, so that parts of one can be run and counted alone.

Owns the state and cache that such passes use. Positions and tokens are put back before every run, because a pass that
samples moves them on.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fastgo import _fastmetal
from fastgo.engine.engine import Engine
from fastgo.engine.kv_cache import KvCache, cache_capacity
from fastgo.engine.pass_graph import MAX_ROWS
from fastgo.engine.sampling import Sampling
from fastgo.engine.steps import Output, State, StepBuilder
from fastgo.graph.dag import Graph, KernelCall, Node, Op
from fastgo.graph.lower import Lowering


@dataclass(frozen=True)
class RecordedCall:
    """One dispatch of a pass as a program of its own."""

    node: Node
    call: KernelCall
    program: _fastmetal.Program


class PassRecorder(StepBuilder):
    """Records passes of an engine for a timeline of `positions` tokens, or for several `sequences` of that length."""

    def __init__(self, engine: Engine, positions: int, sequences: int = 1) -> None:
        self.engine = engine
        self.sequences = sequences
        self.state = State(engine.device, positions, sequences)
        # Greedy: with the exact head where there is one.
        self.state.expect([Sampling()] * sequences, engine.config.vocab_size)
        self._ids = np.random.default_rng(0).integers(0, engine.config.vocab_size, MAX_ROWS)
        capacity = cache_capacity(positions, engine.config.max_position_embeddings)
        super().__init__(
            engine, self.state, KvCache(engine.device, engine.config, capacity, engine.cache_dtype, sequences)
        )

    def with_layers(self, layers: int) -> PassRecorder:
        """A recorder of the same model, state and cache, cut off after its first `layers` layers."""
        cut = copy.copy(self)
        cut.engine = cut._engine = copy.copy(self.engine)
        cut.engine.config = replace(self.engine.config, num_hidden_layers=layers)
        return cut

    def lowering(self, graph: Graph) -> Lowering:
        """Memory for the activations of `graph`, and the way to record programs over it."""
        return Lowering(self.engine.device, graph, self._resolve)

    def calls(self, graph: Graph, lowering: Lowering) -> list[RecordedCall]:
        """Every dispatch of `graph` as a program of its own, on the memory of the whole."""
        nodes = graph.nodes
        recorded = []
        for node in nodes:
            for call in lowering.calls(node):
                graph.nodes = [_single(node, call)]
                recorded.append(RecordedCall(node, call, lowering.record(call.kernel)))
        graph.nodes = nodes
        return recorded

    def run(self, programs: Sequence[_fastmetal.Program], first_position: int, rows: int, sequence: int = 0) -> float:
        """Runs `programs` one after the other over these positions of a sequence; returns the device's seconds."""
        self.state.positions[:rows] = np.arange(first_position, first_position + rows)
        self.state.sequences[:rows] = sequence
        return self._run(programs, rows)

    def run_together(self, programs: Sequence[_fastmetal.Program], position: int) -> float:
        """As `run`, over one position of every sequence."""
        self.state.positions[: self.sequences] = position
        self.state.sequences[: self.sequences] = range(self.sequences)
        return self._run(programs, self.sequences)

    def _run(self, programs: Sequence[_fastmetal.Program], rows: int) -> float:
        for sequence in range(self.sequences):
            self.state.set_sampling(Sampling(), (), sequence)
        self.state.tokens[:rows] = self._ids[:rows]
        submission = self.engine.device.submit(programs)
        submission.wait()
        return submission.device_seconds

    def fill(self, depth: int) -> None:
        """Fills the cache of every sequence with keys and values of `depth` tokens."""
        for begin in range(0, depth, MAX_ROWS):
            rows = min(MAX_ROWS, depth - begin)
            program = self.build(rows, Output.NOTHING).program
            for sequence in range(self.sequences):
                self.run([program], begin, rows, sequence)


def _single(node: Node, call: KernelCall) -> Node:
    """A node that is lowered to `call` alone."""
    return Node(Op(node.op.name, lambda _: [call], node.op.reference), node.inputs, node.outputs, node.attributes)
