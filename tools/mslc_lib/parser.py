"""Reads declarations at namespace and class scope from preprocessed tokens."""

from __future__ import annotations

from collections.abc import Sequence

from .lexer import IDENTIFIER, Token, closing, closing_angle
from .parts import attributes_of, find_attribute_end, host_name_of, make_parameters, make_template, parse_variable
from .syntax import (
    Alias,
    Declaration,
    Function,
    Instantiation,
    Namespace,
    Parameter,
    TemplateParameter,
    TypeDefinition,
)

_TYPE_KEYWORDS = frozenset({"struct", "class", "union", "enum"})
_PAREN_WORDS = frozenset({"__attribute__", "decltype", "alignas", "noexcept", "__declspec", "typeof", "__typeof__"})
_UNSUPPORTED = {
    "vertex": "vertex functions are not supported",
    "fragment": "fragment functions are not supported",
    "sampler": "samplers are not supported",
}


def parse(tokens: Sequence[Token]) -> list[Declaration]:
    """The declarations of a whole file; raises MslError where brackets or shapes make no sense."""
    return _Scope(list(tokens), in_class=False).run()


class _Shape:
    """What scanning one declaration found; indices are -1 where a part is missing."""

    def __init__(self) -> None:
        self.end = -1
        self.name = -1
        self.parameters = -1
        self.body = -1
        self.type_keyword = -1
        self.assign = -1
        self.colon = -1


