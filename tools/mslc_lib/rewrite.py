"""Turns MSL tokens into C++ tokens: address spaces, attributes, literals, swizzles, function constants.

`constant` becomes `const`; the other address spaces vanish. Only the words change, never the structure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .lexer import IDENTIFIER, NUMBER, PUNCTUATION, Token, closing, spell, tokenize, unrolling
from .parts import find_attribute_end
from .syntax import Declaration, TypeDefinition, Variable, walk

_DROPPED = frozenset({"device", "threadgroup", "thread", "kernel", "threadgroup_imageblock", "__extension__"})
_SPECIFIERS = frozenset({"const", "constexpr", "static", "volatile", "inline"})
_KEPT_ATTRIBUTES = frozenset({"maybe_unused", "fallthrough", "nodiscard"})
_SWIZZLE = re.compile(r"[xyzw]{2,4}|[rgba]{1,4}")
_ASSIGNMENTS = frozenset({"=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<="})
_LETTERS = "xyzw"
_COLOURS = "rgba"
_FLOAT = re.compile(
    r"(?P<digits>0[xX][0-9a-fA-F.']*[pP][+-]?[0-9]+|[0-9.'][0-9.']*(?:[eE][+-]?[0-9]+)?)(?P<suffix>\w*)"
)
DEFINED_PREFIX = "softmetal_defined_"


def swizzle_fields(declarations: Sequence[Declaration]) -> frozenset[str]:
    """Names of struct members that look like swizzles, which are then not taken for such."""
    found = set()
    for declaration in walk(declarations):
        if isinstance(declaration, TypeDefinition):
            for member in declaration.members:
                if isinstance(member, Variable):
                    found |= {v.name for v in [member, *member.others] if _SWIZZLE.fullmatch(v.name)}
    return frozenset(found)


def rewrite(tokens: Sequence[Token], fields: frozenset[str]) -> list[Token]:
    """The C++ spelling of the tokens; `fields` comes from swizzle_fields."""
    output: list[Token] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        attribute_end = find_attribute_end(tokens, index)
        if attribute_end is not None:
            if tokens[index + 2].text in _KEPT_ATTRIBUTES:
                output.extend(tokens[index : attribute_end + 1])
            index = attribute_end + 1
            continue
        if token.text == "coherent" and index + 1 < len(tokens) and tokens[index + 1].text == "(":
            index = closing(tokens, index + 1) + 1
            continue
        if token.text == "_Pragma" and index + 1 < len(tokens):
            end = closing(tokens, index + 1)
            wanted = unrolling([t.text for t in tokenize(tokens[index + 2].text.strip('"'), token.file)])
            if wanted:
                count = wanted.removeprefix("unroll").strip()
                output.append(token.renamed(f"SOFTMETAL_UNROLL_BY({count})" if count else "SOFTMETAL_UNROLL"))
            index = end + 1
            continue
        if token.text == "is_function_constant_defined" and index + 1 < len(tokens):
            end = closing(tokens, index + 1)
            output.append(token.renamed("("))
            output.extend(tokens[index + 2 : end - 1])
            output.append(tokens[end - 1].renamed(DEFINED_PREFIX + tokens[end - 1].text))
            output.append(tokens[end])
            index = end + 1
            continue
        _rewrite_one(tokens, index, fields, output)
        index += 1
    return output


def _rewrite_one(tokens: Sequence[Token], index: int, fields: frozenset[str], output: list[Token]) -> None:
    token = tokens[index]
    previous = output[-1].text if output else ""
    if token.kind == NUMBER:
        output.append(_number(token))
    elif token.kind != IDENTIFIER:
        output.append(token)
    elif previous in (".", "->"):
        output.append(_member(tokens, index, fields))
    elif token.text in _DROPPED:
        return
    elif token.text == "constant":
        if not _is_const_already(output) and not _is_const_later(tokens, index):
            output.append(token.renamed("const"))
    elif token.text == "const" and _is_const_already(output):
        return
    else:
        output.append(token)


def _is_const_already(output: Sequence[Token]) -> bool:
    index = len(output) - 1
    while index >= 0 and output[index].text in _SPECIFIERS:
        if output[index].text == "const":
            return True
        index -= 1
    return False


def _is_const_later(tokens: Sequence[Token], index: int) -> bool:
    following = index + 1
    while following < len(tokens) and (tokens[following].text in _SPECIFIERS or tokens[following].text in _DROPPED):
        if tokens[following].text == "const":
            return True
        following += 1
    return False


def _member(tokens: Sequence[Token], index: int, fields: frozenset[str]) -> Token:
    """What stands after `.` or `->`: a swizzle becomes a member function call."""
    token = tokens[index]
    following = tokens[index + 1].text if index + 1 < len(tokens) else ""
    if token.text in fields or following == "(" or not _SWIZZLE.fullmatch(token.text):
        return token
    letters = _COLOURS if token.text[0] in _COLOURS else _LETTERS
    if len(token.text) == 1:
        return token.renamed(_LETTERS[letters.index(token.text)])
    indices = ", ".join(str(letters.index(c)) for c in token.text)
    written = following in _ASSIGNMENTS or (following == ">" and _is_shift_assignment(tokens, index + 1))
    name = "swizzle_reference" if written else "swizzle"
    if written and len(set(token.text)) != len(token.text):
        raise token.error(f"the swizzle '.{token.text}' is assigned to and names a component twice")
    return token.renamed(f"template {name}<{indices}>()")


def _is_shift_assignment(tokens: Sequence[Token], index: int) -> bool:
    return [t.text for t in tokens[index : index + 3]] == [">", ">", "="]


def _number(token: Token) -> Token:
    text = token.text
    is_hex = text[:2].lower() == "0x"
    is_float = "." in text or ("p" in text.lower() if is_hex else "e" in text.lower())
    if not is_float or text[:2].lower() == "0b":
        return token
    match = _FLOAT.fullmatch(text)
    suffix = match["suffix"].lower() if match else "?"
    if match is None or suffix not in ("", "f", "h", "bf"):
        raise token.error(f"'{text}' is no floating-point literal of MSL")
    if suffix == "h":
        return token.renamed(f"::metal::half({match['digits']}f)")
    if suffix == "bf":
        return token.renamed(f"::metal::bfloat({match['digits']}f)")
    return token.renamed(match["digits"] + "f", NUMBER)


def normalised(tokens: Iterable[Token]) -> str:
    """Spelling without address spaces and spacing, for comparing overloads."""
    return " ".join(t.text for t in rewrite(list(tokens), frozenset()))


def synthetic(text: str, place: Token, space: bool = True) -> Token:
    """A piece of C++ text that is printed at `place`."""
    return Token(PUNCTUATION, text, place.file, place.line, space)


def one_line(tokens: Sequence[Token], fields: frozenset[str]) -> str:
    """Rewritten tokens as text for use inside a synthetic piece."""
    return spell(rewrite(tokens, fields))
