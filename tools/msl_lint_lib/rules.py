"""MSL's rules about declarations that a C++ compiler does not know: Metal Shading Language Specification 3.1.

Owns what is forbidden outright (section 1.5.4), which variables may live where (section 4) and what a kernel may take
(section 5). Works on the tokens and declarations that mslc's front end makes of a shader.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from mslc_lib.lexer import IDENTIFIER, Token, closing
from mslc_lib.syntax import Declaration, Function, Namespace, TypeDefinition, Variable, walk

from msl_lint_lib.finding import Finding

FORBIDDEN = {
    "double": "MSL has no double",
    "goto": "MSL has no goto",
    "register": "MSL has no register variables",
    "thread_local": "MSL has no thread_local variables",
    "virtual": "MSL has no virtual functions",
    "new": "MSL has no new",
    "delete": "MSL has no delete",
    "try": "MSL has no exceptions",
    "throw": "MSL has no exceptions",
    "catch": "MSL has no exceptions",
    "dynamic_cast": "MSL has no dynamic_cast",
    "typeid": "MSL has no typeid",
    "asm": "MSL has no inline assembly",
    "wchar_t": "MSL has no wchar_t",
}
# Metal's compiler takes `= {0}`, which MLX uses, and clears nothing by it.
_ZEROS = frozenset({"=", "{", "}", ",", "0", "0.0", "0.0f", "0.0h"})
_LAMBDA_BEFORE = frozenset({"=", "(", ",", "return", "{", ";", "}", "&&", "||", "?", ":"})


def find(tokens: Sequence[Token], declarations: Sequence[Declaration]) -> Iterator[Finding]:
    """All findings of this file's rules, in no particular order."""
    yield from _forbidden_tokens(tokens)
    yield from _file_scope(declarations)
    functions = [d for d in walk(declarations) if isinstance(d, Function) and d.body >= 0]
    for function in functions:
        yield from _kernel_shape(function)
        yield from _local_variables(function)
    yield from _recursion(functions)
    yield from _calls_of_kernels(functions)


def body_of(function: Function) -> list[Token]:
    """The tokens of a function's body, braces included; empty for a mere declaration."""
    return function.tokens[function.body :] if function.body >= 0 else []


def starts_statement(tokens: Sequence[Token], index: int) -> bool:
    """Whether a statement may begin at `index`."""
    return index == 0 or tokens[index - 1].text in ("{", "}", ";")


def at(token: Token, message: str) -> Finding:
    """A finding at that token."""
    return Finding(token.file, token.line, message)


def _forbidden_tokens(tokens: Sequence[Token]) -> Iterator[Finding]:
    for index, token in enumerate(tokens):
        before = tokens[index - 1].text if index else ";"
        is_deleted_function = token.text == "delete" and before == "="
        if token.kind == IDENTIFIER and token.text in FORBIDDEN and not is_deleted_function:
            yield at(token, FORBIDDEN[token.text])
        elif token.text == "[" and before in _LAMBDA_BEFORE and tokens[index + 1].text in ("]", "&", "="):
            yield at(token, "MSL 3 has no lambda expressions")


def _file_scope(declarations: Sequence[Declaration], in_class: bool = False) -> Iterator[Finding]:
    for declaration in declarations:
        if isinstance(declaration, Namespace):
            yield from _file_scope(declaration.members)
        elif isinstance(declaration, TypeDefinition):
            yield from _file_scope(declaration.members, in_class=True)
        elif isinstance(declaration, Variable) and declaration.name:
            words = {t.text for t in declaration.tokens[: _initializer_start(declaration)]}
            if in_class and "static" not in words:
                continue
            if "constant" not in words:
                scope = "a static member" if in_class else "a variable at file scope"
                yield at(declaration.place, f"{scope} must be in the address space constant: '{declaration.name}'")


def _initializer_start(variable: Variable) -> int:
    texts = [t.text for t in variable.tokens]
    return texts.index("=") if "=" in texts else len(texts)


