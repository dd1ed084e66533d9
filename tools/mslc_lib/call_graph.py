"""Which declarations may reach a barrier or a simdgroup function, judged by names alone.

Names over-approximate calls: a kernel that is wrongly taken to need lock step is only slower.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .lexer import IDENTIFIER
from .standard_names import LOCKSTEP_NAMES
from .syntax import Alias, Declaration, Function, TypeDefinition, Variable, walk


@dataclass(frozen=True)
class CallGraph:
    """`mentions` maps a declared name to all identifiers in its declarations."""

    mentions: dict[str, set[str]]

    @staticmethod
    def of(declarations: Sequence[Declaration]) -> CallGraph:
        """The graph of a parsed file."""
        mentions: dict[str, set[str]] = {}
        for declaration in walk(declarations):
            if isinstance(declaration, Function | TypeDefinition | Alias | Variable) or declaration.template:
                names = {t.text for t in declaration.tokens if t.kind == IDENTIFIER}
                mentions.setdefault(declaration.name, set()).update(names)
        return CallGraph(mentions)

    def reachable(self, names: Iterable[str]) -> set[str]:
        """Everything that the names mention, directly or not, themselves included."""
        seen: set[str] = set()
        pending = list(names)
        while pending:
            name = pending.pop()
            if name not in seen:
                seen.add(name)
                pending.extend(self.mentions.get(name, ()))
        return seen

    def uses_lockstep(self, names: Iterable[str]) -> bool:
        """Whether threads that run these must keep step with each other."""
        return not LOCKSTEP_NAMES.isdisjoint(self.reachable(names))
