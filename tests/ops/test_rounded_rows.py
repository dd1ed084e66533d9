"""Rows that are rounded by the kernel that makes them, for products of a few rows on wide devices, against float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from fastgo import tolerances
from fastgo.graph.dag import Tensor
from fastgo.graph.passes import run_passes
from fastgo.ops import attention, matmul, matmul_glu, rms_norm
from fastgo.ops.add import add
from fastgo.ops.attention import attention as attend
from fastgo.ops.glu import glu
from fastgo.ops.matmul import matmul as multiply
from fastgo.ops.rms_norm import rms_norm as norm
from harness import Array, Bench, Input, Weight, error, product_scale, random_rows, random_weight
from variants import Variant

WIDTH = 132
PRODUCT = tolerances.KERNELS["matmul", "int16 activations"]


@pytest.fixture(autouse=True)
def needs_shaders(variant: Variant) -> None:
    if variant.is_native:
        pytest.skip("forms for GPUs: the shaders themselves are tested")


def run(
    inputs: Mapping[str, Input], build: Callable[..., list[Tensor]], *arguments: object
) -> tuple[set[str], list[Array]]:
    """The kernels that the graph of `build` takes once it is fused, and its outputs."""
    bench = Bench(inputs, WIDTH)
    outputs = build(bench.tensors, *arguments)
    bench.graph.results.extend(outputs)
    run_passes(bench.graph)
    kernels = {call.kernel for node in bench.graph.nodes for call in node.op.lower(node)}
    bench.graph.results.clear()
    bench.prepare({f"output {i}": tensor for i, tensor in enumerate(outputs)})
    return kernels, list(bench.run().values())


def norms(t: Mapping[str, Tensor], branches: str) -> list[Tensor]:
    stream = add(t["x"], t["x"])
    if branches != "none":
        stream = add(stream, norm(t["branch"], t["post"], eps=1e-6) if branches == "normed" else t["branch"])
    y = norm(stream, t["norm"], eps=1e-6)
    return [multiply(y, t["first"]), multiply(y, t["second"]), add(stream, stream)]


def gated_unit(t: Mapping[str, Tensor]) -> list[Tensor]:
    gate, up = multiply(t["x"], t["gate"]), multiply(t["x"], t["up"])
    return [multiply(glu(gate, up, activation="silu"), t["down"])]


def attention_output(t: Mapping[str, Tensor], scale: float) -> list[Tensor]:
    y = attend(*(t[name] for name in ("q", "k", "v", "positions", "sequences")), scale=scale, window=0)
    return [multiply(y, t["weight"])]


def half_layer(t: Mapping[str, Tensor]) -> list[Tensor]:
    """A branch that ends in a product, then the norm that two products and a gated unit read."""
    stream = add(add(t["x"], t["x"]), multiply(t["inner"], t["out"]))
    y = norm(stream, t["norm"], eps=1e-6)
    gated = glu(multiply(y, t["gate"]), multiply(y, t["up"]), activation="silu")
    return [stream, multiply(y, t["query"], t["bias"]), gated]


def product(t: Mapping[str, Tensor]) -> list[Tensor]:
    return [multiply(t["x"], t["weight"])]


def product_error(got: Array, x: Array, weight: Weight) -> float:
    return error(got, matmul.reference(x, weight.dense()), product_scale(x, weight.dense()))


@pytest.mark.parametrize(("rows", "columns"), [(2, 32), (3, 96), (8, 4096), (11, 1152), (16, 5376)])
@pytest.mark.parametrize("branches", ["none", "plain", "normed"])
def test_norms(variant: Variant, rows: int, columns: int, branches: str) -> None:
    """A norm with two readers; the residual stream goes on."""
    arrays = {"x": random_rows(1, rows, columns), "branch": random_rows(2, rows, columns)}
    factors = {"norm": 1.0 + random_rows(3, columns), "post": 1.0 + random_rows(4, columns)}
    weights = {name: random_weight("q4_0", 40, columns, seed) for seed, name in enumerate(("first", "second"))}
    want = 2.0 * arrays["x"].astype(np.float64)
    if branches != "none":
        doubles = arrays["branch"].astype(np.float64)
        want += rms_norm.reference(doubles, factors["post"], eps=1e-6) if branches == "normed" else doubles
    inputs = {**arrays, **factors, **weights}
    kernels, (first, second, total) = variant.call(run, inputs, norms, branches)
    assert "norm_round" in kernels
    assert "round_rows" not in kernels
    normed = rms_norm.reference(want, factors["norm"].astype(np.float64), eps=1e-6)
    assert error(total, 2.0 * want) <= tolerances.KERNELS["add_rms_norm", "float32"]
    assert product_error(first, normed, weights["first"]) <= PRODUCT
    assert product_error(second, normed, weights["second"]) <= PRODUCT


@pytest.mark.parametrize("rows", [2, 8, 13])
def test_gated_units(variant: Variant, rows: int) -> None:
    x, columns, hidden = random_rows(5, rows, 256), 256, 160
    weights = {name: random_weight("q4_k" if name != "down" else "q4_0", hidden, columns, 5) for name in ("gate", "up")}
    weights["down"] = random_weight("q4_0", 70, hidden, 6)
    kernels, (got,) = variant.call(run, {"x": x, **weights}, gated_unit)
    assert kernels == {"round_rows", "matmul_glu_batch_tile_q4_k", "matmul_batch_tile_q4_0_t2"}
    gate, up = weights["gate"].dense(), weights["up"].dense()
    gated = matmul_glu.reference(x.astype(np.float64), gate, up, activation="silu")
    assert product_error(got, gated, weights["down"]) <= 2 * PRODUCT  # the gated inputs are rounded ones already


@pytest.mark.parametrize(("rows", "columns"), [(2, 32), (8, 1152), (13, 4096)])
def test_adds_and_norms_after_a_product(variant: Variant, rows: int, columns: int) -> None:
    arrays = {"x": random_rows(11, rows, columns), "inner": random_rows(12, rows, 288)}
    vectors = {"norm": 1.0 + random_rows(13, columns), "bias": random_rows(14, 70)}
    weights = {"out": random_weight("q4_0", columns, 288, 8), "query": random_weight("q4_1", 70, columns, 9)}
    weights |= {name: random_weight("int4_g32", 64, columns, seed) for seed, name in enumerate(("gate", "up"))}
    kernels, (stream, query, gated) = variant.call(run, {**arrays, **vectors, **weights}, half_layer)
    assert "matmul_add_batch_tile_q4_0" in kernels
    assert "norm_round" not in kernels
    doubles = {name: array.astype(np.float64) for name, array in (arrays | vectors).items()}
    dense = {name: weight.dense() for name, weight in weights.items()}
    branch = doubles["inner"] @ dense["out"].T
    want = 2.0 * doubles["x"] + branch
    assert error(stream, want, np.abs(want) + product_scale(doubles["inner"], dense["out"])) <= PRODUCT
    y = rms_norm.reference(stream.astype(np.float64), doubles["norm"], eps=1e-6)
    assert error(query, y @ dense["query"].T + doubles["bias"], product_scale(y, dense["query"])) <= PRODUCT
    gates, ups = y @ dense["gate"].T, y @ dense["up"].T
    scale = np.abs(ups) * product_scale(y, dense["gate"]) + np.abs(gates) * product_scale(y, dense["up"])
    assert error(gated, matmul_glu.reference(y, dense["gate"], dense["up"], activation="silu"), scale) <= PRODUCT


@pytest.mark.parametrize(("head_dim", "dtype"), [(64, np.float16), (128, np.float16), (96, np.float32)])
def test_attention(variant: Variant, head_dim: int, dtype: type) -> None:
    rows, heads, kv_heads, capacity = 5, 4, 2, 150
    inputs = {"q": random_rows(7, rows, heads * head_dim)}
    inputs |= {name: random_rows(s, 2, kv_heads, capacity, head_dim).astype(dtype) for s, name in ((8, "k"), (9, "v"))}
    places = {"positions": np.array([3, 149, 0, 77, 78], np.int32), "sequences": np.array([0, 1, 1, 0, 0], np.int32)}
    weight = random_weight("q4_0", 40, heads * head_dim, 7)
    every = {**inputs, **places, "weight": weight}
    kernels, (got,) = variant.call(run, every, attention_output, head_dim**-0.5)
    assert "round_rows" not in kernels
    on_matrices = f"attention_split_tile_f16_d{head_dim}" in kernels
    assert on_matrices == (dtype is np.float16)
    doubles = [array.astype(np.float64) for array in inputs.values()]
    want = attention.reference(*doubles, **places, scale=head_dim**-0.5, window=0)
    assert product_error(got, want, weight) <= (tolerances.KERNELS["attention", "float16"] if on_matrices else PRODUCT)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite_spoils_no_other(variant: Variant, value: float) -> None:
    x, weight = random_rows(10, 4, 64), random_weight("q4_0", 33, 64)
    x[2, 40] = value
    _, (got,) = variant.call(run, {"x": x, "weight": weight}, product)
    assert not np.isfinite(got[2]).any()
    others = [0, 1, 3]
    assert product_error(got[others], x[others].astype(np.float64), weight) <= PRODUCT
