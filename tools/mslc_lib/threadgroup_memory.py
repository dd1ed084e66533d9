"""Threadgroup variables that kernels declare: they become references into the group's memory.

Where each lies is computed by a constexpr function beside the kernel, since sizes may depend on template arguments.
That function repeats the local aliases and constants of the kernel's body that the declarations mention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .lexer import IDENTIFIER, Token, closing
from .parts import parse_variable
from .rewrite import one_line, synthetic
from .syntax import Function, Variable

_ZEROS = frozenset({"{", "}", "0", "0.0", "0.", "0.f", "0.0f", "0.0h", "0u", ","})
_LOCAL_STARTS = frozenset({"using", "typedef", "constexpr", "const", "static", "constant", "enum", "struct"})


@dataclass(frozen=True)
class GroupVariables:
    """`body` is the kernel's body with the declarations replaced; `layout` the constexpr function, empty if none."""

    body: list[Token]
    layout: str
    layout_name: str
    count: int
    is_zeroed: bool = False


@dataclass(frozen=True)
class _Statement:
    """Token indices; `scope` holds those of the braces that are open around it, from the outside in."""

    start: int
    end: int
    scope: tuple[int, ...]


def extract(function: Function, number: int, fields: frozenset[str]) -> GroupVariables:
    """Finds the threadgroup variables of a kernel; `number` makes the layout's name unique in the file."""
    body = function.tokens[function.body :]
    statements = list(_statements(body))
    chosen = [s for s in statements if _declares_object(body, s)]
    if not chosen:
        return GroupVariables(list(body), "", "", 0)
    name = f"softmetal_layout_{number}"
    call = f"{name}{_own_arguments(function)}()"
    output: list[Token] = []
    types: list[str] = []
    layout: list[str] = []
    position, is_zeroed = 0, False
    for statement in chosen:
        output.extend(body[position : statement.start])
        first = len(types)
        for variable in _variables(body, statement):
            is_zeroed |= bool(variable.initializer)
            extents = "".join(f"[{one_line(e, fields)}]" for e in variable.extents)
            base = one_line([t for t in variable.type if t.text not in ("static", "alignas")], fields)
            element = f"{base} (*){extents}" if extents else f"{base}*"
            target = f"(&{variable.name}){extents}" if extents else f"&{variable.name}"
            place = body[statement.start]
            memory = f"::softmetal::cpu::group_memory({call}.offset[{len(types)}])"
            output.append(synthetic(f"{base} {target} = *static_cast<{element}>({memory});", place))
            types.append(base + (f" {extents}" if extents else ""))
        adds = [f"layout.template add<{type_}>({first + n});" for n, type_ in enumerate(types[first:])]
        layout += _in_their_blocks(_needed_locals(body, statements, statement), adds, fields)
        position = statement.end + 1
    output.extend(body[position:])
    text = _layout_function(function, name, len(types), layout, fields)
    return GroupVariables(output, text, name, len(types), is_zeroed)


def shared_declarations(function: Function) -> list[Token]:
    """The kernel's body with its threadgroup variables declared as CUDA's `__shared__`."""
    body = function.tokens[function.body :]
    output: list[Token] = []
    position = 0
    for statement in _statements(body):
        if not _declares_object(body, statement):
            continue
        variables = _variables(body, statement)
        place = body[statement.start]
        output.extend(body[position : statement.start])
        if any(v.initializer for v in variables):
            if len(variables) > 1:
                raise place.error("a threadgroup variable with an initial value must stand alone in its declaration")
            end = next(i for i in range(statement.start, statement.end) if body[i].text in ("=", "{"))
        else:
            end = statement.end
        output.append(synthetic("__shared__", place))
        output.extend(t for t in body[statement.start : end] if t.text not in ("threadgroup", "static"))
        if end < statement.end:
            output.append(synthetic(f"; ::metal::cuda::clear({variables[0].name})", place))
        position = statement.end
    return output + body[position:]


def first_declaration(function: Function) -> Token | None:
    """The first token of a threadgroup variable's declaration in the body, if there is one."""
    body = function.tokens[function.body :]
    if not any(t.text == "threadgroup" for t in body):
        return None
    found = next((s for s in _statements(body) if _declares_object(body, s)), None)
    return body[found.start] if found is not None else None


def _statements(body: Sequence[Token]) -> list[_Statement]:
    """Simple statements at any depth: runs of tokens between `{`, `}` and `;` that end in `;`."""
    found: list[_Statement] = []
    scope: list[int] = []
    start, index = 1, 1
    while index < len(body):
        text = body[index].text
        # A body's brace follows the parenthesis of its loop or condition, which may hold a `=` too.
        is_body = text == "{" and body[index - 1].text == ")"
        is_initializer = text == "{" and not is_body
        is_initializer &= any(t.text in ("=", "enum", "struct") for t in body[start:index])
        if text in ("(", "[") or is_initializer:
            index = closing(body, index)
        elif text in ("{", "}"):
            start = index + 1
            if text == "{":
                scope.append(index)
            elif scope:
                scope.pop()
        elif text == ";":
            if index > start:
                found.append(_Statement(start, index, tuple(scope)))
            start = index + 1
        index += 1
    return found


