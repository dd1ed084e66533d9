"""Sizes, alignments and field offsets of MSL types, by section 2 of the Metal Shading Language Specification 3.1.

All numbers are bytes. A type that can't be laid out from the text alone (a template, a texture) has no layout: None.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from .errors import MslError
from .expressions import evaluate
from .lexer import IDENTIFIER, Token, closing_angle, spell, split_commas
from .syntax import ADDRESS_SPACES, Alias, Declaration, TypeDefinition, Variable, walk

_SCALARS = {
    "bool": 1, "char": 1, "uchar": 1, "int8_t": 1, "uint8_t": 1,
    "short": 2, "ushort": 2, "int16_t": 2, "uint16_t": 2, "half": 2, "bfloat": 2,
    "int": 4, "uint": 4, "int32_t": 4, "uint32_t": 4, "float": 4,
    "long": 8, "ulong": 8, "int64_t": 8, "uint64_t": 8, "size_t": 8, "ptrdiff_t": 8,
    "atomic_int": 4, "atomic_uint": 4, "atomic_float": 4, "atomic_bool": 1, "atomic_ulong": 8,
}  # fmt: skip
_ALIASES = {
    "int8_t": "char", "uint8_t": "uchar", "int16_t": "short", "uint16_t": "ushort", "int32_t": "int",
    "uint32_t": "uint", "int64_t": "long", "uint64_t": "ulong", "size_t": "ulong", "ptrdiff_t": "long",
}  # fmt: skip
_VECTOR = re.compile(r"(packed_)?(bool|u?char|u?short|u?int|u?long|half|bfloat|float)([234])")
_MATRIX = re.compile(r"(half|bfloat|float)([234])x([234])")
_QUALIFIERS = ADDRESS_SPACES | {"const", "volatile", "constexpr", "static", "struct", "enum", "typename", "restrict"}
_POINTER_SIZE = 8
_VECTOR_WIDTHS = ("2", "3", "4")


@dataclass(frozen=True)
class Field:
    """One member, nested ones as `outer.inner`; `size` is one element's."""

    name: str
    type: str
    offset: int
    size: int
    count: int


@dataclass(frozen=True)
class Layout:
    """How a type lies in memory; `fields` is empty unless it is a struct."""

    type: str
    size: int
    alignment: int
    fields: tuple[Field, ...] = ()


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _scalar_or_vector(name: str) -> Layout | None:
    name = name.removeprefix("simd_")
    if name in _SCALARS:
        return Layout(_ALIASES.get(name, name), _SCALARS[name], _SCALARS[name])
    match = _VECTOR.fullmatch(name)
    if match:
        scalar, count = _SCALARS[match[2]], int(match[3])
        if match[1]:
            return Layout(name, scalar * count, scalar)
        size = scalar * (4 if count == 3 else count)
        return Layout(name, size, size)
    match = _MATRIX.fullmatch(name)
    if match:
        scalar, columns, rows = _SCALARS[match[1]], int(match[2]), int(match[3])
        column = scalar * (4 if rows == 3 else rows)
        return Layout(name, column * columns, column)
    return None


