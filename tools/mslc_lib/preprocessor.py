"""The C preprocessor for MSL: macros, conditionals and local includes.

One pass makes two things: the tokens after expansion, which the parser reads, and the text with local includes inlined,
which is what Metal's own compiler gets. System includes stay in that text and vanish from the tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .errors import MslError
from .expressions import evaluate
from .lexer import IDENTIFIER, NUMBER, PUNCTUATION, STRING, Token, tokenize, unrolling
from .macros import Macro, MacroTable, expand, parse_define

PREDEFINED = {
    "__METAL__": "1",
    "__METAL_VERSION__": "310",
    "__METAL_MACOS__": "1",
    "__HAVE_BFLOAT__": "1",
    "__HAVE_SIMDGROUP_MATRIX__": "1",
}
_MAX_INCLUDE_DEPTH = 64
_UNSUPPORTED_PREFIXES = ("MetalPerformancePrimitives/", "metal_tensor", "metal_raytracing", "metal_cooperative_tensor")
_SYSTEM_PREFIXES = ("metal_", "simd/")


@dataclass
class Preprocessed:
    """Tokens after expansion, the inlined text, and the files that were read (the shader first)."""

    tokens: list[Token]
    source: str
    files: list[Path]


@dataclass
class _Branch:
    """One #if ... #endif: whether this part is read, and whether a part was already chosen."""

    place: Token
    active: bool
    taken: bool
    parent_active: bool
    in_else: bool = False


@dataclass
class _State:
    include_directories: Sequence[Path]
    macros: MacroTable
    files: list[Path] = field(default_factory=list)
    once: set[Path] = field(default_factory=set)


def preprocess(path: Path, include_directories: Sequence[Path], defines: Sequence[tuple[str, str]]) -> Preprocessed:
    """Reads `path` and what it includes; raises MslError with file and line."""
    state = _State(include_directories, {})
    for name, value in [*PREDEFINED.items(), *defines]:
        state.macros[name] = Macro(name, None, tuple(tokenize(value, "<command line>")))
    tokens, source = _read_file(path, str(path), state, 0)
    head = "".join(f"#define {name} {value}\n" for name, value in defines)
    return Preprocessed(tokens, head + source, state.files)


def _read_file(path: Path, name: str, state: _State, depth: int) -> tuple[list[Token], str]:
    try:
        text = path.read_bytes().decode("utf-8").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise MslError(name, 1, f"cannot be read: {error}") from None
    if path not in state.files:
        state.files.append(path)
    return _FileReader(path, name, text, state, depth).run()


