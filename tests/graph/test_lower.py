"""From nodes to dispatches: stages and barriers, both ways to replay, argument structs, and misuse of programs."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastgo import _fastmetal
from fastgo.assets.repository import open_model
from fastgo.engine.devices import open_device
from fastgo.engine.engine import Engine
from fastgo.engine.sampling import Sampling
from fastgo.engine.session import Session
from fastgo.engine.steps import Output, read_floats
from fastgo.graph.dag import KernelCall, Node, Op
from fastgo.graph.lower import Lowering, pack_arguments
from fastgo.models.architectures import ARCHITECTURES
from fastgo.ops.add import ADD, add
from fastgo.ops.copy import copy
from fastgo.ops.matmul import matmul
from graph_bench import GraphBench

GOLDENS = Path(__file__).parent.parent / "goldens"
STAGES_A_LAYER = 8  # q k v, rope and cache, attention, output, norms, gate and up, down, norms
STAGES_BESIDE_LAYERS = 5  # embedding, first norm, head, two of sampling
DISPATCHES_A_LAYER = 10


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def engine(request: pytest.FixtureRequest) -> Engine:
    return Engine(open_device(None), open_model(GOLDENS / f"{request.param}.gguf"))


def test_stages_of_a_token(engine: Engine) -> None:
    """Dependent stages are what a small model's token costs: they may shrink, not grow."""
    program = Session(engine)._builder.build(1, Output.NEXT_TOKEN).program
    layers, biases = engine.config.num_hidden_layers, len(engine.config.biases)
    # Each bias is a stage, as the arena gives its result the memory of the product before it.
    stages = STAGES_A_LAYER + biases + (3 if engine.config.num_experts else 0)  # router, choice, combination
    dispatches = DISPATCHES_A_LAYER + biases + (3 if engine.config.num_experts else 0)
    # A device with its own memory first copies the positions and sequences there.
    copies = 0 if engine.device.info["has_unified_memory"] else 2
    assert program.stage_count <= stages * layers + STAGES_BESIDE_LAYERS + copies // 2
    assert program.dispatch_count <= dispatches * layers + STAGES_BESIDE_LAYERS + copies
    assert layers >= 2


@pytest.mark.parametrize("rows", [1, 9])
def test_both_replays_agree_to_the_bit(engine: Engine, rows: int) -> None:
    ids = np.random.default_rng(rows).integers(0, 299, (3, rows))
    found = []
    for indirect in (True, False):
        session = Session(engine)
        builder, state = session._builder, session._state
        lowering = Lowering(engine.device, builder.graph(rows, Output.ALL_LOGITS), builder._resolve)
        program = lowering.record("replay", indirect=indirect)
        memory = lowering.memory(lowering._graph.results[0])
        for step, part in enumerate(ids):
            state.tokens[:rows] = part
            state.positions[:rows] = np.arange(step * rows, (step + 1) * rows)
            engine.device.submit([program]).wait()
            found.append(read_floats(engine.device, memory, (rows, engine.config.vocab_size)))
    np.testing.assert_array_equal(found[:3], found[3:])


def test_programs_of_one_submission_run_in_order(engine: Engine) -> None:
    """Eight decode steps submitted at once give what eight submissions give."""
    results = []
    for at_once in (True, False):
        session = Session(engine)
        program = session._builder.build(1, Output.NEXT_TOKEN).program
        session._state.set_sampling(Sampling())
        session._state.tokens[0], session._state.positions[0] = 5, 0
        if at_once:
            engine.device.submit([program] * 8).wait()
        else:
            for _ in range(8):
                engine.device.submit([program]).wait()
        results.append(session._state.history[0, :8].tolist())
    assert results[0] == results[1]
    assert session._state.positions[0] == 8


