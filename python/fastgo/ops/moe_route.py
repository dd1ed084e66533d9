"""moe_route: which experts each token goes to, and with which weights. Shazeer et al. 2017; modeling_qwen3_moe.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastgo.graph.dag import KernelCall, Node, Op, Tensor
from fastgo.ops.common import SIMD_WIDTH, Array
from fastgo.ops.moe_group import MAX_EXPERTS, moe_group


@dataclass(frozen=True)
class Routing:
    """The experts of each token: `experts` (rows, top_k) int32, best first, and `weights` (rows, top_k) float32.

    A pair is a token with one of its experts, numbered token * top_k + slot. `order` and `tiles` of at most
    `tile_pairs` pairs are what `moe_group` makes of them; without, each pair is computed alone.
    """

    experts: Tensor
    weights: Tensor
    num_experts: int
    order: Tensor | None = None
    tiles: Tensor | None = None
    tile_pairs: int = 1


def moe_route(logits: Tensor, *, top_k: int, normalise: bool) -> Routing:
    """Softmax over the router's (rows, num_experts) float32 logits, and the best `top_k` of them.

    `normalise` divides the chosen weights by their sum. Raises ValueError for a `top_k` that can't be.
    """
    rows, num_experts = logits.shape
    if not 1 <= top_k <= num_experts <= MAX_EXPERTS or not logits.is_contiguous:
        raise ValueError(f"can't choose {top_k} of {num_experts} experts (at most {MAX_EXPERTS})")
    graph = logits.graph
    outputs = {
        "experts": graph.output("moe_route", (rows, top_k), "i32"),
        "weights": graph.output("moe_route", (rows, top_k)),
    }
    graph.add_node(MOE_ROUTE, {"logits": logits}, outputs, top_k=top_k, normalise=normalise)
    routing = Routing(outputs["experts"], outputs["weights"], num_experts)
    if rows * top_k <= num_experts:
        return routing  # few tokens: hardly two of them share an expert
    return Routing(routing.experts, routing.weights, num_experts, *moe_group(routing.experts, num_experts))


def _lower(node: Node) -> list[KernelCall]:
    rows, num_experts = node.inputs["logits"].shape
    arguments = {"num_experts": num_experts, "top_k": node.top_k, "normalise": int(node.normalise)}
    return [KernelCall("moe_route", {**node.inputs, **node.outputs}, arguments, (rows, 1, 1), (SIMD_WIDTH, 1, 1))]


def reference(logits: Array, *, top_k: int, normalise: bool) -> tuple[Array, Array]:
    """Experts (rows, top_k), the lower of equals first, and their weights."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    experts = np.argsort(-logits, axis=1, kind="stable")[:, :top_k]
    weights = np.take_along_axis(probabilities, experts, axis=1)
    return experts, weights / weights.sum(axis=1, keepdims=True) if normalise else weights


MOE_ROUTE = Op("moe_route", _lower, reference)
