"""Passes over a graph. A fusion replaces a small pattern of nodes by one whose kernel does the same in one go.

A pass is a function from a graph to the number of changes made. Every pass can be switched off by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from fastgo.graph.dag import Graph, Node, Storage, Tensor
from fastgo.graph.rewriter import Rewriter, produced_by
from fastgo.ops import attention_tile, combine_matmul, matmul_group, matmul_split
from fastgo.ops.add import ADD
from fastgo.ops.add_rms_norm import ADD_RMS_NORM
from fastgo.ops.attention import ATTENTION
from fastgo.ops.attention_split import ATTENTION_SPLIT, has_whole_chunks
from fastgo.ops.batch_matmul import BATCH_MATMUL, BATCH_MATMUL_ADD, BATCH_MATMUL_GLU, may_add, squares_output
from fastgo.ops.dropout import DROPOUT
from fastgo.ops.glu import GLU
from fastgo.ops.matmul import MATMUL, multiplies_bfloats
from fastgo.ops.matmul_glu import MATMUL_GLU
from fastgo.ops.moe_matmul import MOE_MATMUL
from fastgo.ops.moe_matmul_glu import MOE_MATMUL_GLU
from fastgo.ops.norm_matmul_glu import NORM_MATMUL_GLU
from fastgo.ops.norm_matmul_group import NORM_MATMUL_GROUP, suits
from fastgo.ops.rms_norm import RMS_NORM
from fastgo.ops.rope_attention import ROPE_ATTENTION, has_kernel, split_outputs
from fastgo.ops.rope_cache import ROPE_CACHE
from fastgo.ops.rounded_rows import NORM_ROUND, ROUND_ROWS, may_norm
from fastgo.ops.sandwich_norm import SANDWICH_NORM


def fuse_add_rms_norm(graph: Graph) -> int:
    """x + branch, then its norm: the residual stream is updated in place."""
    rewriter = Rewriter(graph)
    for norm in rewriter.nodes(RMS_NORM):
        total = norm.inputs["x"]
        add = produced_by(total, ADD)
        if add is None or rewriter.readers(total)[0] is not norm or not rewriter.can_wait(add, norm):
            continue
        x, branch = add.inputs["a"], add.inputs["b"]
        is_whole = x.offset == 0 and x.is_contiguous and x.size == x.root.size
        if x.storage is not Storage.ARENA or not is_whole or rewriter.readers(x)[-1] is not add:
            continue
        if x.shape != branch.shape or not branch.is_contiguous or rewriter.is_result(x):
            continue
        inputs = {"x": x, "branch": branch, "weight": norm.inputs["weight"]}
        fused = Node(ADD_RMS_NORM, inputs, {"x": total, "y": norm.outputs["y"]}, {"eps": norm.eps})
        rewriter.replace([add, norm], fused)
        rewriter.move(total, x.root)
    return rewriter.finish()


def fuse_sandwich_norm(graph: Graph) -> int:
    """Gemma's post-norm of a branch, the residual add and the next branch's norm."""
    rewriter = Rewriter(graph)
    for node in rewriter.nodes(ADD_RMS_NORM):
        branch = node.inputs["branch"]
        post_norm = produced_by(branch, RMS_NORM)
        if post_norm is None or not rewriter.is_only_for(branch, node) or post_norm.eps != node.eps:
            continue
        if node.inputs["x"].root is branch.root or not rewriter.can_wait(post_norm, node):
            continue
        inputs = {
            "x": node.inputs["x"],
            "branch": post_norm.inputs["x"],
            "post_weight": post_norm.inputs["weight"],
            "weight": node.inputs["weight"],
        }
        rewriter.replace([post_norm, node], Node(SANDWICH_NORM, inputs, node.outputs, {"eps": node.eps}))
    return rewriter.finish()


def _is_plain(product: Node) -> bool:
    """Whether nothing follows the product in its kernel."""
    return "bias" not in product.inputs and product.attributes.get("activation", "none") == "none"


def fuse_matmul_glu(graph: Graph) -> int:
    """The gate and up projections and their gate, when both weights have one format and shape."""
    rewriter = Rewriter(graph)
    forms = ((MATMUL, MATMUL_GLU), (BATCH_MATMUL, BATCH_MATMUL_GLU), (MOE_MATMUL, MOE_MATMUL_GLU))
    for projection, fused in forms:
        for glu in rewriter.nodes(GLU):
            gate = produced_by(glu.inputs["gate"], projection)
            up = produced_by(glu.inputs["up"], projection)
            if gate is None or up is None or gate is up:
                continue
            gate_weight, up_weight = gate.inputs["weight"], up.inputs["weight"]
            shared = {name: tensor for name, tensor in gate.inputs.items() if name != "weight"}
            if shared != {name: tensor for name, tensor in up.inputs.items() if name != "weight"}:
                continue
            if gate_weight.dtype != up_weight.dtype or gate_weight.shape != up_weight.shape:
                continue
            if not _is_plain(gate) or not _is_plain(up):
                continue
            if not rewriter.is_only_for(glu.inputs["gate"], glu) or not rewriter.is_only_for(glu.inputs["up"], glu):
                continue
            if not rewriter.can_wait(gate, glu) or not rewriter.can_wait(up, glu):
                continue
            inputs = {"gate": gate_weight, "up": up_weight, **shared}
            attributes = {**gate.attributes, "activation": glu.activation}
            rewriter.replace([gate, up, glu], Node(fused, inputs, glu.outputs, attributes))
    return rewriter.finish()


def _products_of(rewriter: Rewriter, y: Tensor) -> list[Node]:
    """The readers of one row's norm, if they are a layer's gate and up or its queries, keys and values; else none."""
    readers = rewriter.readers(y)
    if (
        y.shape[0] != 1
        or rewriter.is_result(y)
        or any(node.inputs["x"] is not y for node in readers if "x" in node.inputs)
    ):
        return []
    if len(readers) == 1 and readers[0].op is MATMUL_GLU:
        weights = [readers[0].inputs["gate"]]
    elif (
        len(readers) == 3
        and all(node.op is MATMUL and node.activation == "none" for node in readers)
        and len({"bias" in node.inputs for node in readers}) == 1
    ):
        weights = [node.inputs["weight"] for node in readers]
    else:
        return []
    return readers if suits(weights[0]) and len({weight.dtype for weight in weights}) == 1 else []


def _branch_of(rewriter: Rewriter, norm: Node, products: list[Node]) -> tuple[list[Node], dict[str, Tensor]]:
    """The residual add before a norm, and the norm of its branch: the nodes, and their inputs by the kernels' names."""
    total = norm.inputs["x"]
    add = produced_by(total, ADD)
    alone: tuple[list[Node], dict[str, Tensor]] = ([], {"x": total})
    if add is None or rewriter.readers(total)[0] is not norm or not rewriter.can_wait(add, products[-1]):
        return alone
    x, branch = add.inputs["a"], add.inputs["b"]
    later = [node for node in rewriter.readers(total) if node is not norm]
    if (
        x.shape != branch.shape
        or not branch.is_contiguous
        or not x.is_contiguous
        or rewriter.is_changed_in_place(total)
    ):
        return alone
    if any(rewriter.order[node] < rewriter.order[products[-1]] for node in later):
        return alone
    post_norm = produced_by(branch, RMS_NORM)
    if post_norm is None or not rewriter.is_only_for(branch, add) or post_norm.eps != norm.eps:
        return [add], {"x": x, "branch": branch}
    if not rewriter.can_wait(post_norm, products[-1]):
        return [add], {"x": x, "branch": branch}
    inputs = {"x": x, "branch": post_norm.inputs["x"], "post_weight": post_norm.inputs["weight"]}
    return [post_norm, add], inputs


