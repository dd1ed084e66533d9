"""The fusions: how often they apply to each model, that each may be switched off, and when they must not apply."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import pytest
from fastgo.assets.repository import open_model
from fastgo.engine import pass_graph
from fastgo.engine.devices import open_device
from fastgo.engine.engine import Engine
from fastgo.engine.session import Session
from fastgo.engine.steps import Output
from fastgo.graph.dag import Graph
from fastgo.graph.passes import PASSES, run_passes
from fastgo.models.architectures import ARCHITECTURES
from fastgo.ops.add import add
from fastgo.ops.copy import copy
from fastgo.ops.dropout import dropout
from fastgo.ops.glu import glu
from fastgo.ops.matmul import matmul
from fastgo.ops.rms_norm import rms_norm
from fastgo.ops.scatter_rows import scatter_rows
from fastgo.tolerances import TINY_MODEL_LOGITS
from graph_bench import GraphBench

GOLDENS = Path(__file__).parent.parent / "goldens"
NORM_FUSIONS_A_LAYER = 2
# Nodes after the keys and values of the last layer: nobody wants them where no logits are wanted.
DEAD_NODES = {"gemma3": 13, "llama": 11, "qwen2": 11, "qwen3": 11, "qwen3moe": 14}


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def engine(request: pytest.FixtureRequest) -> Engine:
    return Engine(open_device(None), open_model(GOLDENS / f"{request.param}.gguf"))


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """What each pass did to the graph that was built last."""
    found: dict[str, int] = {}

    def spy(graph: Graph, disabled: Collection[str] = ()) -> dict[str, int]:
        found.update(run_passes(graph, disabled) | dict.fromkeys(disabled, 0))
        return found

    monkeypatch.setattr(pass_graph, "run_passes", spy)
    yield found


@pytest.mark.parametrize("rows", [1, 5])
def test_fusions_of_a_model(engine: Engine, counts: dict[str, int], rows: int) -> None:
    layers, is_gemma = engine.config.num_hidden_layers, engine.config.architecture == "gemma3"
    builder = Session(engine)._builder
    norms = NORM_FUSIONS_A_LAYER * layers
    builder.graph(rows, Output.ALL_LOGITS)
    assert counts == expected(norms, layers, is_gemma)
    # The last layer goes on with the last row only, which is a view of the residual stream: not to be changed in place.
    builder.graph(rows, Output.NEXT_TOKEN)
    assert counts == expected(norms - (rows > 1), layers, is_gemma)
    builder.graph(rows, Output.NOTHING)
    dead = DEAD_NODES[engine.config.architecture]
    assert counts == expected(norms - NORM_FUSIONS_A_LAYER, layers - 1, is_gemma) | {"dead_nodes": dead}


def expected(norms: int, layers: int, is_gemma: bool) -> dict[str, int]:
    return {
        "dropout": 0,
        "dead_nodes": 0,
        "add_rms_norm": norms,
        "norm_matmul": 0,  # of wide devices
        "attention_output": 0,  # of wide devices
        "matmul_group": 0,  # of wide devices
        "matmul_split": 0,  # of wide devices
        "rounding": 0,  # of wide devices
        "batch_add": 0,  # of wide devices
        "bfloat_inputs": 0,  # of wide devices
        "sandwich_norm": norms if is_gemma else 0,
        "matmul_glu": layers,
        "rope_attention": 0,  # not for heads as small as the goldens'
    }


@pytest.mark.parametrize("disabled", [*([name] for name in PASSES), list(PASSES)], ids=str)
def test_any_pass_may_be_off(engine: Engine, monkeypatch: pytest.MonkeyPatch, disabled: Collection[str]) -> None:
    monkeypatch.setattr(pass_graph, "run_passes", lambda graph, others: run_passes(graph, {*disabled, *others}))
    with np.load(GOLDENS / f"{engine.config.architecture}.npz") as arrays:
        prompt, logits = arrays["prompt"].tolist(), arrays["logits"]
    np.testing.assert_allclose(Session(engine).all_logits(prompt), logits, rtol=0, atol=TINY_MODEL_LOGITS)
    np.testing.assert_allclose(Session(engine).logits(prompt, chunk=9), logits[-1], rtol=0, atol=TINY_MODEL_LOGITS)


def bench() -> GraphBench:
    """x: a state that must stay as it is; h: an activation that a fusion may update."""
    rng = np.random.default_rng(5)
    shapes = {"x": (3, 8), "w norm": (8,), "w other": (8,), "w a": (8, 8), "w b": (8, 8), "w wide": (9, 8)}
    made = GraphBench({name: rng.normal(0.0, 1.0, shape) for name, shape in shapes.items()})
    made.tensors["h"] = matmul(made.tensors["x"], made.tensors["w a"])
    return made


def check(made: GraphBench, **fusions: int) -> None:
    """Fuses as often as given, and keeps the results."""
    want = made.evaluate()
    found = run_passes(made.graph)
    assert {name: count for name, count in found.items() if count} == fusions
    for got, values in zip(made.run(), want, strict=True):
        np.testing.assert_allclose(got, values, rtol=1e-5, atol=1e-5)


def test_add_and_norm_fuse() -> None:
    made = bench()
    h, weight = made.tensors["h"], made.tensors["w norm"]
    total = add(h, matmul(h, made.tensors["w b"]))
    made.graph.results += [rms_norm(total, weight, eps=1e-5), total]
    check(made, add_rms_norm=1)


def test_state_is_not_updated_in_place() -> None:
    made = bench()
    x = made.tensors["x"]
    made.graph.results.append(rms_norm(add(x, made.tensors["h"]), made.tensors["w norm"], eps=1e-5))
    check(made)


def test_a_result_is_not_updated_in_place() -> None:
    for rows in (3, 2):
        made = bench()
        h = made.tensors["h"]
        total = add(h, matmul(h, made.tensors["w b"]))
        made.graph.results += [rms_norm(total, made.tensors["w norm"], eps=1e-5), h.rows(0, rows)]
        check(made)


def test_what_is_read_later_is_not_updated_in_place() -> None:
    made = bench()
    h = made.tensors["h"]
    y = rms_norm(add(h, matmul(h, made.tensors["w b"])), made.tensors["w norm"], eps=1e-5)
    made.graph.results.append(add(y, h))
    check(made)


def test_broadcast_add_does_not_fuse() -> None:
    made = bench()
    h = made.tensors["h"]
    branch = matmul(h, made.tensors["w b"]).rows(1, 2)
    made.graph.results.append(rms_norm(add(h, branch), made.tensors["w norm"], eps=1e-5))
    check(made)


def test_sandwich_fuses() -> None:
    made = bench()
    h, weight = made.tensors["h"], made.tensors["w norm"]
    branch = rms_norm(matmul(h, made.tensors["w b"]), made.tensors["w other"], eps=1e-5)
    made.graph.results.append(rms_norm(add(h, branch), weight, eps=1e-5))
    check(made, add_rms_norm=1, sandwich_norm=1)


@pytest.mark.parametrize("case", ["another epsilon", "read twice", "a result", "added to itself"])
def test_sandwich_does_not_fuse(case: str) -> None:
    made = bench()
    h, weight = made.tensors["h"], made.tensors["w norm"]
    eps = 1e-2 if case == "another epsilon" else 1e-5
    branch = rms_norm(matmul(h, made.tensors["w b"]), made.tensors["w other"], eps=eps)
    y = rms_norm(add(branch if case == "added to itself" else h, branch), weight, eps=1e-5)
    made.graph.results.append(add(y, branch) if case == "read twice" else y)
    if case == "a result":
        made.graph.results.append(branch.rows(1, 3))
    check(made, add_rms_norm=1)


def test_gate_and_up_fuse() -> None:
    made = bench()
    h = made.tensors["h"]
    made.graph.results.append(glu(matmul(h, made.tensors["w a"]), matmul(h, made.tensors["w b"]), activation="silu"))
    check(made, matmul_glu=1)


@pytest.mark.parametrize("case", ["other inputs", "the same product", "a result"])
def test_gate_and_up_do_not_fuse(case: str) -> None:
    made = bench()
    h = made.tensors["h"]
    gate = matmul(h, made.tensors["w a"])
    up = matmul(made.tensors["x"] if case == "other inputs" else h, made.tensors["w b"])
    made.graph.results.append(glu(gate, gate if case == "the same product" else up, activation="gelu_tanh"))
    if case == "a result":
        made.graph.results.append(gate)
    check(made, **({"dead_nodes": 1} if case == "the same product" else {}))


def test_dead_nodes_go_and_state_stays(engine: Engine) -> None:
    made = bench()
    rms_norm(made.tensors["h"], made.tensors["w norm"], eps=1e-5)
    made.graph.results.append(add(made.tensors["h"], made.tensors["x"]))
    check(made, dead_nodes=1)
    graph = Session(engine)._builder.graph(4, Output.NOTHING)
    writes = [node for node in graph.nodes if node.op.name == "rope_cache"]
    assert len(writes) == engine.config.num_hidden_layers


def test_dropout_is_removed() -> None:
    x = np.random.default_rng(5).normal(size=(3, 8))
    bench = GraphBench({"x": x, "w": np.ones(8)})
    h = rms_norm(dropout(add(bench.tensors["x"], bench.tensors["x"]), rate=0.1), bench.tensors["w"], eps=1e-6)
    bench.graph.results.append(dropout(h, rate=0.2))
    want = bench.evaluate()
    assert run_passes(bench.graph)["dropout"] == 2
    assert [node.op.name for node in bench.graph.nodes] == ["add", "rms_norm"]
    np.testing.assert_allclose(bench.run()[0], want[0], rtol=1e-5)


def test_dropout_of_what_changes_later_stays() -> None:
    """The value before a write in place must outlive it."""
    rng = np.random.default_rng(6)
    bench = GraphBench({name: rng.normal(size=(3, 8)) for name in ("a", "b")})
    made = add(bench.tensors["a"], bench.tensors["b"])
    kept = dropout(made, rate=0.5)
    rows = copy(bench.tensors["a"]).rows(0, 1)
    index = bench.graph.output("index", (1,), "i32")
    scatter_rows(rows, index, made)
    bench.graph.results.append(kept)
    assert run_passes(bench.graph, disabled=["dead_nodes"])["dropout"] == 0
