"""How long each kernel of a pass takes alone, beside what the machine's memory and arithmetic would allow.

Equal calls of a pass (same kernel, sizes and constants; the same projection of all layers, say) are run one after the
other in one command buffer, each waiting for the one before, so a call's time includes the fixed cost of a stage.
Before each run a whole decode pass brings the caches to the state that they have in use. Times are device seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fastgo import _fastmetal
from fastgo.bench.costs import call_cost
from fastgo.bench.machine import Limits
from fastgo.bench.recording import PassRecorder, RecordedCall
from fastgo.bench.speed import plan
from fastgo.bench.spread import Spread
from fastgo.engine.devices import device_errors
from fastgo.engine.engine import Engine
from fastgo.engine.pass_graph import MAX_ROWS
from fastgo.engine.steps import Output
from fastgo.graph.dag import KernelCall, Storage


def measure_kernels(
    engine: Engine, prefills: Iterable[int], decodes: Iterable[int], depths: Iterable[int], repeats: int
) -> list[dict[str, Any]]:
    """Rows of JSON: the machine's limits, then the kernels of a decode and of prefill passes at each depth.

    A size of 0 leaves a kind of pass out; a prefill is measured by its first chunk. Raises UsageError where the model's
    context is too small.
    """
    limits = Limits.measure(engine.device)
    rows = [limits.to_json()]
    sizes = sorted({min(size, 1) for size in decodes} | {min(size, MAX_ROWS) for size in prefills})
    tests = plan([size for size in sizes if size], (), depths, (1,), engine.config)
    for test in tests:
        rows += KernelBench(engine, test.depth, test.tokens, repeats, limits).rows()
    return rows


class KernelBench:
    """Times kernels of passes over `rows` tokens that begin at position `depth`."""

    def __init__(self, engine: Engine, depth: int, rows: int, repeats: int, limits: Limits) -> None:
        self._depth, self._rows, self._repeats, self._limits = depth, rows, repeats, limits
        self._recorder = PassRecorder(engine, depth + rows)
        self._layers = engine.config.num_hidden_layers
        self._decode = self._recorder.build(1, Output.NEXT_TOKEN).program

    def rows(self) -> list[dict[str, Any]]:
        """One row of JSON for each distinct call, slowest first; then the mean layer, and the whole pass."""
        with device_errors():
            self._recorder.fill(self._depth)
            graph = self._recorder.graph(self._rows, Output.NEXT_TOKEN)
            lowering = self._recorder.lowering(graph)
            whole = lowering.record("whole pass")
            whole_spread = self._time(lambda: self._run([whole]))
            groups = _group(self._recorder.calls(graph, lowering))
            rows = [self._kernel_row(group, whole_spread.median) for group in groups]
            rows.sort(key=lambda row: -float(row["share"]))
            if self._layers > 1:
                layer_spread = self._layer_spread(whole)
                rows.append(self._row("(layer)", self._layers, layer_spread, whole_spread.median))
        return [*rows, self._row("(whole pass)", 1, whole_spread, whole_spread.median)]

    def _run(self, programs: Sequence[_fastmetal.Program]) -> float:
        return self._recorder.run(programs, self._depth, self._rows)

    def _run_decode(self) -> None:
        self._recorder.run([self._decode], self._depth, 1)

    def _time(self, run: Callable[[], float]) -> Spread:
        """The spread of `run`'s seconds, after one warm-up, each time after a decode pass."""
        samples = []
        for _ in range(1 + self._repeats):
            self._run_decode()
            samples.append(run())
        return Spread.of(samples[1:])

    def _kernel_row(self, group: list[RecordedCall], whole_s: float) -> dict[str, Any]:
        programs = [recorded.program for recorded in group]
        spread = self._time(lambda: self._run(programs)).map(lambda s: s / len(group))
        first = group[0]
        positions = range(self._depth, self._depth + self._rows)
        cost = call_cost(first.node, first.call, positions)
        bytes_per_s, operations_per_s = cost.nbytes / spread.median, cost.operations / spread.median
        return {
            **self._row(first.call.kernel, len(group), spread, whole_s),
            "shape": _shape(first.call),
            "bytes": cost.nbytes,
            "operations": cost.operations,
            "bytes_per_s": bytes_per_s,
            "operations_per_s": operations_per_s,
            "of_read_bandwidth": bytes_per_s / self._limits.bytes_per_s,
            "of_float32_product": operations_per_s / self._limits.operations_per_s,
        }

    def _row(self, kernel: str, calls: int, spread: Spread, whole_s: float) -> dict[str, Any]:
        return {
            "test": "kernel",
            "batch": 1,
            "depth": self._depth,
            "rows": self._rows,
            "kernel": kernel,
            "calls": calls,
            "seconds": spread.to_json(),
            "share": calls * spread.median / whole_s,
        }

    def _layer_spread(self, whole: _fastmetal.Program) -> Spread:
        """The mean layer: the whole pass less the same pass cut off after its first layer, measured in pairs."""
        first = self._recorder.with_layers(1).build(self._rows, Output.NEXT_TOKEN).program

        def run() -> float:
            seconds = self._run([whole])
            self._run_decode()
            return seconds - self._run([first])

        return self._time(run).map(lambda s: s / (self._layers - 1))


def _group(calls: list[RecordedCall]) -> list[list[RecordedCall]]:
    groups: dict[str, list[RecordedCall]] = {}
    for recorded in calls:
        call = recorded.call
        key = (call.kernel, sorted(call.arguments.items()), sorted(call.constants.items()), call.grid)
        groups.setdefault(repr(key), []).append(recorded)
    return list(groups.values())


def _shape(call: KernelCall) -> str:
    """What tells calls of one kernel apart: the shape of its matrices, else of its widest activation."""
    tensors = [tensor for tensor in call.buffers.values() if tensor is not None]
    matrices = [t for t in tensors if t.root.storage is Storage.WEIGHT and len(t.shape) == 2]
    shape = (matrices or [max((t for t in tensors if t.root.storage is Storage.ARENA), key=lambda t: t.size)])[0].shape
    window = call.arguments.get("window")
    return "x".join(map(str, shape)) + (f" window {window}" if window else "")
