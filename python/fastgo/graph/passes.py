"""Passes over a graph. A fusion replaces a small pattern of nodes by one node whose kernel does the same in one pass over memory.

A pass is a function from a graph to the number of changes made. Every pass can be switched off by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from fastgo.graph.dag import Graph, Node, Storage, Tensor
from fastgo.ops.add import ADD
from fastgo.ops.add_rms_norm import ADD_RMS_NORM
from fastgo.ops.glu import GLU
from fastgo.ops.matmul import MATMUL
from fastgo.ops.matmul_glu import MATMUL_GLU
from fastgo.ops.rms_norm import RMS_NORM
from fastgo.ops.sandwich_norm import SANDWICH_NORM


def _readers(graph: Graph, tensor: Tensor) -> list[Node]:
    """Nodes that read this value, through any view of it, but not a later value in the same memory."""
    return [
        node
        for node in graph.nodes
        if any(t.root is tensor.root and t.producer is tensor.producer for t in node.inputs.values())
    ]


def _only_reader(graph: Graph, tensor: Tensor, reader: Node) -> bool:
    return tensor.storage is Storage.ARENA and tensor not in graph.results and _readers(graph, tensor) == [reader]


def _produced_by(tensor: Tensor, op: object) -> Node | None:
    """The node of kind `op` whose whole output `tensor` is."""
    node = tensor.producer
    return node if node is not None and node.op is op and tensor in node.outputs.values() else None


def _replace(graph: Graph, old: Collection[Node], new: Node) -> None:
    """Puts `new` where the last of `old` stood."""
    last = max(graph.nodes.index(node) for node in old)
    graph.nodes[last] = new
    graph.nodes = [node for node in graph.nodes if node is new or node not in old]
    for tensor in new.outputs.values():
        tensor.producer = new


def _retarget(graph: Graph, old: Tensor, new: Tensor) -> None:
    """Makes every use of the value `old` a use of `new`, which has the same shape."""
    producer = old.producer
    for tensor in {id(t): t for node in graph.nodes for t in node.inputs.values()}.values():
        if tensor is not old and tensor.root is old.root and tensor.producer is producer:
            _rebase(tensor, old, new)
    for node in graph.nodes:
        for name, tensor in node.inputs.items():
            if tensor is old:
                node.inputs[name] = new
    graph.results = [new if tensor is old else tensor for tensor in graph.results]


def _rebase(view: Tensor, old: Tensor, new: Tensor) -> None:
    """Moves a chain of views from `old` onto `new`."""
    while view.base is not None and view.base is not old and view.producer is old.producer:
        view.producer = new.producer
        view = view.base
    view.base = new
    view.offset += new.offset - old.offset
    view.producer = new.producer


def fuse_add_rms_norm(graph: Graph) -> int:
    """x + branch, then its norm: the residual stream is updated in place."""
    fused = 0
    for norm in [node for node in graph.nodes if node.op is RMS_NORM]:
        total = norm.inputs["x"]
        add = _produced_by(total, ADD)
        if add is None:
            continue
        x, branch = add.inputs["a"], add.inputs["b"]
        in_place = x.storage is Storage.ARENA and x.is_contiguous and _readers(graph, x)[-1] is add
        if not in_place or x.shape != branch.shape or not branch.is_contiguous:
            continue
        new_x = graph.alias(x)
        node = Node(
            ADD_RMS_NORM,
            {"x": x, "branch": branch, "weight": norm.inputs["weight"]},
            {"x": new_x, "y": norm.outputs["y"]},
            {"eps": norm.eps},
        )
        first_use = graph.nodes.index(norm)
        if any(graph.nodes.index(reader) < first_use for reader in _readers(graph, total)):
            continue
        _replace(graph, [add, norm], node)
        _retarget(graph, total, new_x)
        fused += 1
    return fused


def fuse_sandwich_norm(graph: Graph) -> int:
    """Gemma's post-norm of a branch, the residual add and the next branch's norm."""
    fused = 0
    for node in [node for node in graph.nodes if node.op is ADD_RMS_NORM]:
        branch = node.inputs["branch"]
        post_norm = _produced_by(branch, RMS_NORM)
        if post_norm is None or not _only_reader(graph, branch, node) or post_norm.eps != node.eps:
            continue
        inputs = {
            "x": node.inputs["x"],
            "branch": post_norm.inputs["x"],
            "post_weight": post_norm.inputs["weight"],
            "weight": node.inputs["weight"],
        }
        _replace(graph, [post_norm, node], Node(SANDWICH_NORM, inputs, node.outputs, {"eps": node.eps}))
        fused += 1
    return fused


def fuse_matmul_glu(graph: Graph) -> int:
    """The gate and up projections and their gate, when both weights have one format and shape."""
    fused = 0
    for glu in [node for node in graph.nodes if node.op is GLU]:
        gate = _produced_by(glu.inputs["gate"], MATMUL)
        up = _produced_by(glu.inputs["up"], MATMUL)
        if gate is None or up is None or gate is up or gate.inputs["x"] is not up.inputs["x"]:
            continue
        gate_weight, up_weight = gate.inputs["weight"], up.inputs["weight"]
        if gate_weight.dtype != up_weight.dtype or gate_weight.shape != up_weight.shape:
            continue
        if not _only_reader(graph, glu.inputs["gate"], glu) or not _only_reader(graph, glu.inputs["up"], glu):
            continue
        inputs = {"gate": gate_weight, "up": up_weight, "x": gate.inputs["x"]}
        attributes = {"activation": glu.activation}
        _replace(graph, [gate, up, glu], Node(MATMUL_GLU, inputs, glu.outputs, attributes))
        fused += 1
    return fused


def eliminate_dead_nodes(graph: Graph) -> int:
    """Drops nodes whose outputs nobody reads and that change no state."""
    needed: list[Node] = []
    wanted: set[tuple[Tensor, Node | None]] = {(t.root, t.producer) for t in graph.results}
    for node in reversed(graph.nodes):
        outputs = node.outputs.values()
        if any(t.storage is Storage.STATE or (t.root, node) in wanted for t in outputs):
            needed.append(node)
            wanted |= {(t.root, t.producer) for t in node.inputs.values()}
    removed = len(graph.nodes) - len(needed)
    graph.nodes = needed[::-1]
    return removed


PASSES: dict[str, Callable[[Graph], int]] = {
    "dead_nodes": eliminate_dead_nodes,
    "add_rms_norm": fuse_add_rms_norm,
    "sandwich_norm": fuse_sandwich_norm,
    "matmul_glu": fuse_matmul_glu,
}


def run_passes(graph: Graph, disabled: Collection[str] = ()) -> dict[str, int]:
    """Runs all passes in order but the disabled ones; returns how much each one changed."""
    return {name: fuse(graph) for name, fuse in PASSES.items() if name not in disabled}