def stages(build: Callable[[GraphBench], Any]) -> tuple[int, int]:
    """Stages and dispatches of a graph over x (4, 8) and w (8, 8), after a check of its results."""
    rng = np.random.default_rng(1)
    bench = GraphBench({"x": rng.normal(0, 1, (4, 8)), "w": rng.normal(0, 1, (8, 8))})
    found = build(bench)
    bench.graph.results = list(found) if isinstance(found, tuple) else [found]
    for got, want in zip(bench.run(), bench.evaluate(), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    program = bench.lower().record("stages")
    return program.stage_count, program.dispatch_count


def test_independent_nodes_share_a_stage() -> None:
    def build(bench: GraphBench) -> Any:
        x, w = bench.tensors["x"], bench.tensors["w"]
        return matmul(x, w), add(x, x), copy(x)

    assert stages(build) == (1, 3)


def test_a_reader_waits_for_its_writer() -> None:
    assert stages(lambda bench: copy(add(bench.tensors["x"], bench.tensors["x"]))) == (2, 2)


def test_a_stage_ends_once_for_all_who_wait() -> None:
    def build(bench: GraphBench) -> Any:
        x = bench.tensors["x"]
        a, b = add(x, x), matmul(x, bench.tensors["w"])
        return add(a, b), copy(a), copy(b), a, b

    assert stages(build) == (2, 5)


def test_memory_that_is_used_again_waits_for_its_reader() -> None:
    """A long chain in two tensors' memory: every step must wait, and none reads what a later one wrote."""

    def build(bench: GraphBench) -> Any:
        x = bench.tensors["x"]
        for _ in range(12):
            x = add(x, bench.tensors["x"])
        return x

    assert stages(build) == (12, 12)


def test_writers_of_rows_of_one_tensor() -> None:
    """The second might write on into the first one's rows, as far as the validation layer can know: they take turns."""
    bench = GraphBench({"x": np.random.default_rng(1).normal(0, 1, (4, 8))})
    x, y = bench.tensors["x"], bench.graph.output("y", (4, 8))
    for rows in ((0, 2), (2, 4)):
        bench.graph.add_node(ADD, {"a": x.rows(*rows), "b": x.rows(*rows)}, {"y": y.rows(*rows)})
    bench.graph.results = [y]
    np.testing.assert_allclose(bench.run()[0], 2 * bench.arrays["x"])
    assert bench.lower().record("rows").stage_count == 2


def test_argument_struct() -> None:
    packed = pack_arguments("rms_norm", {"columns": 640, "eps": 1e-6})
    assert packed == struct.pack("<If", 640, 1e-6)
    planes = (1, 2, 3, 4, 5, 6)
    packed = pack_arguments("matmul_q4_k_r1", {"rows": 7, "outputs": 8, "columns": 9, "planes": planes})
    assert packed == struct.pack("<9I", 7, 8, 9, *planes)


@pytest.mark.parametrize(
    ("kernel", "values", "message"),
    [
        ("rms_norm", {"columns": 1}, "takes arguments .*eps"),
        ("rms_norm", {"columns": 1, "eps": 1.0, "rows": 2}, "got .*rows"),
        ("rms_norm", {}, "got"),
        (
            "add",
            {"count": 1, "shape": (1, 1), "a_strides": (0,) * 4, "b_strides": (0,) * 4},
            "shape has 4 elements, got 2",
        ),
    ],
)
def test_wrong_arguments(kernel: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pack_arguments(kernel, values)


def test_numbers_that_do_not_fit_an_argument() -> None:
    for columns in (-1, 1 << 32):
        with pytest.raises((ValueError, struct.error)):
            pack_arguments("rms_norm", {"columns": columns, "eps": 1.0})


def test_wrong_buffers() -> None:
    bench = GraphBench({"x": np.zeros((1, 8))})
    x = bench.tensors["x"]

    def lower(_: Node) -> list[KernelCall]:
        arguments = {"count": 8, "shape": (1, 1, 1, 8), "strides": (0, 0, 8, 1)}
        return [KernelCall("copy", {"x": x, "z": y}, arguments, (1, 1, 1), (256, 1, 1))]

    y = bench.graph.output("y", (1, 8))
    bench.graph.add_node(Op("copy", lower, copy), {"x": x}, {"y": y})
    with pytest.raises(ValueError, match=r"copy takes buffers \['x', 'y'\], got \['x', 'z'\]"):
        bench.lower().record("wrong")


class Dispatch:
    """A sound dispatch of rms_norm over one row of eight, to be spoilt in one place."""

    def __init__(self) -> None:
        self.device = open_device(None)
        self.pipeline = self.device.pipeline("rms_norm", {"writes_bfloat": False})
        buffers = [self.device.buffer(64, name) for name in ("x", "weight", "y")]
        self.bindings: list[Any] = [None, *((buffer, 0) for buffer in buffers)]
        self.arguments = struct.pack("<If", 8, 1e-6)
        self.grid, self.threads = (1, 1, 1), (32, 1, 1)

    def add_to(self, program: _fastmetal.Program) -> None:
        program.dispatch(self.pipeline, self.bindings, self.arguments, self.grid, self.threads)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arguments": b"1234"}, "argument struct of 4 bytes, expected 8"),
        ({"grid": (0, 1, 1)}, "empty grid"),
        ({"threads": (0, 1, 1)}, "can't run 0 threads"),
        ({"threads": (4096, 1, 1)}, "can't run 4096 threads"),
        ({"threads": (48, 1, 1)}, "can't run 48 threads"),
        ({"bindings": [None] * 40}, "too many buffers"),
    ],
)
def test_senseless_dispatches(changes: dict[str, Any], message: str) -> None:
    dispatch = Dispatch()
    for name, value in changes.items():
        setattr(dispatch, name, value)
    with pytest.raises(_fastmetal.Error, match=message):
        dispatch.add_to(dispatch.device.program("spoilt"))


