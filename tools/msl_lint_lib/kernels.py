"""What must hold for each kernel that is built: every template has an instantiation, and none needs more threadgroup
memory than a threadgroup has. Sizes are in bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from mslc_lib.layout import TypeTable
from mslc_lib.lexer import Token
from mslc_lib.parts import parse_variable, split_commas
from mslc_lib.syntax import Declaration, Function, Instantiation, walk

from msl_lint_lib.finding import Finding
from msl_lint_lib.rules import at, body_of, threadgroup_variables

_THREADGROUP_MEMORY = 32768  # Metal feature set tables: every Apple GPU since family 4, and Mac 2

Binding = Mapping[str, Sequence[Token]]  # template parameters to their arguments


def find(declarations: Sequence[Declaration]) -> Iterator[Finding]:
    """Findings about kernels that nothing builds, and about kernels and instantiations that are too large."""
    types = TypeTable.of(declarations)
    instantiations = [d for d in walk(declarations) if isinstance(d, Instantiation)]
    for function in walk(declarations):
        if not isinstance(function, Function) or not function.is_kernel or function.body < 0:
            continue
        if not function.template:
            yield from _memory(function, types, {}, function.place)
            continue
        uses = [i for i in instantiations if i.name == function.name]
        if not uses:
            yield at(function.place, f"the kernel template '{function.name}' is never instantiated")
        for use in uses:
            names = [parameter.name for parameter in function.template]
            binding = dict(zip(names, split_commas(use.arguments), strict=False))
            yield from _memory(function, types, binding, use.place)


def _memory(function: Function, types: TypeTable, binding: Binding, place: Token) -> Iterator[Finding]:
    """At most one finding. Variables whose size only a compiler could tell count as nothing."""
    size = sum(_sizes(function, types, binding))
    if size > _THREADGROUP_MEMORY:
        text = f"'{function.name}' has {size} bytes of threadgroup variables, a threadgroup has {_THREADGROUP_MEMORY}"
        yield at(place, text)


def _sizes(function: Function, types: TypeTable, binding: Binding) -> Iterator[int]:
    body = body_of(function)
    for start, end in threadgroup_variables(function):
        first = parse_variable(body[start : end + 1], 0)
        for variable in [first, *first.others]:
            layout = types.layout(_bind(variable.type, binding))
            extents = [types.value(_bind(extent, binding)) for extent in variable.extents]
            if layout is not None and None not in extents:
                yield layout.size * math.prod(extent or 0 for extent in extents)


def _bind(tokens: Sequence[Token], binding: Binding) -> list[Token]:
    return [argument for token in tokens for argument in binding.get(token.text, [token])]