def _declares_object(body: Sequence[Token], statement: _Statement) -> bool:
    texts = [t.text for t in body[statement.start : statement.end]]
    if "threadgroup" not in texts[:3] or texts[0] in ("using", "typedef", "return"):
        return False
    start = texts.index("threadgroup")
    if any(t not in ("static", "const", "volatile", "alignas") for t in texts[:start]) and texts[0] != "alignas":
        return False
    head = texts[start : texts.index("=") if "=" in texts else len(texts)]
    return "*" not in _outside_brackets(head) and "&" not in _outside_brackets(head) and "(" not in head[:2]


def _outside_brackets(texts: Sequence[str]) -> list[str]:
    output, depth = [], 0
    for text in texts:
        depth += {"[": 1, "(": 1, "<": 1, "]": -1, ")": -1, ">": -1}.get(text, 0)
        if depth == 0:
            output.append(text)
    return output


def _variables(body: Sequence[Token], statement: _Statement) -> list[Variable]:
    tokens = [t for t in _without_attributes(body[statement.start : statement.end + 1]) if t.text != "threadgroup"]
    variable = parse_variable(tokens, 0)
    found = [variable, *variable.others]
    for each in found:
        if any(t.text not in _ZEROS for t in each.initializer):
            raise body[statement.start].error(f"threadgroup variable '{each.name}' can only be set to zero initially")
        if not each.type or not each.name:
            raise body[statement.start].error("this threadgroup declaration is not understood")
    return found


def _without_attributes(tokens: Sequence[Token]) -> list[Token]:
    """Without `__attribute__((...))`: the group's memory is aligned for every type."""
    output: list[Token] = []
    index = 0
    while index < len(tokens):
        if tokens[index].text == "__attribute__":
            index = closing(tokens, index + 1)
        else:
            output.append(tokens[index])
        index += 1
    return output


def _needed_locals(
    body: Sequence[Token], statements: Sequence[_Statement], chosen: _Statement
) -> list[list[list[Token]]]:
    """Local aliases and constants that a declaration mentions, directly or through one another, in order.

    A list for each block around it, from the outside in: a name may mean something else in the next block.
    """
    needed = {t.text for t in body[chosen.start : chosen.end] if t.kind == IDENTIFIER}
    kept: list[_Statement] = []
    for statement in reversed(statements):
        tokens = body[statement.start : statement.end]
        is_visible = statement.start < chosen.start and statement.scope == chosen.scope[: len(statement.scope)]
        if not is_visible or tokens[0].text not in _LOCAL_STARTS or _declares_object(body, statement):
            continue
        if _declared_names(tokens) & needed:
            kept.append(statement)
            needed |= {t.text for t in tokens if t.kind == IDENTIFIER}
    depths = range(len(chosen.scope) + 1)
    return [[list(body[s.start : s.end + 1]) for s in reversed(kept) if len(s.scope) == depth] for depth in depths]


def _in_their_blocks(
    locals_: Sequence[Sequence[Sequence[Token]]], lines: Sequence[str], fields: frozenset[str]
) -> list[str]:
    """The lines behind the locals they need, in blocks as deep as those are."""
    output: list[str] = []
    blocks = [block for block in locals_ if block]
    for block in blocks:
        output += ["{", *(one_line(tokens, fields).replace("static ", "") for tokens in block)]
    return [*output, *lines, *("}" for _ in blocks)]


def _declared_names(tokens: Sequence[Token]) -> set[str]:
    """The names that a local statement declares; `tokens` are without the `;`."""
    if tokens[0].text == "using":
        return {tokens[1].text}
    if tokens[0].text == "typedef":
        return {tokens[-1].text}
    if tokens[0].text in ("enum", "struct"):
        return {t.text for t in tokens if t.kind == IDENTIFIER}
    variable = parse_variable([*tokens, tokens[-1].renamed(";")], 0)
    return {each.name for each in [variable, *variable.others]}


def _own_arguments(function: Function) -> str:
    """`<T, N>`: the kernel's own template parameters as arguments."""
    if function.template is None:
        return ""
    names = []
    for parameter in function.template:
        if not parameter.name:
            raise parameter.tokens[0].error("a template parameter of a kernel with threadgroup variables needs a name")
        names.append(parameter.name + ("..." if parameter.is_pack else ""))
    return f"<{', '.join(names)}>"


def _layout_function(function: Function, name: str, count: int, adds: Sequence[str], fields: frozenset[str]) -> str:
    template = ""
    if function.template is not None:
        parameters = ", ".join(one_line(p.tokens, fields) for p in function.template)
        template = f"template <{parameters}>\n"
    lines = [f"{template}constexpr ::softmetal::cpu::GroupLayout<{count}> {name}() {{"]
    lines.append(f"  ::softmetal::cpu::GroupLayout<{count}> layout{{}};")
    lines += [f"  {text}" for text in adds]
    lines += ["  return layout;", "}"]
    return "\n".join(lines)
