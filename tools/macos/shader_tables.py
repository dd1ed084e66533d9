"""The generated C++ that every build links: one table a shader, and the list of them (csrc/metal/shader_list.h)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from macos.errors import CheckError

# Kernels as C++ and their list: softmetal's, not for Apple.
_CPU_ONLY = (".cpu.cpp", "_cpu.cpp")


def find(root: Path, generated: Path | None, scratch: Path) -> list[Path]:
    """Returns the sources of a build's folder, else fresh ones that tools/mslc.py writes below `scratch`.

    Raises:
        CheckError: `generated` is no folder, or a shader can't be translated.
    """
    if generated is None:
        return _generate(root, scratch)
    if not generated.is_dir():
        raise CheckError(f"--generated {generated} is no folder", "give the build's folder of generated files")
    return sorted(path for path in generated.rglob("*.cpp") if not path.name.endswith(_CPU_ONLY))


def _generate(root: Path, scratch: Path) -> list[Path]:
    translator = root / "tools" / "mslc.py"
    shaders = sorted((root / "shaders").glob("*.metal")) if translator.is_file() else []
    tables = []
    for shader in shaders:
        table = scratch / f"{shader.stem}.table.cpp"
        command = [sys.executable, str(translator), str(shader), "--emit", "table", "-o", str(table)]
        done = subprocess.run([*command, "-I", str(root / "shaders")], capture_output=True, text=True)
        if done.returncode != 0:
            reason = (done.stderr.strip() or "no message").splitlines()[-1]
            raise CheckError(f"mslc failed on {shader.name}: {reason}", "mend the shader first")
        tables.append(table)
    shader_list = scratch / "shader_list.cpp"
    shader_list.write_text(_list_source([shader.stem for shader in shaders]), encoding="utf-8")
    return [*tables, shader_list]


def _list_source(stems: Sequence[str]) -> str:
    """What CMake writes for the same purpose; an empty list still needs one element to be C++."""
    declarations = "".join(f"extern const fastgo::ShaderFile shader_{stem};\n" for stem in stems)
    entries = ", ".join(f"&shader_{stem}" for stem in stems) or "nullptr"
    return (
        f'#include "metal/shader_list.h"\n\n{declarations}\nnamespace fastgo {{\n'
        f"const ShaderFile* const shader_files[] = {{{entries}}};\n"
        f"const std::size_t shader_file_count = {len(stems)};\n}}\n"
    )
