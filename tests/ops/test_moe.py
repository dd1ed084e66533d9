"""The mixture-of-experts operations by every way to run them, against float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastgo import tolerances
from fastgo.assets.quant import GGUF_FORMATS
from fastgo.ops import cases, moe_combine, moe_group, moe_matmul, moe_matmul_glu, moe_route
from harness import OWN_FORMATS, Array, Weight, error, random_rows, random_weight, run, run_wide
from variants import Variant


def random_experts(format: str, num_experts: int, outputs: int, columns: int, seed: int = 0) -> Weight:
    """A stack of random matrices."""
    flat = random_weight(format, num_experts * outputs, columns, seed)
    return Weight(format, (num_experts, outputs, columns), flat.planar)


def forms(variant: Variant, grouped: bool) -> tuple[Callable[..., Any], ...]:
    """How an expert product is run: shaders of single pairs have a form for GPUs too."""
    return (run,) if variant.is_native or grouped else (run, run_wide)


def tolerance(op: str, variant: Variant, format: str, grouped: bool, experts: Array, num_experts: int) -> float:
    if variant.name != "device" or format == "f32":
        return tolerances.KERNELS[op, "float32"]
    if grouped:
        is_many = experts.size >= moe_group.TILE_PAIRS * num_experts
        return tolerances.KERNELS[op, "bfloat16" if is_many else "float32"]
    return tolerances.KERNELS[op, tolerances.matmul_precision("device", format, 1)]


def chosen_experts(rows: int, num_experts: int, top_k: int) -> Array:
    """Different experts for each token, the last expert for every third one."""
    rng = np.random.default_rng([rows, num_experts, top_k])
    experts = np.array([rng.permutation(num_experts)[:top_k] for _ in range(rows)], np.int32)
    for row in experts[::3]:
        if num_experts - 1 not in row:
            row[0] = num_experts - 1
    return experts


def check_groups(got: dict[str, Array], experts: Array, num_experts: int) -> None:
    order, tiles = moe_group.reference(experts, num_experts=num_experts)
    np.testing.assert_array_equal(got["order"], order)
    np.testing.assert_array_equal(got["tiles"][: len(tiles)], tiles)
    np.testing.assert_array_equal(got["tiles"][len(tiles) :], 0)


def moe_glu_error(got: Array, x: Array, gate: Weight, up: Weight, experts: Array) -> float:
    """By what the rounding of each product comes to: a gate near zero forgets how large its inputs were."""
    doubles = x.astype(np.float64), gate.dense(), up.dense()
    with np.errstate(over="ignore"):  # exp of a large negative gate
        want = moe_matmul_glu.reference(*doubles, experts, activation="silu")
    gates, ups = (moe_matmul.reference(doubles[0], w, experts) for w in doubles[1:])
    sizes = [np.sqrt(moe_matmul.reference(doubles[0] ** 2, w**2, experts)) for w in doubles[1:]]
    return error(got, want, np.abs(ups) * sizes[0] + np.abs(gates) * sizes[1])


@pytest.mark.parametrize("normalise", [False, True])
def test_moe_route(variant: Variant, normalise: bool) -> None:
    for rows, num_experts, top_k in cases.MOE_ROUTE:
        logits = random_rows(31, rows, num_experts)
        got = variant.call(run, "moe_route", {"logits": logits}, {"top_k": top_k, "normalise": normalise})
        experts, weights = moe_route.reference(logits.astype(np.float64), top_k=top_k, normalise=normalise)
        np.testing.assert_array_equal(got["experts"], experts)
        worst = error(got["weights"], weights)
        print(f"worst moe_route {variant.name} {rows} {num_experts} {top_k} {worst:.2g}")
        assert worst <= tolerances.KERNELS["moe_route", "float32"], (rows, num_experts, top_k)
        assert ("order" in got) == (rows * top_k > num_experts)
        if "order" in got:
            check_groups(got, experts, num_experts)


def test_equal_logits_take_the_lower_expert(variant: Variant) -> None:
    logits = np.zeros((2, 40), np.float32)
    logits[1, [7, 39]] = 1.0
    got = variant.call(run, "moe_route", {"logits": logits}, {"top_k": 4, "normalise": True})
    np.testing.assert_array_equal(got["experts"], [[0, 1, 2, 3], [7, 39, 0, 1]])
    np.testing.assert_allclose(got["weights"][0], 0.25, rtol=1e-6)


def test_logits_far_apart_and_no_numbers(variant: Variant) -> None:
    """Weights of hopeless experts are zero; what is no number still chooses valid experts."""
    logits = np.full((2, 8), -3e38, np.float32)
    logits[0, 5] = 1e4
    logits[1] = np.nan
    got = variant.call(run, "moe_route", {"logits": logits}, {"top_k": 3, "normalise": True})
    np.testing.assert_array_equal(got["experts"][0], [5, 0, 1])
    np.testing.assert_array_equal(got["weights"][0], [1.0, 0.0, 0.0])
    assert sorted(got["experts"][1]) == [0, 1, 2]


@pytest.mark.parametrize("format", [*(f.name for f in GGUF_FORMATS.values()), *OWN_FORMATS])
def test_moe_matmul(variant: Variant, format: str) -> None:
    for grouped in (False, True):
        for rows, num_experts, top_k, columns, outputs in cases.MOE_MATMUL:
            experts = chosen_experts(rows, num_experts, top_k)
            weight = random_experts(format, num_experts, outputs, columns)
            attributes = {"num_experts": num_experts, "grouped": grouped}
            for x in (random_rows(32, rows, columns), random_rows(33, rows, top_k, columns)):
                inputs = {"x": x, "weight": weight, "experts": experts}
                doubles = x.astype(np.float64), weight.dense()
                squares = moe_matmul.reference(np.square(doubles[0]), np.square(doubles[1]), experts)
                want = moe_matmul.reference(*doubles, experts)
                for form in forms(variant, grouped):
                    got = variant.call(form, "moe_matmul", inputs, attributes)["y"]
                    worst = error(got, want, np.sqrt(squares))
                    case = (grouped, rows, num_experts, top_k, columns, outputs, form.__name__)
                    print(f"worst moe_matmul {variant.name} {format} {case} {worst:.2g}")
                    assert worst <= tolerance("moe_matmul", variant, format, grouped, experts, num_experts), case


@pytest.mark.parametrize("format", [*(f.name for f in GGUF_FORMATS.values()), *OWN_FORMATS])
def test_moe_matmul_glu(variant: Variant, format: str) -> None:
    for grouped in (False, True):
        for rows, num_experts, top_k, columns, outputs in cases.MOE_MATMUL:
            experts = chosen_experts(rows, num_experts, top_k)
            gate = random_experts(format, num_experts, outputs, columns, 1)
            up = random_experts(format, num_experts, outputs, columns, 2)
            x = random_rows(34, rows, columns)
            inputs = {"x": x, "gate": gate, "up": up, "experts": experts}
            attributes = {"num_experts": num_experts, "grouped": grouped, "activation": "silu"}
            for form in forms(variant, grouped):
                got = variant.call(form, "moe_matmul", inputs, attributes)["y"]
                worst = moe_glu_error(got, x, gate, up, experts)
                case = (grouped, rows, num_experts, top_k, columns, outputs, form.__name__)
                print(f"worst moe_matmul_glu {variant.name} {format} {case} {worst:.2g}")
                assert worst <= tolerance("moe_matmul_glu", variant, format, grouped, experts, num_experts), case


@pytest.mark.parametrize("format", [*(f.name for f in GGUF_FORMATS.values()), *OWN_FORMATS])
def test_many_pairs_on_wide_devices(variant: Variant, format: str) -> None:
    """Tiles of up to 64 pairs: whole and broken ones, an expert that nobody chose, one that all chose."""
    if variant.is_native:
        pytest.skip("a form for GPUs: the shader itself is tested")
    precision = "float32" if format == "f32" else "bfloat16"
    for rows, num_experts, top_k, columns, outputs in ((40, 5, 2, 256, 70), (90, 3, 1, 512, 20)):
        experts = chosen_experts(rows, num_experts - 1, top_k)
        gate, up = (random_experts(format, num_experts, outputs, columns, seed) for seed in (1, 2))
        for x in (random_rows(37, rows, columns), random_rows(38, rows, top_k, columns)):
            inputs = {"x": x, "weight": up, "experts": experts}
            attributes = {"num_experts": num_experts, "grouped": True}
            got = variant.call(run_wide, "moe_matmul", inputs, attributes)["y"]
            doubles = x.astype(np.float64), up.dense()
            squares = moe_matmul.reference(np.square(doubles[0]), np.square(doubles[1]), experts)
            worst = error(got, moe_matmul.reference(*doubles, experts), np.sqrt(squares))
            print(f"worst moe_matmul {variant.name} {format} {(rows, num_experts, top_k)} {worst:.2g}")
            assert worst <= tolerances.KERNELS["moe_matmul", precision], (rows, num_experts, top_k)
        x = random_rows(39, rows, columns)
        inputs = {"x": x, "gate": gate, "up": up, "experts": experts}
        got = variant.call(run_wide, "moe_matmul", inputs, {**attributes, "activation": "silu"})["y"]
        worst = moe_glu_error(got, x, gate, up, experts)
        print(f"worst moe_matmul_glu {variant.name} {format} {(rows, num_experts, top_k)} {worst:.2g}")
        assert worst <= tolerances.KERNELS["moe_matmul_glu", precision], (rows, num_experts, top_k)


def test_moe_combine(variant: Variant) -> None:
    for rows, top_k, columns in ((1, 1, 1), (1, 8, 2048), (5, 3, 70), (33, 4, 300)):
        x, weights = random_rows(35, rows, top_k, columns), random_rows(36, rows, top_k)
        got = variant.call(run, "moe_combine", {"x": x, "weights": weights}, {})["y"]
        doubles = x.astype(np.float64), weights.astype(np.float64)
        scale = np.sqrt(moe_combine.reference(doubles[0] ** 2, doubles[1] ** 2))
        worst = error(got, moe_combine.reference(*doubles), scale)
        print(f"worst moe_combine {variant.name} {rows} {top_k} {columns} {worst:.2g}")
        assert worst <= tolerances.KERNELS["moe_combine", "float32"], (rows, top_k, columns)
