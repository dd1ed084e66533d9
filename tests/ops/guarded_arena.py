"""An arena of activations whose every byte that is no tensor's must stay as it is. Units: bytes."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import numpy as np
from fastgo import _fastmetal
from fastgo.graph import lower
from fastgo.graph.dag import Graph, Tensor
from fastgo.graph.lower import Lowering, Memory
from fastgo.graph.plan import Plan, plan_arena

_POISON = 0xFF  # NaN as floats
_GUARD_NBYTES = 256


class GuardedArena:
    """Lowers a graph with a guard behind each place of its arena, and fills all of the arena with NaN."""

    def __init__(self, device: _fastmetal.Device, graph: Graph, resolve: Callable[[Tensor], Memory]) -> None:
        plans: list[Plan] = []

        def plan(graph: Graph, alignment: int) -> Plan:
            plans.append(_spaced(plan_arena(graph, alignment), alignment))
            return plans[0]

        with mock.patch.object(lower, "plan_arena", plan):
            self.lowering = Lowering(device, graph, resolve)
        self._device = device
        self._is_guard = np.ones(plans[0].nbytes, bool)
        for tensor, offset in plans[0].offsets.items():
            self._is_guard[offset : offset + tensor.nbytes] = False
        self.whole = self.lowering._heap.place(0, plans[0].nbytes, "whole arena")
        device.fill(self.whole, 0, plans[0].nbytes, _POISON).wait()

    def check(self) -> None:
        """Fails if a guard was written to."""
        content = self._device.buffer(self._is_guard.size, "read back")
        self._device.copy(self.whole, 0, content, 0, self._is_guard.size).wait()
        written = np.flatnonzero((np.frombuffer(content, np.uint8) != _POISON) & self._is_guard)
        assert not written.size, f"something was written beside the activations, at byte {written[0]} of their arena"


def _spaced(plan: Plan, alignment: int) -> Plan:
    """What did not overlap does not then either."""
    places = sorted(set(plan.offsets.values()))
    room = -(-_GUARD_NBYTES // alignment) * alignment
    offsets = {tensor: offset + places.index(offset) * room for tensor, offset in plan.offsets.items()}
    return Plan(offsets, plan.nbytes + len(places) * room)
