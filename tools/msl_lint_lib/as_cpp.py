"""Rewrites a preprocessed shader as C++ that a stock clang can check with true address spaces, line for line.

Attributes vanish, function constants get an unknown value, literals become floats, constructor calls of vectors become
function calls, threadgroup variables become references, arrays as parameters become pointers, member functions lose
their address space. #line directives keep the shader's places.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mslc_lib.lexer import NUMBER, Token, closing_angle, spell
from mslc_lib.parts import find_attribute_end, parse_variable
from mslc_lib.rewrite import rewrite
from mslc_lib.syntax import ADDRESS_SPACES, Alias, Declaration, Function, TypeDefinition, Variable, walk

from msl_lint_lib.rules import body_of, threadgroup_variables

_VECTOR = re.compile(r"(packed_)?(bool|u?char|u?short|u?int|u?long|half|bfloat|float)[234]")
_NO_CALL = frozenset({"operator", "typename", "struct", ".", "->"})

# By identity of the first token: how many tokens to leave out, and the text that replaces them.
Replacements = dict[int, tuple[int, str]]


def as_cpp(tokens: Sequence[Token], declarations: Sequence[Declaration]) -> str:
    """The shader as C++ text; raises MslError for a literal that MSL does not know."""
    replaced = _replacements(declarations)
    vectors = _vector_aliases(declarations)
    output: list[str] = []
    place = ("", 0)
    index = 0
    while index < len(tokens):
        token = tokens[index]
        output.append(_line_change(place, token))
        place = (token.file, token.line)
        end = find_attribute_end(tokens, index)
        if id(token) in replaced:
            length, text = replaced[id(token)]
            output.append(text)
            index += length
        elif end is not None:
            if _declares_function_constant(tokens, index, end):
                output.append(" = metal::detail::unknown_value()")
            index = end + 1
        else:
            length, text = _spelling(tokens, index, vectors)
            output.append((" " if token.space or token.first else "") + text)
            index += length
    return "".join(output) + "\n"


def _line_change(place: tuple[str, int], token: Token) -> str:
    if place == (token.file, token.line):
        return ""
    if place == (token.file, token.line - 1):
        return "\n"
    name = token.file.replace("\\", "\\\\").replace('"', '\\"')
    return f'\n#line {token.line} "{name}"\n'


def _spelling(tokens: Sequence[Token], index: int, vectors: frozenset[str]) -> tuple[int, str]:
    """How many tokens one piece of text stands for, and the text."""
    token = tokens[index]
    if token.kind == NUMBER:
        return 1, rewrite([token], frozenset())[0].text
    before = tokens[index - 1].text if index else ""
    if before in _NO_CALL:
        return 1, token.text
    make = "detail::make" if before == "::" else "metal::detail::make"
    following = tokens[index + 1].text if index + 1 < len(tokens) else ""
    if following == "(" and (token.text in vectors or _VECTOR.fullmatch(token.text)):
        return 1, f"make_{token.text}" if _VECTOR.fullmatch(token.text) else f"{make}<{token.text}>"
    if token.text == "vec" and following == "<":
        end = closing_angle(tokens, index + 1)
        if end is not None and end + 1 < len(tokens) and tokens[end + 1].text == "(":
            return end + 1 - index, f"{make}<metal::{spell(tokens[index : end + 1])}>"
    return 1, token.text


def _vector_aliases(declarations: Sequence[Declaration]) -> frozenset[str]:
    """Other names that the file gives to vectors."""
    found = set()
    for declaration in walk(declarations):
        if isinstance(declaration, Alias):
            target = [t.text for t in declaration.target if t.text not in ("metal", "::", "const")]
            if target and (target[0] == "vec" or _VECTOR.fullmatch(target[0])) and "*" not in target:
                found.add(declaration.name)
    return frozenset(found)


def _declares_function_constant(tokens: Sequence[Token], start: int, end: int) -> bool:
    inside = any(t.text == "function_constant" for t in tokens[start:end])
    return inside and end + 1 < len(tokens) and tokens[end + 1].text == ";"


def _replacements(declarations: Sequence[Declaration]) -> Replacements:
    found: Replacements = {}
    for declaration in walk(declarations):
        if isinstance(declaration, Function):
            found |= _threadgroup_variables(declaration) | _array_parameters(declaration)
        elif isinstance(declaration, TypeDefinition):
            found |= _members(declaration)
        elif isinstance(declaration, Variable) and any(a.name == "function_constant" for a in declaration.attributes):
            # Its value is unknown to clang, whatever the shader promises.
            found |= {id(token): (1, "") for token in declaration.tokens if token.text == "constexpr"}
    return found


def _threadgroup_variables(function: Function) -> Replacements:
    found: Replacements = {}
    body = body_of(function)
    for start, end in threadgroup_variables(function):
        found[id(body[start])] = (end - start, _as_references(body[start : end + 1]))
    return found


def _as_references(statement: list[Token]) -> str:
    first = parse_variable(statement, 0)
    texts = []
    for variable in [first, *first.others]:
        element = spell([t for t in variable.type if t.text != "threadgroup"])
        extents = "".join(f"[{spell(extent)}]" for extent in variable.extents)
        alias = f"threadgroup_type_of_{variable.name}"
        storage = f"metal::detail::threadgroup_storage<{alias}>()"
        texts.append(f" typedef {element} {alias}{extents}; threadgroup {alias}& {variable.name} = {storage}")
    return ";".join(texts)


def _array_parameters(function: Function) -> Replacements:
    """`threadgroup float x[4]` as a parameter is a pointer; C++ knows no such array in an address space."""
    found: Replacements = {}
    for parameter in function.parameters:
        texts = [t.text for t in parameter.type]
        if not parameter.extents or ADDRESS_SPACES.isdisjoint(texts) or not {"*", "&"}.isdisjoint(texts):
            continue
        # The type, the name and the extents follow each other; the outermost extent is the pointer.
        rest = _behind_first_extent(parameter.extents)
        name = f"(*{parameter.name}){rest}" if rest else f"* {parameter.name}"
        length = len(parameter.type) + (1 if parameter.name else 0) + len(parameter.extents)
        found[id(parameter.type[0])] = (length, f"{spell(parameter.type)} {name}")
    return found


def _behind_first_extent(extents: Sequence[Token]) -> str:
    depth = 0
    for index, token in enumerate(extents):
        depth += {"[": 1, "]": -1}.get(token.text, 0)
        if depth == 0:
            return spell(extents[index + 1 :])
    return ""


def _members(definition: TypeDefinition) -> Replacements:
    """Member functions without their address space; of those that then are the same the first one stays."""
    found: Replacements = {}
    seen: set[str] = set()
    for member in definition.members:
        if not isinstance(member, Function):
            continue
        spaces = qualifiers(member)
        is_constructor = member.name == definition.name
        dropped = [t for t in spaces if t.text in ADDRESS_SPACES or is_constructor]
        signature = _signature(member, "" if is_constructor else spell([t for t in spaces if t not in dropped]))
        if signature in seen:
            found[id(member.tokens[0])] = (len(member.tokens), ";")
        else:
            found |= {id(token): (1, "") for token in dropped}
        seen.add(signature)
    return found


def qualifiers(function: Function) -> list[Token]:
    """What stands directly behind the parameters: `const`, `volatile` and the address space of a member function."""
    found = []
    for token in function.tokens[function.parameters_close + 1 :]:
        if token.text not in ADDRESS_SPACES and token.text not in ("const", "volatile"):
            break
        found.append(token)
    return found


def members_in_spaces(declarations: Sequence[Declaration]) -> Iterator[Function]:
    """Member functions that are for objects outside of `thread`."""
    for declaration in walk(declarations):
        if isinstance(declaration, TypeDefinition):
            for member in declaration.members:
                if isinstance(member, Function) and {"device", "constant", "threadgroup"} & {
                    t.text for t in qualifiers(member)
                }:
                    yield member


def _signature(member: Function, tail: str) -> str:
    template = " ".join(spell(p.tokens) for p in member.template or [])
    name = spell(member.tokens[member.name_index : member.parameters_open])
    types = ", ".join(spell([*p.type, *p.extents]) for p in member.parameters)
    return f"{template}|{name}({types}){tail}|{member.body >= 0}"