@dataclass
class TypeTable:
    """What a file declares at any scope, by unqualified name."""

    structs: dict[str, TypeDefinition] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    enums: dict[str, TypeDefinition] = field(default_factory=dict)
    constants: dict[str, Variable] = field(default_factory=dict)
    enumerators: dict[str, int] = field(default_factory=dict)
    _busy: set[str] = field(default_factory=set)

    @staticmethod
    def of(declarations: Sequence[Declaration]) -> TypeTable:
        """The table of a parsed file."""
        table = TypeTable()
        for declaration in walk(declarations):
            if isinstance(declaration, TypeDefinition):
                if declaration.keyword == "enum":
                    table._add_enumerators(declaration)
                    table.enums[declaration.name] = declaration
                elif declaration.template is None:
                    table.structs[declaration.name] = declaration
            elif isinstance(declaration, Alias):
                table.aliases[declaration.name] = declaration
            elif isinstance(declaration, Variable) and declaration.initializer and declaration.template is None:
                for variable in [declaration, *declaration.others]:
                    table.constants[variable.name] = variable
        return table

    def _add_enumerators(self, definition: TypeDefinition) -> None:
        value = -1
        for part in split_commas(definition.tokens[definition.body_start : definition.body_end]):
            if not part:
                continue
            assign = next((i for i, t in enumerate(part) if t.text == "="), None)
            known = self.value(part[assign + 1 :]) if assign is not None else value + 1
            if known is None:
                return
            value = known
            self.enumerators[part[0].text] = value

    def value(self, tokens: Sequence[Token]) -> int | None:
        """The value of an integer constant expression, or None if it needs a C++ compiler."""
        if not tokens:
            return None
        try:
            return evaluate(tokens, tokens[0], self._lookup, self._call)
        except MslError:
            return None

    def _lookup(self, token: Token) -> int:
        if token.text in ("true", "false"):
            return int(token.text == "true")
        if token.text in self.enumerators:
            return self.enumerators[token.text]
        variable = self.constants.get(token.text)
        if variable is None or token.text in self._busy:
            raise token.error(f"'{token.text}' has no known value")
        self._busy.add(token.text)
        try:
            value = self.value(variable.initializer)
        finally:
            self._busy.discard(token.text)
        if value is None:
            raise token.error(f"'{token.text}' has no known value")
        return value

    def _call(self, name: str, arguments: Sequence[Token], place: Token) -> int:
        layout = self.layout(arguments) if name == "sizeof" else None
        if layout is None:
            raise place.error(f"'{name}' can't be evaluated")
        return layout.size

    def layout(self, tokens: Sequence[Token]) -> Layout | None:
        """The layout of the type that the tokens spell, without template arguments other than vec's."""
        if any(t.text in ("*", "&") for t in tokens):
            return Layout(spell(tokens), _POINTER_SIZE, _POINTER_SIZE)
        plain = [t for t in tokens if t.text not in _QUALIFIERS]
        while len(plain) > 1 and plain[0].kind == IDENTIFIER and plain[1].text == "::":
            plain = plain[2:]
        if not plain:
            return None
        texts = [t.text for t in plain]
        if texts[0] in ("unsigned", "signed"):
            base = texts[1] if len(texts) > 1 else "int"
            return _scalar_or_vector("u" + base if texts[0] == "unsigned" else base)
        if len(texts) > 1:
            return self._template(plain)
        return self._named(texts[0])

    def _named(self, name: str) -> Layout | None:
        if name in self._busy:
            return None
        self._busy.add(name)
        try:
            if name in self.structs:
                return self._struct(self.structs[name])
            if name in self.enums:
                return self._enum(self.enums[name])
            if name in self.aliases:
                return self.layout(self.aliases[name].target)
        finally:
            self._busy.discard(name)
        return _scalar_or_vector(name)

    def _enum(self, definition: TypeDefinition) -> Layout | None:
        head = definition.tokens[: definition.body_start - 1]
        colon = next((i for i, t in enumerate(head) if t.text == ":"), None)
        return _scalar_or_vector("int") if colon is None else self.layout(head[colon + 1 :])

    def _template(self, tokens: list[Token]) -> Layout | None:
        if len(tokens) < 4 or tokens[1].text != "<" or closing_angle(tokens, 1) != len(tokens) - 1:
            return None
        arguments = split_commas(tokens[2:-1])
        element = self.layout(arguments[0])
        if element is None:
            return None
        if tokens[0].text == "atomic" and len(arguments) == 1:
            return Layout(f"atomic<{element.type}>", element.size, element.alignment)
        if len(arguments) != 2:
            return None
        count = self.value(arguments[1])
        if tokens[0].text in ("vec", "packed_vec") and str(count) in _VECTOR_WIDTHS:
            prefix = "packed_" if tokens[0].text == "packed_vec" else ""
            return _scalar_or_vector(f"{prefix}{element.type}{count}")
        if tokens[0].text == "array" and count is not None and count > 0:
            return Layout(spell(tokens), element.size * count, element.alignment)
        return None

    def _struct(self, definition: TypeDefinition) -> Layout | None:
        if definition.template is not None or definition.has_bases:
            return None
        fields: list[Field] = []
        offset, alignment, widest = 0, 1, 0
        for member in definition.members:
            if not isinstance(member, Variable) or any(t.text == "static" for t in member.type):
                continue
            for variable in [member, *member.others]:
                element = None if variable.is_bit_field else self.layout(variable.type)
                counts = [self.value(extent) for extent in variable.extents]
                if element is None or any(count is None or count < 0 for count in counts):
                    return None
                count = 1
                for extent in counts:
                    count *= extent or 0
                start = 0 if definition.keyword == "union" else _round_up(offset, element.alignment)
                fields.extend(_flatten(variable.name, element, start, count))
                offset = start + element.size * count
                widest = max(widest, offset)
                alignment = max(alignment, element.alignment)
        if definition.alignment is not None:
            explicit = self.value(definition.alignment)
            if explicit is None or explicit < 1:
                return None
            alignment = max(alignment, explicit)
        if any(token.text == "packed" for token in definition.tokens[: definition.body_start]):
            return None
        return Layout(definition.name, max(_round_up(widest, alignment), 1), alignment, tuple(fields))


def _flatten(name: str, element: Layout, start: int, count: int) -> list[Field]:
    if element.fields and count == 1:
        return [
            Field(f"{name}.{inner.name}", inner.type, start + inner.offset, inner.size, inner.count)
            for inner in element.fields
        ]
    return [Field(name, element.type, start, element.size, count)]