class _Scope:
    def __init__(self, tokens: list[Token], in_class: bool) -> None:
        self._tokens = tokens
        self._in_class = in_class

    def run(self) -> list[Declaration]:
        declarations: list[Declaration] = []
        index = 0
        while index < len(self._tokens):
            token = self._tokens[index]
            if token.text == ";":
                index += 1
            elif self._in_class and token.text in ("public", "private", "protected"):
                declarations.append(Declaration(self._tokens[index : index + 2]))
                index += 2
            else:
                declaration, index = self._one(index)
                declarations.append(declaration)
        return declarations

    def _one(self, start: int) -> tuple[Declaration, int]:
        tokens = self._tokens
        first = tokens[start]
        if first.text in _UNSUPPORTED and not self._in_class:
            raise first.error(_UNSUPPORTED[first.text])
        following = tokens[start + 1].text if start + 1 < len(tokens) else ""
        if first.text == "namespace" or (first.text == "inline" and following == "namespace"):
            return self._namespace(start)
        if first.text in ("using", "static_assert", "typedef", "friend"):
            return self._simple(start)
        if first.text == "template" and following != "<":
            return self._instantiation(start)
        if first.text == "extern" and following == '"C"' and self._tokens[start + 2].text != "{":
            return self._one(start + 2)
        if first.text == "extern" and following.startswith('"'):
            raise first.error("language linkage of a block has no meaning in a shader")
        return self._general(start)

    def _semicolon(self, start: int) -> int:
        """Index of the `;` that ends what begins at `start`."""
        index = start
        while index < len(self._tokens):
            text = self._tokens[index].text
            if text == ";":
                return index
            if text in ("(", "[", "{") and self._tokens[index].kind == "punct":
                index = closing(self._tokens, index)
            index += 1
        raise self._tokens[start].error("this declaration is never ended by ';'")

    def _namespace(self, start: int) -> tuple[Declaration, int]:
        tokens = self._tokens
        index = start
        while index < len(tokens) and tokens[index].text not in ("{", ";"):
            index += 1
        if index >= len(tokens):
            raise tokens[start].error("a namespace needs a body")
        if tokens[index].text == ";":
            return Declaration(tokens[start : index + 1]), index + 1
        end = closing(tokens, index)
        name = tokens[index - 1].text if tokens[index - 1].text != "namespace" else ""
        members = _Scope(tokens[index + 1 : end], in_class=False).run()
        whole = tokens[start : end + 1]
        return Namespace(whole, name, head=tokens[start : index + 1], members=members), end + 1

    def _simple(self, start: int) -> tuple[Declaration, int]:
        end = self._semicolon(start)
        tokens = self._tokens[start : end + 1]
        if tokens[0].text == "using" and len(tokens) > 3 and tokens[2].text == "=":
            return Alias(tokens, tokens[1].text, target=tokens[3:-1]), end + 1
        if tokens[0].text == "typedef":
            return self._typedef(tokens), end + 1
        return Declaration(tokens), end + 1

    def _typedef(self, tokens: list[Token]) -> Declaration:
        keyword = next((i for i, t in enumerate(tokens) if t.text in _TYPE_KEYWORDS), -1)
        brace = next((i for i, t in enumerate(tokens) if t.text == "{"), -1)
        if tokens[-2].kind != IDENTIFIER:
            return Declaration(tokens)
        if keyword == 1 and brace > 0:
            end = closing(tokens, brace)
            definition = self._type_definition(tokens, keyword, brace, end)
            definition.name = tokens[-2].text
            return definition
        return Alias(tokens, tokens[-2].text, target=tokens[1:-2])

    def _instantiation(self, start: int) -> tuple[Declaration, int]:
        end = self._semicolon(start)
        tokens = self._tokens[start : end + 1]
        attributes = attributes_of(tokens)
        host = next((a for a in attributes if a.name == "host_name"), None)
        host_name = host_name_of(host) if host is not None else ""
        name, arguments = self._instantiated_name(tokens)
        if name:
            return Instantiation(tokens, name, host_name=host_name, arguments=arguments), end + 1
        name, parameters = self._instantiated_parameters(tokens)
        return Instantiation(tokens, name, host_name=host_name, parameters=parameters), end + 1

    @staticmethod
    def _instantiated_parameters(tokens: list[Token]) -> tuple[str, list[Parameter] | None]:
        """`name(parameters)` at the end of an instantiation without template arguments."""
        index = 1
        while index < len(tokens):
            attribute_end = find_attribute_end(tokens, index)
            if attribute_end is not None:
                index = attribute_end
            elif tokens[index].text == "(":
                close = closing(tokens, index)
                if tokens[index - 1].kind == IDENTIFIER and tokens[index - 1].text not in _PAREN_WORDS:
                    return tokens[index - 1].text, make_parameters(tokens[index + 1 : close])
                index = close
            index += 1
        return "", None

    @staticmethod
    def _instantiated_name(tokens: list[Token]) -> tuple[str, list[Token]]:
        """`name<arguments>` that stands before the parameter list or the `;`."""
        index, found = 1, ("", list[Token]())
        while index < len(tokens):
            token = tokens[index]
            attribute_end = find_attribute_end(tokens, index)
            if attribute_end is not None:
                index = attribute_end
            elif token.text == "<" and tokens[index - 1].kind == IDENTIFIER:
                end = closing_angle(tokens, index)
                if end is None:
                    raise token.error("this '<' is never closed")
                if tokens[end + 1].text in (";", "("):
                    found = (tokens[index - 1].text, tokens[index + 1 : end])
                    break
                index = end
            elif token.text == "(":
                index = closing(tokens, index)
            index += 1
        return found

    def _general(self, start: int) -> tuple[Declaration, int]:
        tokens = self._tokens
        template, after = None, start
        while after < len(tokens) and tokens[after].text == "template":
            end = closing_angle(tokens, after + 1)
            if end is None:
                raise tokens[after].error("this template parameter list is never closed")
            template = (template or []) + make_template(tokens[after + 2 : end])
            after = end + 1
        if after >= len(tokens):
            raise tokens[start].error("a template parameter list must be followed by a declaration")
        if template is not None and tokens[after].text == "using":
            end = self._semicolon(after)
            return Declaration(tokens[start : end + 1], tokens[after + 1].text, template), end + 1
        shape = self._scan(after)
        whole = tokens[start : shape.end + 1]
        if shape.type_keyword >= 0 and shape.body >= 0 and shape.parameters < 0:
            close = closing(tokens, shape.body)
            definition = self._type_definition(
                whole, shape.type_keyword - start, shape.body - start, close - start, shape.colon >= 0
            )
            definition.template = template
            return definition, shape.end + 1
        if shape.parameters >= 0:
            return self._function(start, shape, template), shape.end + 1
        if shape.type_keyword >= 0 and shape.assign < 0:
            return Declaration(whole, whole[-2].text, template), shape.end + 1
        variable = parse_variable(whole, after - start)
        variable.template = template
        return variable, shape.end + 1

    def _function(self, start: int, shape: _Shape, template: list[TemplateParameter] | None) -> Function:
        tokens = self._tokens
        close = closing(tokens, shape.parameters)
        head = tokens[start : shape.parameters]
        attributes = attributes_of(head)
        is_kernel = any(t.text == "kernel" for t in head) or any(a.name == "kernel" for a in attributes)
        tail_end = shape.body if shape.body >= 0 else shape.end
        attributes += attributes_of(tokens[close + 1 : tail_end])
        return Function(
            tokens[start : shape.end + 1],
            tokens[shape.name].text,
            template,
            parameters=make_parameters(tokens[shape.parameters + 1 : close]),
            attributes=attributes,
            is_kernel=is_kernel,
            body=shape.body - start if shape.body >= 0 else -1,
            name_index=shape.name - start,
            parameters_open=shape.parameters - start,
            parameters_close=close - start,
        )

    @staticmethod
    def _type_definition(
        tokens: list[Token], keyword: int, body: int, close: int, has_bases: bool = False
    ) -> TypeDefinition:
        name, alignment, index = "", None, keyword + 1
        while index < body:
            attribute_end = find_attribute_end(tokens, index)
            if tokens[index].text == ":":  # what follows is an underlying type or a base
                break
            if attribute_end is not None:
                index = attribute_end
            elif tokens[index].text in _PAREN_WORDS and tokens[index + 1].text == "(":
                end = closing(tokens, index + 1)
                if tokens[index].text == "alignas":
                    alignment = tuple(tokens[index + 2 : end])
                index = end
            elif tokens[index].kind == IDENTIFIER and tokens[index].text not in ("class", "struct"):
                name = tokens[index].text
                break
            index += 1
        is_enum = tokens[keyword].text == "enum"
        members = [] if is_enum else _Scope(tokens[body + 1 : close], in_class=True).run()
        return TypeDefinition(
            tokens,
            name,
            keyword=tokens[keyword].text,
            body_start=body + 1,
            body_end=close,
            members=members,
            has_bases=has_bases and not is_enum,
            alignment=alignment,
        )

    def _scan(self, start: int) -> _Shape:
        """Finds the parts of one declaration and where it ends."""
        tokens, shape, index = self._tokens, _Shape(), start
        last_angle = (-1, -1)
        while index < len(tokens):
            token = tokens[index]
            attribute_end = find_attribute_end(tokens, index)
            if attribute_end is not None:
                index = attribute_end
            elif token.text in _PAREN_WORDS and index + 1 < len(tokens) and tokens[index + 1].text == "(":
                index = closing(tokens, index + 1)
            elif token.text == "operator" and shape.parameters < 0 and shape.assign < 0:
                shape.name = index
                shape.parameters = index = self._operator_parameters(index)
                index = closing(tokens, index)
            elif token.text in _TYPE_KEYWORDS and shape.type_keyword < 0 and shape.parameters < 0:
                shape.type_keyword = index
            elif token.text == "<" and shape.assign < 0 and token.kind == "punct":
                end = closing_angle(tokens, index)
                if end is not None:
                    last_angle = (index, end)
                    index = end
            elif token.text == "=" and shape.assign < 0:
                shape.assign = index
            elif token.text == ":" and shape.colon < 0:
                shape.colon = index
            elif token.text == "(" and token.kind == "punct":
                if shape.parameters < 0 and shape.assign < 0:
                    shape.parameters = index
                    shape.name = last_angle[0] - 1 if last_angle[1] == index - 1 else index - 1
                index = closing(tokens, index)
            elif token.text == "[":
                index = closing(tokens, index)
            elif token.text == "{" and self._brace(index, shape):
                return shape
            elif token.text == "{":
                index = closing(tokens, index)
            elif token.text == ";":
                shape.end = index
                return shape
            index += 1
        raise tokens[start].error("this declaration is never ended by ';' or a body")

    def _brace(self, index: int, shape: _Shape) -> bool:
        """Handles `{` at `index`; true if it is a function's body, which ends the declaration."""
        if shape.parameters >= 0 and shape.assign < 0:
            previous = self._tokens[index - 1]
            is_member_initializer = shape.colon > shape.parameters and (
                previous.kind == IDENTIFIER or previous.text == ">"
            )
            if is_member_initializer:
                return False
            shape.body = index
            shape.end = closing(self._tokens, index)
            return True
        if shape.body < 0 and shape.assign < 0 and shape.type_keyword >= 0:
            shape.body = index
        return False

    def _operator_parameters(self, index: int) -> int:
        """Index of the `(` that opens the parameters of `operator...`."""
        tokens = self._tokens
        index += 1
        if tokens[index].text == "(" and index + 1 < len(tokens) and tokens[index + 1].text == ")":
            index += 2
        while index < len(tokens) and tokens[index].text != "(":
            if tokens[index].text == ";":
                break
            index += 1
        if index >= len(tokens) or tokens[index].text != "(":
            raise tokens[min(index, len(tokens) - 1)].error("an operator function needs parameters")
        return index