def _kernel_shape(function: Function) -> Iterator[Finding]:
    if function.is_kernel and not any(t.text == "void" for t in function.tokens[: function.name_index]):
        yield at(function.place, f"a kernel must return void: '{function.name}'")


def threadgroup_variables(function: Function) -> Iterator[tuple[int, int]]:
    """Index of `threadgroup` and of the `;` of each declaration in the body that is no pointer or reference."""
    body = body_of(function)
    for index, token in enumerate(body):
        if token.text == "threadgroup" and starts_statement(body, index):
            statement = _statement(body, index)
            head = {t.text for t in itertools.takewhile(lambda t: t.text not in ("[", "=", "{"), statement)}
            if head.isdisjoint({"*", "&", "("}):
                yield index, index + len(statement)


def _local_variables(function: Function) -> Iterator[Finding]:
    body = body_of(function)
    for index, token in enumerate(body):
        if token.text == "static" and starts_statement(body, index):
            words = {t.text for t in _before_initializer(_statement(body, index))}
            if words.isdisjoint({"constant", "constexpr", "threadgroup"}):
                yield at(token, "a static variable in a function must be in the address space constant")
    for start, end in threadgroup_variables(function):
        if not function.is_kernel:
            yield at(body[start], f"a threadgroup variable must be declared in a kernel, not in '{function.name}'")
        if not {t.text for t in _initializer(body[start:end])} <= _ZEROS:
            yield at(body[start], "a threadgroup variable can't have an initializer other than zeros")


def _statement(tokens: Sequence[Token], start: int) -> list[Token]:
    """The tokens from `start` up to, and without, the next `;`."""
    end = next((i for i in range(start, len(tokens)) if tokens[i].text == ";"), len(tokens))
    return list(tokens[start:end])


def _before_initializer(statement: list[Token]) -> list[Token]:
    end = next((i for i, t in enumerate(statement) if t.text in ("=", "{", "(")), len(statement))
    return statement[:end]


def _initializer(statement: list[Token]) -> list[Token]:
    """The tokens of a declaration from its `=` or `{` on; what stands in brackets of extents is none."""
    index = 0
    while index < len(statement) and statement[index].text not in ("=", "{"):
        index = closing(statement, index) + 1 if statement[index].text in ("[", "(") else index + 1
    return statement[index:]


def _recursion(functions: Sequence[Function]) -> Iterator[Finding]:
    """Cycles among functions whose calls names alone tell.

    An overload or another instantiation of a template may be what is called, as in `f(uint2 x) { f(x.x); }`, so those
    are left out; no template can recur without end anyway.
    """
    by_name: dict[str, list[Function]] = {}
    for function in functions:
        by_name.setdefault(function.name, []).append(function)
    unique = {name: found[0] for name, found in by_name.items() if len(found) == 1 and found[0].template is None}
    calls = {name: _called(function) & unique.keys() for name, function in unique.items()}
    for name, function in unique.items():
        pending, reached = list(calls[name]), set[str]()
        while pending:
            called = pending.pop()
            if called not in reached:
                reached.add(called)
                pending.extend(calls[called])
        if name in reached:
            yield at(function.place, f"MSL has no recursion: '{name}' reaches itself")


def _calls_of_kernels(functions: Sequence[Function]) -> Iterator[Finding]:
    kernels = {f.name for f in functions if f.is_kernel} - {f.name for f in functions if not f.is_kernel}
    for function in functions:
        for name in sorted(_called(function) & kernels):
            yield at(function.place, f"a kernel can't be called: '{name}' in '{function.name}'")


def _called(function: Function) -> set[str]:
    """Names that stand before a `(`, but for members of objects and of other classes."""
    body = body_of(function)
    return {
        token.text
        for index, token in enumerate(body[:-1])
        if token.kind == IDENTIFIER and body[index + 1].text == "(" and body[index - 1].text not in (".", "->", "::")
    }
