"""Every pointer and reference of MSL must name its address space; a C++ compiler would take a missing one for `thread`.

A `*` or `&` belongs to a type if it follows a type's name where a type can stand: in a parameter, a return type, a
member, or, in a body, at the start of a statement, after `(` (casts, for) and among template arguments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mslc_lib.lexer import IDENTIFIER, Token, closing_angle
from mslc_lib.parts import without_attributes
from mslc_lib.syntax import ADDRESS_SPACES, Alias, Declaration, Function, TypeDefinition, Variable, walk

from msl_lint_lib.finding import Finding
from msl_lint_lib.rules import at, body_of

_SCALARS = "bool char uchar short ushort int uint long ulong half bfloat float size_t ptrdiff_t void auto unsigned"
_FIXED = "int8_t uint8_t int16_t uint16_t int32_t uint32_t int64_t uint64_t"
_ATOMICS = "atomic_int atomic_uint atomic_bool atomic_float atomic_ulong atomic vec array simdgroup_matrix"
_VECTORS = "bool char uchar short ushort int uint long ulong half bfloat float"
_QUALIFIERS = frozenset({"const", "volatile", "constexpr", "static", "typename", "struct", "metal", "::"})
_BEFORE_TYPE = frozenset({"{", "}", ";", "(", "<", ",", "return"})
_MESSAGE = "a pointer or reference needs an address space: "


def find(declarations: Sequence[Declaration]) -> Iterator[Finding]:
    """All pointers and references without an address space."""
    everything = list(walk(declarations))
    types = _builtin_types() | {d.name for d in everything if isinstance(d, TypeDefinition | Alias)}
    for declaration in everything:
        if isinstance(declaration, Function):
            yield from _signature(declaration)
            yield from _body(declaration, types)
        elif isinstance(declaration, Variable) and _lacks_space(declaration.type):
            yield at(declaration.place, _MESSAGE + f"'{declaration.name}'")


def _builtin_types() -> set[str]:
    names = set(f"{_SCALARS} {_FIXED} {_ATOMICS}".split())
    for scalar in _VECTORS.split():
        names.update(f"{prefix}{scalar}{n}" for prefix in ("", "packed_") for n in (2, 3, 4))
    return names


def _lacks_space(tokens: Sequence[Token]) -> bool:
    texts = [t.text for t in tokens]
    return any(text in ("*", "&", "&&") for text in texts) and ADDRESS_SPACES.isdisjoint(texts)


def _signature(function: Function) -> Iterator[Finding]:
    head = without_attributes(function.tokens[: function.name_index])
    if not any(t.text == "operator" for t in head):
        after_template = max((i for i, t in enumerate(head) if t.text == ">"), default=-1)
        if _lacks_space(head[after_template + 1 :]) and _lacks_space(head):
            yield at(function.place, _MESSAGE + f"the result of '{function.name}'")
    for parameter in function.parameters:
        if _lacks_space(parameter.type):
            yield at(parameter.place, _MESSAGE + f"the parameter '{parameter.name}'")


def _body(function: Function, known: set[str]) -> Iterator[Finding]:
    types = known | {p.name for p in function.template or [] if p.tokens[0].text in ("typename", "class")}
    body = body_of(function)
    for index, token in enumerate(body):
        if token.kind != IDENTIFIER or token.text not in types:
            continue
        mark = _after_type(body, index)
        if mark < len(body) and body[mark].text in ("*", "&", "&&") and not _has_space(body, index, mark):
            following = body[mark + 1].text if mark + 1 < len(body) else ""
            yield at(token, _MESSAGE + f"'{token.text} {body[mark].text} {following}'")


def _after_type(tokens: Sequence[Token], index: int) -> int:
    """Index behind the type's name, its template arguments and trailing qualifiers."""
    index += 1
    if index < len(tokens) and tokens[index].text == "<":
        end = closing_angle(tokens, index)
        index = end + 1 if end is not None else index
    while index < len(tokens) and (tokens[index].text in _QUALIFIERS or tokens[index].text in ADDRESS_SPACES):
        index += 1
    return index


def _has_space(tokens: Sequence[Token], index: int, mark: int) -> bool:
    """Whether qualifiers around the type name a space; also true where no type can stand, as in `(a) * b`."""
    if not ADDRESS_SPACES.isdisjoint(t.text for t in tokens[index:mark]):
        return True
    before = index - 1
    while before >= 0 and tokens[before].text in _QUALIFIERS:
        before -= 1
    return before < 0 or tokens[before].text in ADDRESS_SPACES or tokens[before].text not in _BEFORE_TYPE
