"""Reads which symbols a 64-bit Mach-O file leaves undefined, and from which library each is taken.

Owns the byte layout (mach-o/loader.h, mach-o/nlist.h). Offsets and sizes are in bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from macos.errors import CheckError

_MAGIC_64 = 0xFEEDFACF
_HEADER_SIZE = 32
_LC_SYMTAB = 0x2
_LC_LOAD_DYLIB, _LC_LOAD_WEAK_DYLIB, _LC_REEXPORT_DYLIB = 0xC, 0x80000018, 0x8000001F
_N_STAB, _N_TYPE, _N_EXT = 0xE0, 0x0E, 0x01
_NLIST = struct.Struct("<IBBHQ")
_MAX_LIBRARY_ORDINAL = 0xFD


@dataclass(frozen=True)
class UndefinedSymbol:
    """A symbol that the file uses and does not define. `library` is its install name; None if it is searched for."""

    name: str
    library: str | None


def undefined_symbols(path: Path) -> list[UndefinedSymbol]:
    """Lists the undefined external symbols of a thin, little-endian, 64-bit Mach-O file, sorted by name.

    Raises:
        CheckError: the file is no such thing.
    """
    data = path.read_bytes()
    try:
        return _undefined_symbols(data)
    except (struct.error, ValueError, IndexError) as error:
        raise CheckError(f"{path} is no sound 64-bit Mach-O file: {error}", "look at the linker's command") from None


def _undefined_symbols(data: bytes) -> list[UndefinedSymbol]:
    magic, _, _, _, command_count = struct.unpack_from("<IiiII", data)
    if magic != _MAGIC_64:
        raise ValueError(f"magic {magic:#x}, expected {_MAGIC_64:#x}")
    libraries: list[str] = []
    table = (0, 0, 0, 0)
    offset = _HEADER_SIZE
    for _ in range(command_count):
        command, size = struct.unpack_from("<II", data, offset)
        if size < 8:
            raise ValueError(f"load command of {size} bytes")
        if command in (_LC_LOAD_DYLIB, _LC_LOAD_WEAK_DYLIB, _LC_REEXPORT_DYLIB):
            (name_offset,) = struct.unpack_from("<I", data, offset + 8)
            libraries.append(_text(data, offset + name_offset))
        elif command == _LC_SYMTAB:
            table = struct.unpack_from("<IIII", data, offset + 8)
        offset += size
    symbols_offset, symbol_count, strings_offset, _ = table
    found = []
    for index in range(symbol_count):
        name, kind, _, description, _ = _NLIST.unpack_from(data, symbols_offset + index * _NLIST.size)
        if kind & _N_STAB or kind & _N_TYPE or not kind & _N_EXT:
            continue
        ordinal = description >> 8
        library = libraries[ordinal - 1] if 0 < ordinal <= _MAX_LIBRARY_ORDINAL else None
        found.append(UndefinedSymbol(_text(data, strings_offset + name), library))
    return sorted(found, key=lambda symbol: symbol.name)


def _text(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode("ascii")