def test_offset_beyond_a_buffer() -> None:
    dispatch = Dispatch()
    dispatch.bindings[2] = (dispatch.bindings[2][0], 64)
    with pytest.raises(_fastmetal.Error, match="offset beyond the buffer at index 2"):
        dispatch.add_to(dispatch.device.program("spoilt"))


def test_programs_are_finished_once() -> None:
    dispatch = Dispatch()
    device = dispatch.device
    with pytest.raises(_fastmetal.Error, match="no dispatches"):
        device.program("empty").finish()
    program = device.program("one")
    dispatch.add_to(program)
    with pytest.raises(_fastmetal.Error, match="program one is not finished"):
        device.submit([program])
    program.finish()
    with pytest.raises(_fastmetal.Error, match="finished already"):
        program.finish()
    with pytest.raises(_fastmetal.Error, match="takes no more"):
        dispatch.add_to(program)
    submission = device.submit([program])
    submission.wait()
    assert submission.device_seconds >= 0


def test_unknown_kernels_and_constants() -> None:
    device = open_device(None)
    with pytest.raises(_fastmetal.Error, match="no kernel named"):
        device.pipeline("nothing")
    with pytest.raises(_fastmetal.Error, match="no function constant"):
        device.pipeline("rms_norm", {"nothing": 1})


def test_constants_that_a_kernel_uses_must_be_given() -> None:
    with pytest.raises(_fastmetal.Error, match=r"uses function constants without a value: is_interleaved$"):
        open_device(None).pipeline("rope_cache_f32", {"has_head_norm": True})


def test_pipelines_are_made_once() -> None:
    device = open_device(None)
    before = device.telemetry
    for _ in range(3):
        device.pipeline("rope_cache_f32", {"has_head_norm": True, "is_interleaved": False})
        device.pipeline("rope_cache_f32", {"has_head_norm": False, "is_interleaved": False})
    after = device.telemetry
    assert after["pipeline_misses"] - before["pipeline_misses"] == 2
    assert after["pipeline_hits"] - before["pipeline_hits"] == 4
