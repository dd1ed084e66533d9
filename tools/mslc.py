"""Command line of mslc, the translator of Metal Shading Language files. See docs/mslc.md.

Exit status: 0 done, 1 a shader that is not accepted (one line FILE:LINE: error: ... on stderr), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from mslc_lib.emit_cpp import emit_cpp
from mslc_lib.emit_cuda import emit_cuda, emit_cuda_table
from mslc_lib.emit_reflect import emit_reflect
from mslc_lib.emit_table import emit_table
from mslc_lib.errors import MslError
from mslc_lib.parser import parse
from mslc_lib.preprocessor import Preprocessed, preprocess
from mslc_lib.reflect import analyse


def _define(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name.isidentifier():
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME or NAME=VALUE")
    return name, value if "=" in text else "1"


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mslc", description="Translate a Metal Shading Language file.")
    parser.add_argument("file", type=Path, metavar="FILE.metal")
    parser.add_argument("--emit", required=True, choices=("reflect", "table", "source", "cpp", "cuda", "cuda-table"))
    parser.add_argument("-o", dest="output", type=Path, required=True, metavar="OUT")
    parser.add_argument("-I", dest="include", type=Path, action="append", default=[], metavar="DIR")
    parser.add_argument("-D", dest="define", type=_define, action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--depfile", type=Path, metavar="PATH", help="write a Makefile rule with the files read")
    return parser.parse_args(argv)


def _translate(options: argparse.Namespace, text: Preprocessed) -> str:
    stem = re.sub(r"\W|^(?=\d)", "_", options.file.stem)
    if options.emit == "source":
        return text.source
    module = analyse(parse(text.tokens))
    if options.emit == "reflect":
        return emit_reflect(module)
    if options.emit == "table":
        return emit_table(module, stem, text.source)
    if options.emit == "cuda":
        return emit_cuda(module, stem)
    if options.emit == "cuda-table":
        return emit_cuda_table(module, stem)
    return emit_cpp(module, stem, str(options.output))


def _depfile(options: argparse.Namespace, text: Preprocessed) -> str:
    names = [str(path).replace(" ", "\\ ") for path in [options.output, *text.files]]
    return f"{names[0]}: {' '.join(names[1:])}\n"


def main(argv: list[str]) -> int:
    """Runs mslc; returns the exit status."""
    options = _arguments(argv)
    try:
        targets = [("__SOFTMETAL_CUDA__", "1")] if options.emit in ("cuda", "cuda-table") else []
        text = preprocess(options.file, options.include, [*options.define, *targets])
        options.output.write_text(_translate(options, text), encoding="utf-8")
        if options.depfile is not None:
            options.depfile.write_text(_depfile(options, text), encoding="utf-8")
    except MslError as error:
        print(error, file=sys.stderr)
        return 1
    except (IndexError, KeyError, ValueError, RecursionError) as error:
        # A last resort: whatever the shader holds, its user gets one line.
        print(f"{options.file}:1: error: this file is not understood ({type(error).__name__})", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"mslc: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
