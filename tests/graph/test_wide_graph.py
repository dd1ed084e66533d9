"""Graphs for GPUs of many cores: which forms the operations take, without running them."""

from __future__ import annotations

import pytest
from fastgo import _fastmetal
from fastgo.graph.dag import Graph, KernelCall, Storage, Tensor
from fastgo.graph.passes import run_passes
from fastgo.ops import vector_tuning
from fastgo.ops.attention import attention
from fastgo.ops.glu import glu
from fastgo.ops.matmul import matmul
from fastgo.ops.rms_norm import rms_norm
from fastgo.ops.rope_cache import rope_cache

WIDTH = 132


def calls_of_a_row(width: int, head_dim: int) -> list[KernelCall]:
    """The dispatches of one row's rope, attention and output projection."""
    graph = Graph(width)

    def state(name: str, *shape: int, dtype: str = "f32") -> Tensor:
        return graph.tensor(name, shape, dtype, Storage.STATE)

    inputs = {name: state(name, 1, heads * head_dim) for name, heads in (("q", 4), ("k", 2), ("v", 2))}
    inputs |= {"frequencies": state("frequencies", head_dim // 2)}
    inputs |= {name: state(name, 1, dtype="i32") for name in ("positions", "sequences")}
    inputs |= {name: state(name, 1, 2, 512, head_dim, dtype="f16") for name in ("k_cache", "v_cache")}
    q, keys, values = rope_cache(**inputs, eps=1e-6)
    y = attention(q, keys, values, inputs["positions"], inputs["sequences"], scale=1.0, window=0)
    weight = graph.tensor("weight", (96, 4 * head_dim), "q4_0", Storage.WEIGHT)
    graph.results.append(matmul(y, weight))
    assert run_passes(graph)["rope_attention"] == 1
    return [call for node in graph.nodes for call in node.op.lower(node)]


@pytest.mark.parametrize("head_dim", [64, 128, 256])
def test_a_row_is_spread_over_the_cores_of_a_gpu(head_dim: int) -> None:
    split, product = calls_of_a_row(WIDTH, head_dim)
    assert split.kernel == f"rope_attention_split_f16_d{head_dim}"
    assert split.grid == (4, 8, 1)
    assert product.kernel.startswith("combine_matmul_q4_0_d")


def test_a_row_stays_whole_on_a_cpu() -> None:
    assert [call.kernel for call in calls_of_a_row(1, 64)] == ["rope_attention_f16_d64", "matmul_q4_0_r1"]


@pytest.mark.parametrize("width", [2, 16, 132, 1000])
@pytest.mark.parametrize("outputs", [1, 33, 1152, 262144])
@pytest.mark.parametrize("columns", [32, 1152, 12288])
def test_cuts_are_sound_for_every_shape(width: int, outputs: int, columns: int) -> None:
    for kernel in ("matmul_vector", "matmul_glu_vector", "norm_matmul_group", "norm_matmul_glu", "combine_matmul"):
        for format in ("q4_0", "bf16"):
            cut = vector_tuning.cut(kernel, format, outputs, columns, width)
            assert cut.simdgroups % cut.parts == 0
            assert cut.simdgroups <= vector_tuning.TILE_MOST_PARTS
            assert cut.outputs in ((vector_tuning.TILE_OUTPUTS,) if cut.depth else (1, 2, 4))
            assert cut.depth in (0, *vector_tuning.tile_depths(kernel))
            if not kernel.startswith("matmul") and vector_tuning.fuses_rows(format, width):
                assert _fastmetal.kernel(vector_tuning.fused_kernel(kernel, format, cut))


def written_as_bfloat(width: int, rows: int, format: str, reads_bfloats: bool | None = None) -> list[str]:
    """Of a norm, its gated unit and the product after that: the operations that write their results as bfloat."""
    graph = Graph(width, reads_bfloats=reads_bfloats)
    x = graph.tensor("x", (rows, 256), "f32", Storage.STATE)
    weights = {
        name: graph.tensor(name, shape, format, Storage.WEIGHT)
        for name, shape in (("gate", (512, 256)), ("up", (512, 256)), ("down", (256, 512)))
    }
    normed = rms_norm(x, graph.tensor("norm", (256,), "f32", Storage.WEIGHT), eps=1e-6)
    gated = glu(matmul(normed, weights["gate"]), matmul(normed, weights["up"]), activation="silu")
    graph.results.append(matmul(gated, weights["down"]))
    run_passes(graph)
    return [node.op.name for node in graph.nodes if any(t.dtype == "bf16" for t in node.outputs.values())]


def test_what_products_of_many_rows_read_is_bfloat() -> None:
    assert written_as_bfloat(WIDTH, 64, "q4_0") == ["rms_norm", "matmul_glu"]
    assert written_as_bfloat(WIDTH, 64, "f32") == []  # nothing is rounded
    assert written_as_bfloat(WIDTH, 16, "q4_0") == []  # few rows have a form of their own
    assert written_as_bfloat(1, 64, "q4_0") == []  # a CPU
    assert written_as_bfloat(1, 64, "q4_0", True) == ["rms_norm", "matmul_glu"]  # one whose native kernels round
    assert written_as_bfloat(1, 16, "q4_0", True) == []


def test_what_others_read_too_stays_float() -> None:
    graph = Graph(WIDTH)
    x = graph.tensor("x", (64, 256), "f32", Storage.STATE)
    normed = rms_norm(x, graph.tensor("norm", (256,), "f32", Storage.WEIGHT), eps=1e-6)
    graph.results += [normed, matmul(normed, graph.tensor("weight", (512, 256), "q4_0", Storage.WEIGHT))]
    assert run_passes(graph)["bfloat_inputs"] == 0