def fuse_norm_matmul(graph: Graph) -> int:
    """A residual add, its norm and the products of the norm, where every core may as well do the norm itself."""
    rewriter = Rewriter(graph)
    for norm in rewriter.nodes(RMS_NORM):
        y = norm.outputs["y"]
        products = _products_of(rewriter, y)
        if not products or not rewriter.can_wait(norm, products[-1]):
            continue
        before, inputs = _branch_of(rewriter, norm, products)
        inputs["weight"] = norm.inputs["weight"]
        outputs = {"stream": norm.inputs["x"]} if before else {}
        attributes = {"eps": norm.eps}
        if products[0].op is MATMUL_GLU:
            op, attributes["activation"] = NORM_MATMUL_GLU, products[0].activation
            inputs |= {name: products[0].inputs[name] for name in ("gate", "up")}
            outputs["y"] = products[0].outputs["y"]
        else:
            op = NORM_MATMUL_GROUP
            for name, product in zip(("first", "second", "third"), products, strict=True):
                inputs[name], outputs[f"y_{name}"] = product.inputs["weight"], product.outputs["y"]
                if "bias" in product.inputs:
                    inputs[f"bias_{name}"] = product.inputs["bias"]
        rewriter.replace([*before, norm, *products], Node(op, inputs, outputs, attributes))
    return rewriter.finish()


