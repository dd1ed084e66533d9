"""Counts of a layer against counting every layer, costs of calls against sums by hand, and kernels really run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from fastgo.assets.repository import open_model
from fastgo.bench import stages
from fastgo.bench.costs import Cost, call_cost
from fastgo.bench.kernels import measure_kernels
from fastgo.bench.recording import PassRecorder
from fastgo.engine.devices import open_device
from fastgo.engine.engine import Engine
from fastgo.engine.steps import Output
from places import GOLDENS

HIDDEN, FFN, VOCAB, HEADS, KV_HEADS, HEAD_DIM, WINDOW = 24, 40, 299, 4, 2, 16, 8


@pytest.fixture
def engine(tiny_gguf: Path) -> Iterator[Engine]:
    yield Engine(open_device("cpu"), open_model(tiny_gguf))


@pytest.mark.parametrize("name", ["gemma3", "llama", "qwen3"])
def test_every_layer_costs_what_is_said(name: str) -> None:
    engine = Engine(open_device("cpu"), open_model(GOLDENS / f"{name}.gguf"))
    counted = stages.count(engine)
    recorder = PassRecorder(engine, 1)
    programs = [
        recorder.with_layers(layers).build(1, Output.NEXT_TOKEN).program
        for layers in range(1, engine.config.num_hidden_layers + 1)
    ]
    assert {b.dispatch_count - a.dispatch_count for a, b in pairwise(programs)} == {counted["dispatches_per_layer"]}
    assert {b.stage_count - a.stage_count for a, b in pairwise(programs)} == {counted["dependent_stages_per_layer"]}
    assert counted["dispatches"] == programs[-1].dispatch_count
    assert counted["dependent_stages"] == programs[-1].stage_count


def costs(engine: Engine, rows: int, first: int) -> dict[str, list[Cost]]:
    """The costs of all calls of a pass, by operation."""
    found: dict[str, list[Cost]] = {}
    for node in PassRecorder(engine, first + rows).graph(rows, Output.NEXT_TOKEN).nodes:
        for call in node.op.lower(node):
            found.setdefault(node.op.name, []).append(call_cost(node, call, range(first, first + rows)))
    return found


def test_costs_of_a_decode_pass(engine: Engine) -> None:
    found = costs(engine, 1, 20)
    assert found["embed"] == [Cost(2 * 4 * HIDDEN, 0)]
    assert found["matmul"][-1] == Cost(4 * (VOCAB * HIDDEN + HIDDEN + VOCAB), 2 * VOCAB * HIDDEN)
    activations = 2 * 4 * HEADS * HEAD_DIM
    seen = [WINDOW if is_sliding else 21 for is_sliding in engine.config.layer_is_sliding]
    expected = [Cost(activations + 2 * 4 * KV_HEADS * HEAD_DIM * n, 4 * HEADS * HEAD_DIM * n) for n in seen]
    assert found["attention"] == expected


def test_costs_of_a_prefill_pass(engine: Engine) -> None:
    rows, first = 4, 6
    found = costs(engine, rows, first)
    assert found["embed"] == [Cost(2 * 4 * rows * HIDDEN, 0)]
    assert found["matmul"][-1].operations == 2 * VOCAB * HIDDEN
    feed_forward = next(iter(found.get("matmul_glu", ())), None)
    assert feed_forward == Cost(4 * (2 * FFN * HIDDEN + rows * (HIDDEN + FFN)), 2 * 2 * rows * FFN * HIDDEN)
    # Positions 6 to 9 see 7, 8, 8 and 8 tokens in the window; together they read positions 0 to 9.
    activations = 2 * 4 * rows * HEADS * HEAD_DIM
    local = Cost(activations + 2 * 4 * KV_HEADS * HEAD_DIM * 10, 4 * HEADS * HEAD_DIM * (7 + 8 + 8 + 8))
    assert local in found["attention"]


def test_kernels_are_timed_and_counted(engine: Engine) -> None:
    rows = measure_kernels(engine, prefills=[8], decodes=[4], depths=[20], repeats=2)
    assert rows[0]["test"] == "limits" and rows[0]["read_bytes_per_s"] > 0 < rows[0]["float32_operations_per_s"]
    for tokens in (1, 8):
        kernels = [row for row in rows[1:] if row["rows"] == tokens]
        assert [row["kernel"] for row in kernels[-2:]] == ["(layer)", "(whole pass)"]
        program = PassRecorder(engine, 30).build(tokens, Output.NEXT_TOKEN).program
        assert sum(row["calls"] for row in kernels[:-2]) == program.dispatch_count
        assert all(row["seconds"]["min"] > 0 and row["bytes_per_s"] > 0 for row in kernels[:-2])
        assert kernels[-1]["share"] == 1.0
