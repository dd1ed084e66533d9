"""The declarations of a shader, as far as mslc must know them: kernels, functions, types, constants, instantiations.

Bodies stay token lists. A declaration keeps all its tokens, so that what is not understood in depth passes through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .lexer import Token

ADDRESS_SPACES = frozenset({"device", "constant", "threadgroup", "thread", "threadgroup_imageblock"})


@dataclass(frozen=True)
class Attribute:
    """One entry of `[[name(arguments)]]`."""

    name: str
    arguments: tuple[Token, ...]
    place: Token


@dataclass(frozen=True)
class Parameter:
    """A function parameter: `type` holds every token of the type with its qualifiers, `*` and `&` included."""

    name: str
    type: tuple[Token, ...]
    extents: tuple[Token, ...]
    attributes: tuple[Attribute, ...]
    place: Token

    def attribute(self, name: str) -> Attribute | None:
        """The attribute of that name, if there."""
        return next((a for a in self.attributes if a.name == name), None)


@dataclass(frozen=True)
class TemplateParameter:
    """A template parameter; `name` is empty if the source gives none."""

    name: str
    tokens: tuple[Token, ...]
    is_pack: bool


@dataclass
class Declaration:
    """Anything at namespace or class scope; on its own, one that passes through unchanged."""

    tokens: list[Token]
    name: str = ""
    template: list[TemplateParameter] | None = None

    @property
    def place(self) -> Token:
        """The first token, for messages."""
        return self.tokens[0]


@dataclass
class Namespace(Declaration):
    """`head` runs up to and with the `{`."""

    head: list[Token] = field(default_factory=list)
    members: list[Declaration] = field(default_factory=list)


@dataclass
class TypeDefinition(Declaration):
    """struct, class, union or enum with a body between the token indices `body_start` and `body_end` (braces out)."""

    keyword: str = ""
    body_start: int = 0
    body_end: int = 0
    members: list[Declaration] = field(default_factory=list)
    has_bases: bool = False
    alignment: tuple[Token, ...] | None = None


@dataclass
class Function(Declaration):
    """A function declared or defined; `body` is the index of its `{`, or -1."""

    parameters: list[Parameter] = field(default_factory=list)
    attributes: list[Attribute] = field(default_factory=list)
    is_kernel: bool = False
    body: int = -1
    name_index: int = 0
    parameters_open: int = 0
    parameters_close: int = 0


@dataclass
class Variable(Declaration):
    """One declarator of a variable or field declaration; the first of a list has all the tokens."""

    type: list[Token] = field(default_factory=list)
    extents: list[list[Token]] = field(default_factory=list)
    initializer: list[Token] = field(default_factory=list)
    attributes: list[Attribute] = field(default_factory=list)
    is_bit_field: bool = False
    others: list[Variable] = field(default_factory=list)


@dataclass
class Alias(Declaration):
    """`using name = target;` or `typedef target name;`."""

    target: list[Token] = field(default_factory=list)


@dataclass
class Instantiation(Declaration):
    """`template [[host_name("x")]] kernel ... name<arguments>...;`; without a host name `host_name` is empty.

    `parameters` are those of `name(parameters)` where no arguments are given, else None.
    """

    host_name: str = ""
    arguments: list[Token] = field(default_factory=list)
    parameters: list[Parameter] | None = None


def walk(declarations: Sequence[Declaration]) -> Iterator[Declaration]:
    """All declarations in order, those in namespaces and types after their owner."""
    for declaration in declarations:
        yield declaration
        if isinstance(declaration, Namespace | TypeDefinition):
            yield from walk(declaration.members)
