"""How passes replace nodes of a graph while they keep track of who reads and writes which value."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

from fastgo.graph.dag import Graph, Node, Op, Storage, Tensor


class Rewriter:
    """The nodes of a graph while a pass replaces some of them, with who reads which value.

    A value is a root tensor as one node left it: an operation in place makes another value of the same root. Who reads
    and writes is looked up at the first question: most passes find no node of their kind.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.order = {node: i for i, node in enumerate(graph.nodes)}
        self.count = 0

    @cached_property
    def _readers(self) -> dict[tuple[Tensor, Node | None], list[Node]]:
        readers: dict[tuple[Tensor, Node | None], list[Node]] = {}
        for node in self.graph.nodes:
            for value in {(t.root, t.producer) for t in node.inputs.values()}:
                readers.setdefault(value, []).append(node)
        return readers

    @cached_property
    def _writers(self) -> dict[Tensor, list[Node]]:
        writers: dict[Tensor, list[Node]] = {}
        for node in self.graph.nodes:
            for tensor in node.outputs.values():
                writers.setdefault(tensor.root, []).append(node)
        return writers

    def nodes(self, op: Op) -> list[Node]:
        return [node for node in self.order if node.op is op]

    def readers(self, tensor: Tensor) -> list[Node]:
        """Nodes that read this value, through any view of it, in order."""
        return sorted(self._readers.get((tensor.root, tensor.producer), []), key=self.order.__getitem__)

    def is_result(self, tensor: Tensor) -> bool:
        """This value, or a view of it, is wanted at the end."""
        return any(t.root is tensor.root and t.producer is tensor.producer for t in self.graph.results)

    def is_only_for(self, tensor: Tensor, reader: Node) -> bool:
        """No other node reads this activation, and it is no result."""
        return tensor.storage is Storage.ARENA and not self.is_result(tensor) and self.readers(tensor) == [reader]

    def can_wait(self, node: Node, until: Node) -> bool:
        """Whether `node` would still find its inputs where `until` stands: no node between them overwrites one."""
        begin, end = self.order[node], self.order[until]
        writers = (writer for tensor in node.inputs.values() for writer in self._writers.get(tensor.root, ()))
        return not any(begin < self.order[writer] < end for writer in writers)

    def is_changed_in_place(self, tensor: Tensor) -> bool:
        """Some node overwrites this tensor's memory after the node that made it."""
        return len(self._writers.get(tensor.root, ())) > 1

    def replace(self, old: Collection[Node], new: Node) -> None:
        """Puts `new` where the last of `old` stood; it takes over outputs of theirs as its own."""
        readers_of, writers_of = self._readers, self._writers  # both as they are before anything changes
        self.order[new] = max(self.order[node] for node in old)
        moved = {t: readers_of.pop((t.root, t.producer), []) for t in new.outputs.values()}
        for node in old:
            for value in {(t.root, t.producer) for t in node.inputs.values()}:
                if value in readers_of:
                    readers_of[value].remove(node)
            for tensor in node.outputs.values():
                writers_of[tensor.root].remove(node)
            del self.order[node]
        for tensor, readers in moved.items():
            tensor.own_producer = new
            readers_of[tensor.root, new] = [reader for reader in readers if reader not in old]
            writers_of.setdefault(tensor.root, []).append(new)
        for value in {(t.root, t.producer) for t in new.inputs.values()}:
            readers_of.setdefault(value, []).append(new)
        self.count += 1

    def move(self, tensor: Tensor, root: Tensor) -> None:
        """Makes a value that had memory of its own live in `root`'s; both start at offset 0."""
        readers = self._readers.pop((tensor, tensor.producer), [])
        writers = self._writers.pop(tensor)
        tensor.base = root
        self._readers[root, tensor.producer] = readers
        self._writers.setdefault(root, []).extend(writers)

    def finish(self) -> int:
        """Writes the nodes back; returns the number of replacements."""
        self.graph.nodes = sorted(self.order, key=self.order.__getitem__)
        return self.count


def produced_by(tensor: Tensor, op: Op) -> Node | None:
    """The node of kind `op` whose whole output `tensor` is."""
    node = tensor.producer
    return node if node is not None and node.op is op and tensor in node.outputs.values() else None