def fuse_rope_attention(graph: Graph) -> int:
    """The write of one row's key and value into the cache, and the attention of that row."""
    rewriter = Rewriter(graph)
    for node in rewriter.nodes(ATTENTION):
        q, keys, values = (node.inputs[name] for name in ("q", "k_cache", "v_cache"))
        rope = produced_by(q, ROPE_CACHE)
        if rope is None or keys is not rope.outputs["k_cache"] or values is not rope.outputs["v_cache"]:
            continue
        head_dim, is_whole_head = keys.shape[3], 2 * rope.inputs["frequencies"].shape[0] == keys.shape[3]
        if q.shape[0] != 1 or not has_kernel(keys) or not is_whole_head or rope.is_interleaved:
            continue
        if not rewriter.is_only_for(q, node) or not rewriter.can_wait(rope, node):
            continue
        if any(node.inputs[name] is not rope.inputs[name] for name in ("positions", "sequences")):
            continue
        span = min(keys.shape[2], node.window or keys.shape[2])
        parts = split_outputs(graph, q.shape[1] // head_dim, head_dim, span)
        outputs = {"k_cache": keys, "v_cache": values, "y": node.outputs["y"], **parts}
        attributes = {"scale": node.scale, "window": node.window, "eps": rope.eps}
        rewriter.replace([rope, node], Node(ROPE_ATTENTION, dict(rope.inputs), outputs, attributes))
    return rewriter.finish()


def fuse_attention_output(graph: Graph) -> int:
    """The parts of one row's attention put together by the product that reads it."""
    rewriter = Rewriter(graph)
    for product in rewriter.nodes(MATMUL):
        x, weight = product.inputs["x"], product.inputs["weight"]
        node = produced_by(x, ROPE_ATTENTION)
        if node is None or "partial" not in node.outputs or not rewriter.is_only_for(x, product):
            continue
        parts = {name: node.outputs[name] for name in ("partial", "bests", "totals")}
        if x is not node.outputs["y"] or not _is_plain(product) or not combine_matmul.suits(weight, parts["partial"]):
            continue
        outputs = {**parts, **{name: node.outputs[name] for name in ("k_cache", "v_cache")}}
        rewriter.replace([node], Node(ROPE_ATTENTION, node.inputs, outputs, node.attributes))
        fused = Node(combine_matmul.COMBINE_MATMUL, {"weight": weight, **parts}, product.outputs, {})
        rewriter.replace([product], fused)
    return rewriter.finish()


def fuse_rounding(graph: Graph) -> int:
    """Rows rounded for products of a few rows by the kernel that makes them."""
    rewriter = Rewriter(graph)
    for rounding in rewriter.nodes(ROUND_ROWS):
        x = rounding.inputs["x"]
        maker = x.producer
        if maker is None or not rewriter.is_only_for(x, rounding) or not rewriter.can_wait(maker, rounding):
            continue
        if maker.outputs.get("y") is not x:
            continue
        if maker.op in (RMS_NORM, ADD_RMS_NORM, SANDWICH_NORM) and may_norm(x):
            outputs = {"stream": maker.outputs["x"]} if "x" in maker.outputs else {}
            fused = Node(NORM_ROUND, maker.inputs, {**outputs, **rounding.outputs}, maker.attributes)
        elif maker.op is BATCH_MATMUL_GLU or (maker.op is ATTENTION_SPLIT and has_whole_chunks(maker)):
            outputs = {name: tensor for name, tensor in maker.outputs.items() if name != "y"}
            fused = Node(maker.op, maker.inputs, {**outputs, **rounding.outputs}, maker.attributes)
        else:
            continue
        rewriter.replace([maker, rounding], fused)
    return rewriter.finish()


def fuse_batch_add(graph: Graph) -> int:
    """For a few rows, the residual add and the norm's weight in the product before; the products after it end it."""
    rewriter = Rewriter(graph)
    for norm in rewriter.nodes(NORM_ROUND):
        branch, rounded = norm.inputs.get("branch"), norm.outputs["rounded"]
        product = produced_by(branch, BATCH_MATMUL) if branch is not None else None
        readers = rewriter.readers(rounded)
        if branch is None or product is None or "post_weight" in norm.inputs or not may_add(product):
            continue
        if not all(reader.op in (BATCH_MATMUL, BATCH_MATMUL_GLU) for reader in readers):
            continue
        if not rewriter.is_only_for(branch, norm) or not rewriter.can_wait(product, norm):
            continue
        squares = squares_output(branch)
        inputs = {"residual": norm.inputs["x"], "norm_weight": norm.inputs["weight"], **product.inputs}
        outputs = {"stream": norm.outputs["stream"], "rounded": rounded, "squares": squares}
        rewriter.replace([product, norm], Node(BATCH_MATMUL_ADD, inputs, outputs, {"rows": product.rows}))
        for reader in readers:
            whole = Node(
                reader.op, {**reader.inputs, "squares": squares}, reader.outputs, reader.attributes | {"eps": norm.eps}
            )
            rewriter.replace([reader], whole)
    return rewriter.finish()


def remove_dropout(graph: Graph) -> int:
    """At inference dropout's output is its input: readers of one get the other."""
    removed: set[Node] = set()
    rewriter = Rewriter(graph)
    for node in rewriter.nodes(DROPOUT):
        x, y = node.inputs["x"], node.outputs["y"]
        is_whole = x.offset == 0 and x.is_contiguous and x.size == x.root.size
        if x.storage is not Storage.ARENA or not is_whole:
            continue
        if rewriter.is_changed_in_place(x) or rewriter.is_changed_in_place(y):
            continue
        y.base, y.own_producer = x, None
        removed.add(node)
    graph.nodes = [node for node in graph.nodes if node not in removed]
    return len(removed)


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


def fuse_matmul_group(graph: Graph) -> int:
    """Products of many rows with matrices of one format: queries, keys and values."""
    rewriter = Rewriter(graph)
    for first in rewriter.nodes(MATMUL):
        if first not in rewriter.order:
            continue
        readers = [node for node in rewriter.readers(first.inputs["x"]) if node.op is MATMUL]
        if readers[:1] != [first] or not matmul_group.suits(readers):
            continue
        if not all(rewriter.can_wait(node, readers[-1]) for node in readers):
            continue
        inputs, outputs = matmul_group.join(readers)
        rewriter.replace(readers, Node(matmul_group.MATMUL_GROUP, inputs, outputs, {}))
    return rewriter.finish()


def split_matmul(graph: Graph) -> int:
    """Products of so few tiles that most cores would stand idle: their columns are shared out."""
    rewriter = Rewriter(graph)
    for node in rewriter.nodes(MATMUL):
        parts = matmul_split.parts_of(node)
        if parts > 1:
            rewriter.replace([node], matmul_split.split(node, parts))
    return rewriter.finish()


def _may_write_bfloat(node: Node) -> bool:
    """Whether the kernel that makes y from many rows has a form that writes it as bfloat."""
    if node.op in (RMS_NORM, ADD_RMS_NORM, SANDWICH_NORM):
        return True
    if node.op is ATTENTION and node.inputs["q"].graph.parallel_width == 1:
        return True
    if node.op in (ATTENTION, ATTENTION_SPLIT):
        return "partial" not in node.outputs and attention_tile.suits(node.inputs["q"], node.inputs["k_cache"])
    return node.op is MATMUL_GLU and multiplies_bfloats(node.inputs["x"].shape[0], node.inputs["gate"])


def _rounds_input(node: Node, x: Tensor) -> bool:
    """Whether the node is a product that rounds x, as a whole, to bfloat."""
    if node.op not in (MATMUL, MATMUL_GLU, matmul_group.MATMUL_GROUP, matmul_split.MATMUL_SPLIT):
        return False
    weights = [tensor for name, tensor in node.inputs.items() if name != "x" and not name.startswith("bias")]
    return node.inputs["x"] is x and all(multiplies_bfloats(x.shape[0], weight) for weight in weights)


def write_bfloat_inputs(graph: Graph) -> int:
    """What only products of many rows read, which round it to bfloat, is written so by the kernel that makes it."""
    rewriter = Rewriter(graph)
    count = 0
    for node in graph.nodes if graph.reads_bfloats else ():
        y = node.outputs.get("y")
        if y is None or y.base is not None or rewriter.is_result(y) or not _may_write_bfloat(node):
            continue
        readers = rewriter.readers(y)
        if readers and all(_rounds_input(reader, y) for reader in readers):
            y.dtype = "bf16"
            count += 1
    return count


PASSES: dict[str, Callable[[Graph], int]] = {
    "dropout": remove_dropout,
    "dead_nodes": eliminate_dead_nodes,
    "matmul_glu": fuse_matmul_glu,
    "norm_matmul": fuse_norm_matmul,
    "add_rms_norm": fuse_add_rms_norm,
    "sandwich_norm": fuse_sandwich_norm,
    "rope_attention": fuse_rope_attention,
    "attention_output": fuse_attention_output,
    "rounding": fuse_rounding,
    "matmul_group": fuse_matmul_group,
    "matmul_split": split_matmul,
    "batch_add": fuse_batch_add,
    "bfloat_inputs": write_bfloat_inputs,
}


def run_passes(graph: Graph, disabled: Collection[str] = ()) -> dict[str, int]:
    """Runs all passes in order but the disabled ones; returns how much each one changed."""
    return {name: fuse(graph) for name, fuse in PASSES.items() if name not in disabled}