class _FileReader:
    """Goes through one file's lines."""

    def __init__(self, path: Path, name: str, text: str, state: _State, depth: int) -> None:
        self._path = path
        self._state = state
        self._depth = depth
        self._tokens = tokenize(text, name)
        self._lines = text.split("\n")
        self._branches: list[_Branch] = []
        self._run: list[Token] = []
        self._output: list[Token] = []

    def run(self) -> tuple[list[Token], str]:
        index = 0
        while index < len(self._tokens):
            token = self._tokens[index]
            if token.text == "#" and token.first:
                end = index + 1
                while end < len(self._tokens) and not self._tokens[end].first:
                    end += 1
                self._directive(token, self._tokens[index + 1 : end])
                index = end
            else:
                if self._active():
                    self._run.append(token)
                index += 1
        if self._branches:
            raise self._branches[-1].place.error("this conditional is never closed by #endif")
        self._flush()
        return self._output, "\n".join(self._lines)

    def _active(self) -> bool:
        return not self._branches or self._branches[-1].active

    def _flush(self) -> None:
        self._output.extend(expand(self._run, self._state.macros))
        self._run = []

    def _directive(self, place: Token, tokens: list[Token]) -> None:
        if not tokens:
            return
        name, rest = tokens[0], tokens[1:]
        if name.text in ("if", "ifdef", "ifndef", "elif", "else", "endif"):
            self._flush()
            self._conditional(name, rest)
        elif name.text == "include":
            self._flush()
            self._include(place, rest)
        elif not self._active():
            return
        elif name.text == "define":
            self._flush()
            macro = parse_define(rest, name)
            self._state.macros[macro.name] = macro
        elif name.text == "undef":
            self._flush()
            self._state.macros.pop(rest[0].text if rest else "", None)
        elif name.text == "pragma":
            self._pragma(name, rest)
        elif name.text == "error":
            raise name.error("#error " + " ".join(t.text for t in rest))
        elif name.text not in ("warning", "line"):
            raise name.error(f"unknown directive #{name.text}")

    def _pragma(self, name: Token, rest: list[Token]) -> None:
        if rest and rest[0].text == "once":
            self._state.once.add(self._path.resolve())
            self._lines[name.line - 1] = ""
        elif self._active() and (wanted := unrolling([t.text for t in rest])):
            place = replace(name, space=True)
            pieces = (("_Pragma", IDENTIFIER), ("(", PUNCTUATION), (f'"{wanted}"', STRING), (")", PUNCTUATION))
            self._run += [place.renamed(text, kind) for text, kind in pieces]

    def _conditional(self, name: Token, rest: list[Token]) -> None:
        kind = name.text
        if kind in ("if", "ifdef", "ifndef"):
            parent = self._active()
            chosen = parent and self._condition(kind, name, rest)
            self._branches.append(_Branch(name, chosen, chosen, parent))
            return
        if not self._branches:
            raise name.error(f"#{kind} without #if")
        branch = self._branches[-1]
        if kind == "endif":
            self._branches.pop()
            return
        if branch.in_else:
            raise name.error(f"#{kind} after #else")
        branch.in_else = kind == "else"
        open_part = branch.parent_active and not branch.taken
        branch.active = open_part and (kind == "else" or self._condition("if", name, rest))
        branch.taken = branch.taken or branch.active

    def _condition(self, kind: str, place: Token, tokens: list[Token]) -> bool:
        macros = self._state.macros
        if kind in ("ifdef", "ifndef"):
            if not tokens or tokens[0].kind != IDENTIFIER:
                raise place.error(f"#{kind} needs a name")
            return (tokens[0].text in macros) == (kind == "ifdef")
        if not tokens:
            raise place.error("#if needs a condition")
        return evaluate(expand(self._resolve_defined(tokens), macros), place, lambda _: 0, self._call) != 0

    def _resolve_defined(self, tokens: list[Token]) -> list[Token]:
        """Replaces `defined X`, `defined(X)` and `__has_include(...)` before macros are expanded."""
        output: list[Token] = []
        index = 0
        while index < len(tokens):
            token = tokens[index]
            if token.text == "__has_include":
                end = next((i for i in range(index, len(tokens)) if tokens[i].text == ")"), len(tokens) - 1)
                system = index + 2 < len(tokens) and tokens[index + 2].text == "<"
                output.append(token.renamed("1" if system else "0", NUMBER))
                index = end + 1
            elif token.text == "defined":
                step = 3 if index + 1 < len(tokens) and tokens[index + 1].text == "(" else 1
                position = index + (2 if step == 3 else 1)
                if position >= len(tokens) or tokens[position].kind != IDENTIFIER:
                    raise token.error("'defined' needs a name")
                known = tokens[position].text in self._state.macros
                output.append(token.renamed(str(int(known)), NUMBER))
                index += step + 1
            else:
                output.append(token)
                index += 1
        return output

    @staticmethod
    def _call(name: str, _arguments: Sequence[Token], place: Token) -> int:
        if name.startswith("__has_"):
            return 0
        raise place.error(f"'{name}' is not a function-like macro")

    def _include(self, place: Token, rest: list[Token]) -> None:
        if not self._active():
            if rest and rest[0].kind == STRING:
                self._lines[place.line - 1] = ""
            return
        if rest and rest[0].kind == IDENTIFIER:
            rest = expand(rest, self._state.macros)
        if rest and rest[0].text == "<":
            name = "".join(token.text for token in rest[1:] if token.text != ">")
            if name.startswith(_UNSUPPORTED_PREFIXES):
                raise place.error(f"<{name}> is not supported")
            local = None if name.startswith(_SYSTEM_PREFIXES) else self._find(name, quoted=False)
            if local is None:
                return
        elif rest and rest[0].kind == STRING:
            name = rest[0].text[1:-1]
            local = self._find(name, quoted=True)
            if local is None:
                raise place.error(f"'{name}' is found neither beside this file nor in any -I directory")
        else:
            raise place.error('#include needs "file" or <file>')
        self._lines[place.line - 1] = self._read_include(place, local)

    def _read_include(self, place: Token, path: Path) -> str:
        if path.resolve() in self._state.once:
            return ""
        if self._depth >= _MAX_INCLUDE_DEPTH:
            raise place.error(f"includes are nested deeper than {_MAX_INCLUDE_DEPTH}")
        tokens, source = _read_file(path, str(path), self._state, self._depth + 1)
        self._output.extend(tokens)
        return source

    def _find(self, name: str, quoted: bool) -> Path | None:
        directories = [self._path.parent, *self._state.include_directories]
        for directory in directories if quoted else directories[1:]:
            if (directory / name).is_file():
                return directory / name
        return None
