"""Parsers of the pieces that declarations share: attributes, parameters, template parameters, declarators."""

from __future__ import annotations

from collections.abc import Sequence

from .lexer import IDENTIFIER, STRING, Token, closing, closing_angle, split_commas
from .syntax import Attribute, Function, Parameter, TemplateParameter, Variable

_NOT_NAMES = frozenset(
    {"void", "bool", "char", "short", "int", "long", "float", "half", "bfloat", "unsigned", "signed", "auto", "uint"}
    | {"ushort", "uchar", "ulong", "size_t", "const", "volatile", "typename", "class", "struct", "enum", "union"}
    | {"constant", "device", "thread", "threadgroup"}
)


def find_attribute_end(tokens: Sequence[Token], index: int) -> int | None:
    """Index of the last `]` if an attribute list `[[...]]` begins at `index`."""
    if index + 1 >= len(tokens) or tokens[index].text != "[" or tokens[index + 1].text != "[":
        return None
    return closing(tokens, index)


def attributes_of(tokens: Sequence[Token]) -> list[Attribute]:
    """All attributes at bracket depth 0."""
    found: list[Attribute] = []
    index = 0
    while index < len(tokens):
        end = find_attribute_end(tokens, index)
        if end is not None:
            for part in split_commas(tokens[index + 2 : end - 1]):
                if not part:
                    raise tokens[index].error("an attribute is missing between these brackets")
                found.append(_attribute(part))
            index = end
        elif tokens[index].text in ("(", "{"):
            index = closing(tokens, index)
        index += 1
    return found


def _attribute(part: list[Token]) -> Attribute:
    name_end = next((i for i, t in enumerate(part) if t.text == "("), len(part))
    name = part[name_end - 1]
    arguments = tuple(part[name_end + 1 : -1]) if name_end < len(part) else ()
    return Attribute(name.text, arguments, name)


def host_name_of(attribute: Attribute) -> str:
    """The name in `host_name("...")`, adjacent strings joined."""
    if not attribute.arguments or any(t.kind != STRING for t in attribute.arguments):
        raise attribute.place.error("host_name takes one string")
    return "".join(t.text[1:-1] for t in attribute.arguments)


def without_attributes(tokens: Sequence[Token]) -> list[Token]:
    """The tokens with every `[[...]]` at any depth removed."""
    output: list[Token] = []
    index = 0
    while index < len(tokens):
        end = find_attribute_end(tokens, index)
        if end is None:
            output.append(tokens[index])
            index += 1
        else:
            index = end + 1
    return output


def after_template(function: Function) -> int:
    """Index of a function's first token after `template <...>`."""
    index = 0
    while function.tokens[index].text == "template":
        end = closing_angle(function.tokens, index + 1)
        if end is None:
            raise function.tokens[index].error("this template parameter list is never closed")
        index = end + 1
    return index


def make_parameters(tokens: Sequence[Token]) -> list[Parameter]:
    """The parameters between a function's parentheses."""
    parameters = []
    for part in split_commas(tokens):
        if not part or [t.text for t in part] == ["void"]:
            continue
        parameters.append(_parameter(part))
    return parameters


def _parameter(part: list[Token]) -> Parameter:
    attributes = tuple(attributes_of(part))
    plain = without_attributes(part)
    assign = next((i for i, t in enumerate(plain) if t.text == "="), len(plain))
    plain = plain[:assign]
    if not plain:
        return Parameter("", (), (), attributes, part[0])
    bracket = next((i for i, t in enumerate(plain) if t.text == "["), len(plain))
    extents = tuple(plain[bracket:])
    head = plain[:bracket]
    reference_to_array = [i for i, t in enumerate(head) if t.text == "(" and i + 2 < len(head)]
    if reference_to_array:
        start = reference_to_array[0]
        names = [t for t in head[start:] if t.kind == IDENTIFIER]
        return Parameter(names[0].text if names else "", tuple(plain), (), attributes, part[0])
    has_name = len(head) > 1 and head[-1].kind == IDENTIFIER and head[-1].text not in _NOT_NAMES
    if has_name and head[-2].text in ("::", "typename"):
        has_name = False
    name = head[-1].text if has_name else ""
    return Parameter(name, tuple(head[:-1] if has_name else head), extents, attributes, part[0])


def make_template(tokens: Sequence[Token]) -> list[TemplateParameter]:
    """The parameters between `template <` and `>`."""
    return [_template_parameter(part) for part in split_commas(tokens) if part]


def _template_parameter(part: list[Token]) -> TemplateParameter:
    is_pack = any(t.text == "..." for t in part)
    assign = next((i for i, t in enumerate(part) if t.text == "="), len(part))
    head = part[:assign]
    name = ""
    for index, token in enumerate(head):
        if token.text == "(" and index + 2 < len(head) and head[index + 1].text in ("*", "&"):
            name = head[index + 2].text
            return TemplateParameter(name, tuple(part), is_pack)
    if len(head) > 1 and head[-1].kind == IDENTIFIER and head[-1].text not in _NOT_NAMES and head[-2].text != "::":
        name = head[-1].text
    return TemplateParameter(name, tuple(part), is_pack)


def parse_variable(tokens: list[Token], start: int) -> Variable:
    """A declaration `type a[2] = x, b;` that ends in `;`; `start` is after `template <...>`."""
    plain = without_attributes(tokens[start:-1])
    attributes = attributes_of(tokens)
    parts = _declarators(plain)
    if not parts:
        return Variable(tokens)
    head = _cut_declarator(parts[0])
    name_index = _declared_name(head)
    type_end = name_index
    while type_end > 0 and head[type_end - 1].text in ("*", "&"):
        type_end -= 1
    base = head[:type_end]
    first: Variable | None = None
    for number, part in enumerate(parts):
        variable = _declared(tokens if number == 0 else part, part, base if number else [], attributes)
        if first is None:
            first = variable
        else:
            first.others.append(variable)
    assert first is not None
    return first


def _declarators(tokens: list[Token]) -> list[list[Token]]:
    """Splits at commas that are not in brackets or a template's arguments."""
    return split_commas(tokens)


def _cut_declarator(part: list[Token]) -> list[Token]:
    """The part before `=`, `{`, or a bit field's `:`."""
    index = 0
    while index < len(part):
        token = part[index]
        if token.text in ("=", "{", ":"):
            return part[:index]
        if token.text in ("(", "["):
            index = closing(part, index)
        elif token.text == "<":
            index = closing_angle(part, index) or index
        index += 1
    return part


def _declared_name(head: list[Token]) -> int:
    """Index of the declared name: the last identifier that stands before the extents."""
    index = len(head) - 1
    while index >= 0 and head[index].text == "]":
        depth = 0
        while index >= 0:
            depth += {"]": 1, "[": -1}.get(head[index].text, 0)
            index -= 1
            if depth == 0:
                break
    return max(index, 0)


def _declared(tokens: list[Token], part: list[Token], base: list[Token], attributes: list[Attribute]) -> Variable:
    head = _cut_declarator(part)
    rest = part[len(head) :]
    name_index = _declared_name(head)
    extents, index = [], name_index + 1
    while index < len(head) and head[index].text == "[":
        end = closing(head, index)
        extents.append(head[index + 1 : end])
        index = end + 1
    initializer = rest[1:] if rest and rest[0].text == "=" else rest
    return Variable(
        tokens,
        head[name_index].text if head else "",
        type=base + head[:name_index],
        extents=extents,
        initializer=[] if rest and rest[0].text == ":" else initializer,
        attributes=attributes,
        is_bit_field=bool(rest) and rest[0].text == ":",
    )
