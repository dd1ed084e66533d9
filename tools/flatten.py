"""Makes one text of a header and all it includes from its own tree, as a C++ file that holds it as a string.

    python tools/flatten.py HEADER NAMESPACE::NAME [-o OUT] [--text] [--depfile PATH]

Each file comes once, where it is first included. Includes of anything else vanish: whoever compiles the text has
neither a C++ library nor this project's folders. `--text` writes the text itself. Exit status: 0 done, 1 a file can't
be read.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from mslc_lib.emit_table import raw_string

_INCLUDE = re.compile(r'\s*#\s*include\s*(?:"([^"]+)"|<[^>]+>)')


def flatten(header: Path) -> tuple[str, list[Path]]:
    """The text and the files that were read, the header first."""
    files: list[Path] = []
    lines = _lines(header.resolve(), header.resolve().parent.parent, files)
    return "\n".join(lines) + "\n", files


def _lines(path: Path, root: Path, files: list[Path]) -> list[str]:
    files.append(path)
    output: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        include = _INCLUDE.match(line)
        if include is None:
            if line.strip() != "#pragma once":
                output.append(line)
            continue
        found = (path.parent / include[1]).resolve() if include[1] else None
        if found is not None and root in found.parents and found.exists() and found not in files:
            output += _lines(found, root, files)
    return output


def _as_source(name: str, text: str) -> str:
    namespace, _, variable = name.rpartition("::")
    return (
        "// Written by tools/flatten.py. Do not edit.\n"
        f"namespace {namespace} {{\n\nextern const char {variable}[];\n"
        f"const char {variable}[] =\n{raw_string(text)};\n\n"
        f"}}  // namespace {namespace}\n"
    )


def main(argv: list[str]) -> int:
    """Runs the tool; returns the exit status."""
    parser = argparse.ArgumentParser(prog="flatten", description="Make one text of a header and what it includes.")
    parser.add_argument("header", type=Path)
    parser.add_argument("name", help="C++ name of the string, e.g. softmetal::cuda::metal_stdlib")
    parser.add_argument("-o", dest="output", type=Path, required=True)
    parser.add_argument("--text", action="store_true", help="write the text itself, not a C++ file")
    parser.add_argument("--depfile", type=Path, metavar="PATH")
    options = parser.parse_args(argv)
    try:
        text, files = flatten(options.header)
        options.output.write_text(text if options.text else _as_source(options.name, text), encoding="utf-8")
        if options.depfile is not None:
            options.depfile.write_text(f"{options.output}: {' '.join(map(str, files))}\n", encoding="utf-8")
    except OSError as error:
        print(f"flatten: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
