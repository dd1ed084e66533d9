"""Decides which undefined symbols of the linked extension are legitimate.

The frameworks' and libobjc's names are reviewed lists (stubs/**/*.tbd), libSystem's is zig's, and CPython exports the
rest. A name in none of them is a typo, or an API of a library that the extension must not use.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from macos.macho import UndefinedSymbol


def unknown_symbols(symbols: Iterable[UndefinedSymbol]) -> list[str]:
    """Names that neither a declared library nor CPython provides, without C's leading underscore."""
    return [symbol.name[1:] for symbol in symbols if symbol.library is None and not _is_cpython_export(symbol.name[1:])]


def _is_cpython_export(name: str) -> bool:
    """Asks the running interpreter: its exported C API is the same on every platform but for a few names."""
    return name.startswith(("Py", "_Py")) and hasattr(ctypes.pythonapi, name)
