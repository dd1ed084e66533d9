"""Writes the table of csrc/shader_table.h: the source text and the reflection, as C++ that compiles everywhere."""

from __future__ import annotations

from .reflect import Argument, Kernel, Module

_CHUNK = 8000
_DELIMITER = "msl"


def raw_string(text: str) -> str:
    """A C++ string literal of any length; split, since compilers limit one raw string."""
    chunks = [text[i : i + _CHUNK] for i in range(0, len(text), _CHUNK)] or [""]
    delimiter = _DELIMITER
    while f"){delimiter}" in text:
        delimiter += "_"
    return "\n".join(f'R"{delimiter}({chunk}){delimiter}"' for chunk in chunks)


def quote(text: str) -> str:
    """A plain C++ string literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def emit_table(module: Module, stem: str, source: str) -> str:
    """The C++ file that defines `shader_<stem>`."""
    lines = [
        f"// Written by mslc from {stem}.metal. Do not edit.",
        '#include "shader_table.h"',
        "",
        "namespace {",
        "",
        *_constants(module),
    ]
    for number, kernel in enumerate(module.kernels):
        lines += _kernel_arrays(number, kernel)
    if module.kernels:
        lines.append("const fastgo::KernelReflection kernels[] = {")
        lines += [f"  {_kernel_row(number, kernel, module)}," for number, kernel in enumerate(module.kernels)]
        lines.append("};")
    lines += ["", "const char source[] =", raw_string(source) + ";", "", "}  // namespace", ""]
    kernels = "kernels" if module.kernels else "nullptr"
    lines.append(f"extern const fastgo::ShaderFile shader_{stem};")
    values = f"{quote(stem)}, source, {kernels}, {len(module.kernels)}"
    lines.append(f"const fastgo::ShaderFile shader_{stem} = {{{values}}};")
    return "\n".join(lines) + "\n"


def _constants(module: Module) -> list[str]:
    if not module.constants:
        return []
    rows = [f"  {{{quote(c.name)}, {quote(c.type)}, {c.index}, {c.size}}}," for c in module.constants]
    return ["const fastgo::ConstantReflection constants[] = {", *rows, "};", ""]


def _kernel_arrays(number: int, kernel: Kernel) -> list[str]:
    lines: list[str] = []
    for position, argument in enumerate(kernel.arguments):
        if argument.fields:
            lines.append(f"const fastgo::FieldReflection fields_{number}_{position}[] = {{")
            lines += [
                f"  {{{quote(f.name)}, {quote(f.type)}, {f.offset}, {f.size}, {f.count}}}," for f in argument.fields
            ]
            lines.append("};")
    if kernel.arguments:
        lines.append(f"const fastgo::ArgumentReflection arguments_{number}[] = {{")
        lines += [f"  {_argument_row(number, position, a)}," for position, a in enumerate(kernel.arguments)]
        lines += ["};", ""]
    if kernel.required_constants:
        positions = ", ".join(map(str, kernel.required_constants))
        lines += [f"const std::uint16_t required_{number}[] = {{{positions}}};", ""]
    return lines


def _argument_row(number: int, position: int, argument: Argument) -> str:
    fields = f"fields_{number}_{position}" if argument.fields else "nullptr"
    reference = "true" if argument.is_reference else "false"
    return (
        f"{{{quote(argument.name)}, {quote(argument.type)}, fastgo::ArgumentKind::{argument.kind}, "
        f"fastgo::Access::{argument.access}, {argument.index}, {argument.pointee_size}, {argument.alignment}, "
        f"{reference}, {fields}, {len(argument.fields)}}}"
    )


def _kernel_row(number: int, kernel: Kernel, module: Module) -> str:
    arguments = f"arguments_{number}" if kernel.arguments else "nullptr"
    constants = "constants" if module.constants else "nullptr"
    required = f"required_{number}" if kernel.required_constants else "nullptr"
    return (
        f"{{{quote(kernel.host_name)}, {arguments}, {len(kernel.arguments)}, {constants}, "
        f"{len(module.constants)}, {kernel.max_total_threads}, {required}, {len(kernel.required_constants)}}}"
    )
