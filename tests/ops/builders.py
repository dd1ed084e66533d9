"""Adds a node of one operation, by its name, to a graph: what harness.py runs. Inputs go by the kernel's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastgo.graph.dag import Graph, Tensor
from fastgo.graph.passes import PASSES
from fastgo.ops import batch_matmul
from fastgo.ops.add import add
from fastgo.ops.add_rms_norm import ADD_RMS_NORM
from fastgo.ops.adjust_logits import adjust_logits
from fastgo.ops.attention import attention
from fastgo.ops.attention_split import attention_split
from fastgo.ops.bias_add import bias_add
from fastgo.ops.cast import cast
from fastgo.ops.combine_matmul import COMBINE_MATMUL
from fastgo.ops.copy import copy
from fastgo.ops.dropout import dropout
from fastgo.ops.embed import embed
from fastgo.ops.glu import glu
from fastgo.ops.layer_norm import layer_norm
from fastgo.ops.log_probabilities import log_probabilities
from fastgo.ops.matmul import matmul
from fastgo.ops.matmul_glu import MATMUL_GLU
from fastgo.ops.matmul_group import MATMUL_GROUP
from fastgo.ops.moe_combine import moe_combine
from fastgo.ops.moe_group import moe_group
from fastgo.ops.moe_matmul import moe_matmul
from fastgo.ops.moe_route import Routing, moe_route
from fastgo.ops.norm_matmul_glu import NORM_MATMUL_GLU
from fastgo.ops.norm_matmul_group import NORM_MATMUL_GROUP
from fastgo.ops.rms_norm import rms_norm
from fastgo.ops.rope_attention import ROPE_ATTENTION, split_outputs
from fastgo.ops.rope_cache import rope_cache
from fastgo.ops.sample import sample
from fastgo.ops.sandwich_norm import SANDWICH_NORM
from fastgo.ops.scatter_rows import scatter_rows
from fastgo.ops.soft_cap import soft_cap
from fastgo.ops.transpose_2d import transpose_2d

Tensors = Mapping[str, Tensor]
Attributes = Mapping[str, Any]


def _in_place_norm(op: Any, graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    outputs = {"x": graph.alias(t["x"]), "y": graph.output("y", t["x"].shape)}
    graph.add_node(op, dict(t), outputs, **attributes)
    return outputs


def _matmul_glu(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    """The fused node itself; for a few rows of a wide device the pass makes it."""
    outputs = {"y": graph.output("y", (t["x"].shape[0], t["gate"].shape[0]))}
    if batch_matmul.suits(t["x"].shape[0], t["gate"]):
        outputs = {"y": glu(matmul(t["x"], t["gate"]), matmul(t["x"], t["up"]), **attributes)}
        graph.results.append(outputs["y"])
        assert PASSES["matmul_glu"](graph) == 1
    else:
        graph.add_node(MATMUL_GLU, dict(t), outputs, **attributes)
    return outputs


def _matmul_group(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    names = ("first", "second", "third")
    outputs = {f"y_{name}": graph.output(name, (t["x"].shape[0], t[name].shape[0])) for name in names}
    graph.add_node(MATMUL_GROUP, dict(t), outputs)
    return outputs


def _matmul_split(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    y = matmul(**t, **attributes)
    graph.results.append(y)
    assert PASSES["matmul_split"](graph) == 1
    return {"y": y}


def _combine_matmul(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    outputs = {"y": graph.output("y", (1, t["weight"].shape[0]))}
    graph.add_node(COMBINE_MATMUL, dict(t), outputs, **attributes)
    return outputs


def _norm_matmul(
    op: Any, weights: Sequence[str], graph: Graph, t: Tensors, attributes: Attributes
) -> dict[str, Tensor]:
    """A product of the norm for each of `weights`, outputs' names and weights' names paired with a colon."""
    outputs = {"stream": graph.output("stream", t["x"].shape)} if "branch" in t else {}
    for pair in weights:
        output, _, weight = pair.partition(":")
        outputs[output] = graph.output(output, (1, t[weight].shape[0]))
    graph.add_node(op, dict(t), outputs, **attributes)
    return outputs


def _moe_route(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    """All that routing gives, grouped or not."""
    routing = moe_route(t["logits"], **attributes)
    outputs = {"experts": routing.experts, "weights": routing.weights}
    if routing.order is not None and routing.tiles is not None:
        outputs |= {"order": routing.order, "tiles": routing.tiles}
    return outputs


def _moe_matmul(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    """With `experts` given; grouped if the attribute says so. With weights `gate` and `up`, their fused form."""
    num_experts = attributes["num_experts"]
    groups = moe_group(t["experts"], num_experts) if attributes["grouped"] else ()
    routing = Routing(t["experts"], t["experts"], num_experts, *groups)
    if "weight" in t:
        return {"y": moe_matmul(t["x"], t["weight"], routing)}
    gate, up = moe_matmul(t["x"], t["gate"], routing), moe_matmul(t["x"], t["up"], routing)
    outputs = {"y": glu(gate, up, activation=attributes["activation"])}
    graph.results.append(outputs["y"])
    assert PASSES["matmul_glu"](graph) == 1
    return outputs


def _rope_cache(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    q_out, k_cache, v_cache = rope_cache(**t, **attributes)
    return {"q_out": q_out, "k_cache": k_cache, "v_cache": v_cache}


def _rope_attention(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    caches = {name: graph.alias(t[name]) for name in ("k_cache", "v_cache")}
    _, _, capacity, head_dim = t["k_cache"].shape
    span = min(capacity, attributes["window"] or capacity)
    parts = split_outputs(graph, t["q"].shape[1] // head_dim, head_dim, span)
    outputs = {**caches, "y": graph.output("y", t["q"].shape), **parts}
    inputs = {name: tensor for name, tensor in t.items() if name not in caches}
    graph.add_node(ROPE_ATTENTION, inputs, outputs, **attributes)
    return outputs


def _log_probabilities(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    log_probabilities(**t)
    return {name: t[name] for name in ("values", "likely")}


def _sample(graph: Graph, t: Tensors, attributes: Attributes) -> dict[str, Tensor]:
    sample(**t)
    return {name: t[name] for name in ("token", "next_position", "history")}


# By operation: adds the node and returns its outputs by the kernel's names.
BUILDERS: Mapping[str, Callable[[Graph, Tensors, Attributes], dict[str, Tensor]]] = {
    "add": lambda _, t, a: {"y": add(**t)},
    "add_rms_norm": lambda graph, t, a: _in_place_norm(ADD_RMS_NORM, graph, t, a),
    "adjust_logits": lambda _, t, a: dict(zip(("y", "seen"), adjust_logits(**t), strict=True)),
    "attention": lambda _, t, a: {"y": attention(**t, **a)},
    "attention_split": lambda _, t, a: dict(zip(("y", "log_sum_exp"), attention_split(**t, **a), strict=True)),
    "bias_add": lambda _, t, a: {"y": bias_add(**t)},
    "cast": lambda _, t, a: {"y": cast(**t, **a)},
    "dropout": lambda _, t, a: {"y": dropout(**t, **a)},
    "layer_norm": lambda _, t, a: {"y": layer_norm(**t, **a)},
    "log_probabilities": _log_probabilities,
    "scatter_rows": lambda _, t, a: {"y": scatter_rows(**t)},
    "soft_cap": lambda _, t, a: {"y": soft_cap(**t, **a)},
    "transpose_2d": lambda _, t, a: {"y": transpose_2d(**t)},
    "combine_matmul": _combine_matmul,
    "copy": lambda _, t, a: {"y": copy(**t)},
    "embed": lambda _, t, a: {"y": embed(**t, **a)},
    "glu": lambda _, t, a: {"y": glu(**t, **a)},
    "matmul": lambda _, t, a: {"y": matmul(**t, **a)},
    "matmul_glu": _matmul_glu,
    "matmul_group": _matmul_group,
    "matmul_split": _matmul_split,
    "moe_combine": lambda _, t, a: {"y": moe_combine(t["x"], Routing(t["weights"], t["weights"], 0))},
    "moe_matmul": _moe_matmul,
    "moe_route": _moe_route,
    "norm_matmul_glu": lambda graph, t, a: _norm_matmul(NORM_MATMUL_GLU, ["y:gate"], graph, t, a),
    "norm_matmul_group": lambda graph, t, a: _norm_matmul(
        NORM_MATMUL_GROUP, ["y_first:first", "y_second:second", "y_third:third"], graph, t, a
    ),
    "rms_norm": lambda _, t, a: {"y": rms_norm(**t, **a)},
    "rope_attention": _rope_attention,
    "rope_cache": _rope_cache,
    "sample": _sample,
    "sandwich_norm": lambda graph, t, a: _in_place_norm(SANDWICH_NORM, graph, t, a),
}
