"""Lifetimes to one arena: where each activation lives, so that tensors not alive together share memory.

Offsets and sizes are bytes, multiples of the heap's alignment.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastgo.graph.dag import Graph, Storage, Tensor


@dataclass(frozen=True)
class Plan:
    """Offset of each arena tensor (by identity of the root), and the arena's size."""

    offsets: dict[Tensor, int]
    nbytes: int


@dataclass
class _Lifetime:
    tensor: Tensor
    nbytes: int
    first: int
    last: int


def _lifetimes(graph: Graph, alignment: int) -> list[_Lifetime]:
    found: dict[Tensor, _Lifetime] = {}
    for step, node in enumerate(graph.nodes):
        for tensor in (*node.inputs.values(), *node.outputs.values()):
            root = tensor.root
            if root.storage is not Storage.ARENA:
                continue
            nbytes = -(-root.nbytes // alignment) * alignment
            found.setdefault(root, _Lifetime(root, nbytes, step, step)).last = step
    for tensor in graph.results:
        if tensor.root in found:
            found[tensor.root].last = len(graph.nodes)
    return list(found.values())


def plan_arena(graph: Graph, alignment: int) -> Plan:
    """First fit, largest tensors first."""
    placed: list[tuple[_Lifetime, int]] = []
    for item in sorted(_lifetimes(graph, alignment), key=lambda x: (-x.nbytes, x.first)):
        neighbours = sorted(
            ((offset, offset + other.nbytes) for other, offset in placed
             if other.first <= item.last and item.first <= other.last),
        )  # fmt: skip
        position = 0
        for begin, end in neighbours:
            if begin - position >= item.nbytes:
                break
            position = max(position, end)
        placed.append((item, position))
    return Plan(
        offsets={item.tensor: offset for item, offset in placed},
        nbytes=max((offset + item.nbytes for item, offset in placed), default=alignment),
    )
