"""Macro definitions and their expansion, by the hide-set algorithm that the C standard's authors published.

(D. Prosser, "Complete macro expansion algorithm", X3J11/86-196.) Tokens that an expansion makes carry the place of its
use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .lexer import IDENTIFIER, NUMBER, STRING, Token, tokenize

_VARIADIC = "__VA_ARGS__"
_EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Macro:
    """`parameters` is None for an object-like macro; a variadic one ends in __VA_ARGS__ or its own name for it."""

    name: str
    parameters: tuple[str, ...] | None
    body: tuple[Token, ...]
    variadic: bool = False


MacroTable = dict[str, Macro]


def parse_define(tokens: Sequence[Token], place: Token) -> Macro:
    """The macro that the tokens after `#define` describe."""
    if not tokens or tokens[0].kind != IDENTIFIER:
        raise place.error("#define needs a name")
    name, rest = tokens[0], tokens[1:]
    if not rest or rest[0].text != "(" or rest[0].space:
        return Macro(name.text, None, tuple(rest))
    parameters: list[str] = []
    variadic = False
    index = 1
    while True:
        if index >= len(rest):
            raise name.error(f"the parameter list of macro '{name.text}' is never closed")
        token = rest[index]
        if token.text == ")":
            break
        if token.text == "...":
            if not (index >= 1 and rest[index - 1].kind == IDENTIFIER and parameters):
                parameters.append(_VARIADIC)
            variadic = True
        elif token.kind == IDENTIFIER and not variadic:
            parameters.append(token.text)
        elif token.text != ",":
            raise token.error(f"unexpected '{token.text}' in the parameters of macro '{name.text}'")
        index += 1
    return Macro(name.text, tuple(parameters), tuple(rest[index + 1 :]), variadic)


def expand(tokens: Sequence[Token], macros: MacroTable) -> list[Token]:
    """The tokens with every macro replaced; raises MslError for a malformed use."""
    output: list[Token] = []
    pending = list(reversed(tokens))
    while pending:
        token = pending.pop()
        macro = macros.get(token.text) if token.kind == IDENTIFIER else None
        if token.kind == IDENTIFIER and token.text == "__LINE__" and macro is None:
            output.append(token.renamed(str(token.line), NUMBER))
        elif token.kind == IDENTIFIER and token.text == "__FILE__" and macro is None:
            output.append(token.renamed('"' + token.file.replace("\\", "/") + '"', STRING))
        elif macro is None or macro.name in token.hidden:
            output.append(token)
        elif macro.parameters is None:
            hidden = token.hidden | {macro.name}
            pending.extend(reversed(_substitute(macro, [], [], hidden, token)))
        elif pending and pending[-1].text == "(":
            arguments, last = _take_arguments(pending, macro, token)
            hidden = (token.hidden & last.hidden) | {macro.name}
            expanded = [expand(argument, macros) for argument in arguments]
            pending.extend(reversed(_substitute(macro, arguments, expanded, hidden, token)))
        else:
            output.append(token)
    return output


def _take_arguments(pending: list[Token], macro: Macro, place: Token) -> tuple[list[list[Token]], Token]:
    """Pops `( ... )` off the stack; the variadic tail is one argument with its commas."""
    parameters = macro.parameters or ()
    pending.pop()
    arguments: list[list[Token]] = [[]]
    depth = 1
    while pending:
        token = pending.pop()
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token.text, 0)
        if depth == 0:
            break
        in_tail = macro.variadic and len(arguments) == len(parameters)
        if token.text == "," and depth == 1 and not in_tail:
            arguments.append([])
        else:
            arguments[-1].append(token)
    else:
        raise place.error(f"the arguments of macro '{macro.name}' are never closed")
    if macro.variadic and len(arguments) == len(parameters) - 1:
        arguments.append([])
    if not parameters and arguments == [[]]:
        arguments = []
    if len(arguments) != len(parameters):
        raise place.error(f"macro '{macro.name}' takes {len(parameters)} arguments, found {len(arguments)}")
    return arguments, token


def _stringify(tokens: Sequence[Token], place: Token) -> Token:
    text = ""
    for token in tokens:
        piece = token.text
        if token.kind in ("str", "chr"):
            piece = piece.replace("\\", "\\\\").replace('"', '\\"')
        text += (" " if text and token.space else "") + piece
    return place.renamed(f'"{text}"', STRING)


def _paste(left: Token, right: Token) -> list[Token]:
    glued = tokenize(left.text + right.text, left.file)
    if len(glued) == 1:
        return [replace(left, text=glued[0].text, kind=glued[0].kind)]
    if left.text == ">":
        return [left, replace(right, space=False)]
    raise left.error(f"'{left.text}' ## '{right.text}' is no single token")


def _substitute(
    macro: Macro,
    raw: Sequence[Sequence[Token]],
    expanded: Sequence[Sequence[Token]],
    hidden: frozenset[str],
    place: Token,
) -> list[Token]:
    """The body with its parameters replaced, placed at the macro's use."""
    numbers = {name: index for index, name in enumerate(macro.parameters or ())}
    body, index = macro.body, 0
    output: list[Token] = []
    while index < len(body):
        token = body[index]
        number = numbers.get(token.text) if token.kind == IDENTIFIER else None
        following = body[index + 1].text if index + 1 < len(body) else ""
        if token.text == "#" and following in numbers:
            output.append(replace(_stringify(raw[numbers[following]], token), space=token.space))
            index += 2
        elif token.text == "##":
            _paste_next(macro, numbers, raw, index, output)
            index += 2
        elif number is not None:
            output.extend(_argument(raw[number] if following == "##" else expanded[number], token))
            index += 1
        else:
            output.append(token)
            index += 1
    return _placed(output, place, hidden)


def _argument(pieces: Sequence[Token], parameter: Token) -> list[Token]:
    """An argument in place of its parameter; a placeholder where it is empty, for `##` to meet."""
    if not pieces:
        return [replace(parameter, kind=_EMPTY, text="")]
    return [replace(pieces[0], space=parameter.space), *pieces[1:]]


def _paste_next(
    macro: Macro, numbers: dict[str, int], raw: Sequence[Sequence[Token]], index: int, output: list[Token]
) -> None:
    """Joins the last token of `output` with what follows the `##` at `index`."""
    if not output or index + 1 >= len(macro.body):
        raise macro.body[index].error("'##' needs a token on both sides")
    name = macro.body[index + 1]
    is_parameter = name.kind == IDENTIFIER and name.text in numbers
    right = list(raw[numbers[name.text]]) if is_parameter else [name]
    is_variadic = is_parameter and macro.variadic and numbers[name.text] == len(numbers) - 1
    if output[-1].text == "," and is_variadic:
        if right:
            output.extend(right)
        else:
            output.pop()
    elif right:
        left = output.pop()
        output.extend((_paste(left, right[0]) if left.kind != _EMPTY else [right[0]]) + right[1:])


def _placed(tokens: Sequence[Token], place: Token, hidden: frozenset[str]) -> list[Token]:
    kept = [token for token in tokens if token.kind != _EMPTY]
    return [
        replace(
            token,
            file=place.file,
            line=place.line,
            first=False,
            hidden=token.hidden | hidden,
            space=place.space if position == 0 else token.space,
        )
        for position, token in enumerate(kept)
    ]
