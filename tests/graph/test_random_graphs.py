"""Random graphs: the plan never lets living tensors overlap, and passes, planning and barriers keep every value."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from fastgo.graph.dag import Graph, Storage, Tensor
from fastgo.graph.passes import PASSES, run_passes
from fastgo.graph.plan import plan_arena
from fastgo.ops.add import add
from fastgo.ops.copy import copy
from fastgo.ops.glu import glu
from fastgo.ops.matmul import matmul
from fastgo.ops.rms_norm import rms_norm
from graph_bench import GraphBench
from hypothesis import given, settings
from hypothesis import strategies as st

ROWS, COLUMNS = 3, 8
INPUTS = {
    "x": np.random.default_rng(1).normal(0.0, 1.0, (ROWS, COLUMNS)),
    "w norm": np.random.default_rng(2).uniform(0.5, 1.5, COLUMNS),
    "w a": np.random.default_rng(3).normal(0.0, 0.3, (COLUMNS, COLUMNS)),
    "w b": np.random.default_rng(4).normal(0.0, 0.3, (COLUMNS, COLUMNS)),
}


def draw_node(data: Any, bench: GraphBench, values: list[Tensor]) -> Tensor:
    """One more operation on any of the values, most likely the latest."""
    pick = st.sampled_from(range(len(values))).map(lambda i: values[-1 - i])
    kind = data.draw(st.sampled_from(["branch", "branch", "add", "norm", "matmul", "mlp", "glu", "copy", "rows"]))
    x, weights = data.draw(pick), bench.tensors
    if kind == "branch":
        return draw_branch(data, bench, x)
    if kind == "add":
        return add(x, data.draw(pick))
    if kind == "norm":
        return rms_norm(x, weights["w norm"], eps=1e-3)
    if kind == "matmul":
        return matmul(x, weights["w a"])
    if kind == "mlp":
        return glu(matmul(x, weights["w a"]), matmul(x, weights["w b"]), activation="silu")
    if kind == "glu":
        return glu(x, data.draw(pick), activation="gelu_tanh")
    if kind == "rows":
        return add(x, data.draw(pick).rows(1, 2))
    return copy(x.reshape(COLUMNS, ROWS).transpose(1, 0))


def draw_branch(data: Any, bench: GraphBench, x: Tensor) -> Tensor:
    """A residual branch as models have them: norms before and after it or not."""
    h, weights = x, bench.tensors
    if data.draw(st.booleans()):
        h = rms_norm(h, weights["w norm"], eps=1e-3)
    h = matmul(h, weights["w a"])
    if data.draw(st.booleans()):
        h = rms_norm(h, weights["w norm"], eps=1e-3)
    return add(x, h)


def draw_graph(data: Any) -> GraphBench:
    """Up to twelve steps over the input; some values, or rows of them, are results."""
    bench = GraphBench(INPUTS)
    values = [bench.tensors["x"]]
    for _ in range(data.draw(st.integers(1, 12))):
        values.append(draw_node(data, bench, values))
    results = data.draw(st.lists(st.sampled_from(values[1:]), min_size=1, max_size=3, unique=True))
    bench.graph.results = [t.rows(0, 2) if data.draw(st.booleans()) else t for t in results]
    return bench


def assert_close(got: list[np.ndarray], want: list[np.ndarray]) -> None:
    for values, expected in zip(got, want, strict=True):
        np.testing.assert_allclose(values, expected, rtol=2e-4, atol=2e-4 * max(1.0, np.abs(expected).max()))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_passes_and_memory_keep_every_value(data: Any) -> None:
    bench = draw_graph(data)
    want = bench.evaluate()
    disabled = data.draw(st.sets(st.sampled_from(sorted(PASSES))))
    run_passes(bench.graph, disabled)
    assert_close(bench.run(indirect=data.draw(st.booleans())), want)


def lifetimes(graph: Graph) -> dict[Tensor, tuple[int, int]]:
    """First and last step at which each root of the arena holds something, seen from each node by itself."""
    steps: dict[Tensor, list[int]] = {}
    for step, node in enumerate(graph.nodes):
        for tensor in [*node.inputs.values(), *node.outputs.values()]:
            steps.setdefault(tensor.root, []).append(step)
    for tensor in graph.results:
        steps.setdefault(tensor.root, []).append(len(graph.nodes))
    return {root: (min(s), max(s)) for root, s in steps.items() if root.storage is Storage.ARENA}


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from([4, 16, 256]))
def test_plan_never_overlaps_living_tensors(data: Any, alignment: int) -> None:
    graph = draw_graph(data).graph
    run_passes(graph, data.draw(st.sets(st.sampled_from(sorted(PASSES)))))
    plan, alive = plan_arena(graph, alignment), lifetimes(graph)
    assert plan.offsets.keys() == alive.keys()
    for root, offset in plan.offsets.items():
        assert offset % alignment == 0
        assert offset + root.nbytes <= plan.nbytes
    for one, other in combinations(alive, 2):
        together = alive[one][0] <= alive[other][1] and alive[other][0] <= alive[one][1]
        apart = (
            plan.offsets[one] + one.nbytes <= plan.offsets[other]
            or plan.offsets[other] + other.nbytes <= plan.offsets[one]
        )
        assert apart or not together


def test_plan_reuses_memory() -> None:
    """A chain needs room for two tensors, however long it is."""
    graph = Graph()
    x = graph.output("x", (64, 64))
    graph.add_node(copy(x).producer.op, {"x": x}, {"y": x})  # type: ignore[union-attr]
    graph.nodes = graph.nodes[-1:]
    for _ in range(20):
        x = copy(x)
    graph.results.append(x)
    assert plan_arena(graph, 256).nbytes == 2 * 64 * 64 * 4


def test_plan_of_nothing_is_not_empty() -> None:
    assert plan_arena(Graph(), 256).nbytes == 256
