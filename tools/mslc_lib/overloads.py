"""Drops overloads and specialisations that differ from an earlier one only by address space.

C++ on the CPU has one address space, so such twins would be defined twice. They must agree to be merged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .parts import after_template
from .rewrite import normalised
from .syntax import ADDRESS_SPACES, Declaration, Function, TypeDefinition

_SPECIFIERS = frozenset({"inline", "static", "constexpr", "METAL_FUNC"})


def members_for_cpp(definition: TypeDefinition) -> list[Declaration]:
    """The members of a type without twins and in a form that C++17 allows; constructors lose their address space."""
    members: list[Declaration] = []
    for member in definition.members:
        if isinstance(member, Function):
            member = _unspecialised(member)
            if member.name == definition.name:
                member = _unqualified(member)
        members.append(member)
    return without_address_space_twins(members)


def _unspecialised(function: Function) -> Function:
    """`template <> f(...)` in a class as a plain overload, which compilers without CWG 727 understand too."""
    if [t.text for t in function.tokens[:3]] != ["template", "<", ">"] or function.body < 0:
        return function
    if function.tokens[function.name_index + 1].text == "<":
        return function
    return replace(
        function,
        tokens=function.tokens[3:],
        template=None,
        body=function.body - 3,
        name_index=function.name_index - 3,
        parameters_open=function.parameters_open - 3,
        parameters_close=function.parameters_close - 3,
    )


def _unqualified(constructor: Function) -> Function:
    start, tokens = constructor.parameters_close + 1, constructor.tokens
    end = start
    while end < len(tokens) and tokens[end].text in ADDRESS_SPACES:
        end += 1
    body = constructor.body - (end - start) if constructor.body >= 0 else -1
    return replace(constructor, tokens=tokens[:start] + tokens[end:], body=body)


def without_address_space_twins(declarations: Sequence[Declaration]) -> list[Declaration]:
    """The declarations of one scope, twins removed; raises MslError for twins that do different things."""
    bodies: dict[str, tuple[str, Declaration]] = {}
    kept: list[Declaration] = []
    for declaration in declarations:
        signature, body = _signature(declaration)
        if not signature:
            kept.append(declaration)
            continue
        previous = bodies.get(signature)
        if previous is None:
            bodies[signature] = (body, declaration)
            kept.append(declaration)
        elif previous[0] != body:
            raise declaration.place.error(
                f"'{declaration.name}' differs from the one in line {previous[1].place.line} only by address space, "
                "but does something else"
            )
    return kept


def _signature(declaration: Declaration) -> tuple[str, str]:
    """A key that twins share, and what they must agree on; an empty key for what has no twins."""
    template = " ".join(normalised(p.tokens) for p in declaration.template or [])
    if isinstance(declaration, Function):
        tokens = declaration.tokens
        body = declaration.body if declaration.body >= 0 else _end_of_head(declaration)
        before = tokens[after_template(declaration) : declaration.parameters_open]
        name = normalised(t for t in before if t.text not in _SPECIFIERS)
        types = ", ".join(normalised(p.type) + normalised(p.extents) for p in declaration.parameters)
        tail = normalised(tokens[declaration.parameters_close + 1 : body])
        tail = tail.split(":")[0] + ("" if declaration.body >= 0 else ";")
        return f"{template}|{name}({types}){tail}", normalised(tokens[body:])
    if isinstance(declaration, TypeDefinition) and declaration.template is not None:
        head = normalised(declaration.tokens[: declaration.body_start])
        return head, normalised(declaration.tokens[declaration.body_start :])
    return "", ""


def _end_of_head(function: Function) -> int:
    """Index of the `;` of a declaration, or of the `=` in `= default;`."""
    start = function.parameters_close + 1
    return next(i for i in range(start, len(function.tokens)) if function.tokens[i].text in ("=", ";"))


def functions_of_one_float(declarations: Sequence[Declaration]) -> dict[int, str]:
    """C++ text that follows a function of one float, by the declaration's identity: its forms for half and bfloat.

    Only where there are overloads for classes too: half is a class in C++, whose way to float is no better than its way
    to another class that is made from a float.
    """
    single: dict[str, list[Function]] = {}
    for declaration in declarations:
        if isinstance(declaration, Function) and len(declaration.parameters) == 1 and declaration.template is None:
            single.setdefault(declaration.name, []).append(declaration)
    texts: dict[int, str] = {}
    for name, functions in single.items():
        types = {" ".join(t.text for t in f.parameters[0].type): f for f in functions if f.body >= 0}
        if "float" in types and len(functions) > 1 and not functions[0].is_kernel and name != "operator":
            missing = [
                t for t in ("half", "bfloat") if t not in types and not (t == "bfloat" and "bfloat16_t" in types)
            ]
            texts[id(types["float"])] = "\n".join(
                f"inline auto {name}(::metal::{t} x) {{ return {name}(static_cast<float>(x)); }}" for t in missing
            )
    return texts
