"""How long each stage of a decode pass takes within the pass, where a kernel's start overlaps with the one before it.

A pass cut off after a stage is timed against the same pass cut off one node earlier; the difference is what the stage
adds. Measured for one layer in the middle and for what follows the last layer. Times are device seconds.
"""

from __future__ import annotations

import statistics
from typing import Any

from fastgo import _fastmetal
from fastgo.bench.recording import PassRecorder
from fastgo.engine.devices import device_errors
from fastgo.engine.engine import Engine
from fastgo.engine.steps import Output
from fastgo.graph.dag import Graph, Node, Storage

_TAIL_NODES = 4  # final norm, head and sampling


def stage_times(engine: Engine, depth: int, repeats: int, batch: int = 1) -> list[dict[str, Any]]:
    """One row of JSON a node of a decode pass of `batch` sequences at position `depth`, in the pass's order.

    `repeats` is at least 3.
    """
    recorder = PassRecorder(engine, depth + 1, batch)
    with device_errors():
        recorder.fill(depth)
        graph = recorder.graph(batch, Output.NEXT_TOKEN if batch == 1 else Output.NEXT_TOKENS)
        wanted = _measured_nodes(graph)
        lowering = recorder.lowering(graph)
        nodes, programs = graph.nodes, {}
        for i in sorted({*wanted, *(i - 1 for i in wanted)}):
            graph.nodes = nodes[: i + 1]
            programs[i] = lowering.record(f"{i + 1} nodes of a pass")
        graph.nodes = nodes
        times = {i: _seconds(recorder, program, depth, repeats) for i, program in programs.items()}
        names = {i: [call.kernel for call in lowering.calls(nodes[i])] for i in wanted}
    return [
        {
            "test": "stage in the pass",
            "batch": batch,
            "depth": depth,
            "kernel": " + ".join(names[i]),
            "place": "tail" if i >= len(nodes) - _TAIL_NODES else "layer",
            "seconds": times[i] - times[i - 1],
        }
        for i in wanted
    ]


def _measured_nodes(graph: Graph) -> list[int]:
    """The nodes from one layer's cache write in the middle to the next one's, and the last few."""
    writers = [i for i, node in enumerate(graph.nodes) if _writes_cache(node)]
    middle = len(writers) // 2
    end = writers[middle + 1] if middle + 1 < len(writers) else len(graph.nodes) - _TAIL_NODES
    layer = range(writers[middle] + 1, end + 1)
    tail = range(max(len(graph.nodes) - _TAIL_NODES, layer.stop), len(graph.nodes))
    return [*layer, *tail]


def _writes_cache(node: Node) -> bool:
    return any(t.storage is Storage.STATE and len(t.shape) == 4 for t in node.outputs.values())


def _seconds(recorder: PassRecorder, program: _fastmetal.Program, depth: int, repeats: int) -> float:
    recorder.run_together([program], depth)
    return statistics.median(recorder.run_together([program], depth) for _ in range(repeats))
