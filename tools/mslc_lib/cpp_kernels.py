"""Writes the function that runs one threadgroup of a kernel, from its reflection."""

from __future__ import annotations

from .reflect import BUILTINS, Argument, Builtin, Kernel
from .rewrite import one_line
from .standard_names import STANDARD_FUNCTIONS
from .syntax import Function

_VALUES = {
    "thread_position_in_grid": "place.origin.{c} + thread.position.{c}",
    "thread_position_in_threadgroup": "thread.position.{c}",
    "threadgroup_position_in_grid": "group.position.{c}",
    "threads_per_grid": "launch.threads_per_grid.{c}",
    "grid_size": "launch.threads_per_grid.{c}",
    "grid_origin": "0u",
    "threadgroups_per_grid": "launch.threadgroups_per_grid.{c}",
    "threads_per_threadgroup": "group.threads.{c}",
    "dispatch_threads_per_threadgroup": "launch.threads_per_threadgroup.{c}",
    "thread_index_in_threadgroup": "thread.index",
    "thread_index_in_simdgroup": "thread.index % 32u",
    "simdgroup_index_in_threadgroup": "thread.index / 32u",
    "threads_per_simdgroup": "32u",
    "thread_execution_width": "32u",
    "simdgroups_per_threadgroup": "(place.threads + 31u) / 32u",
    "dispatch_simdgroups_per_threadgroup": "(place.dispatched_threads + 31u) / 32u",
    "thread_index_in_quadgroup": "thread.index % 4u",
    "quadgroup_index_in_threadgroup": "thread.index / 4u",
    "quadgroups_per_threadgroup": "(place.threads + 3u) / 4u",
    "dispatch_quadgroups_per_threadgroup": "(place.dispatched_threads + 3u) / 4u",
}
_TYPES = {"uint32_t": "uint", "uint16_t": "ushort"}


def signature_name(kernel: Function) -> str:
    """What has the kernel's type: the kernel, or a declaration made for that where the library overloads its name."""
    is_overloaded = kernel.name in STANDARD_FUNCTIONS and kernel.template is None
    return f"softmetal_signature_{kernel.name}" if is_overloaded else kernel.name


def run_function(
    kernel: Kernel, number: int, layout: str, is_zeroed: bool, has_constants: bool, fields: frozenset[str]
) -> str:
    """C++ text of `softmetal_run_<number>` and of `softmetal_memory_<number>`, its own threadgroup memory in bytes.

    `layout` names the function that places the kernel's threadgroup variables; they start as zeros if `is_zeroed`.
    """
    arguments = kernel.arguments_of_template
    template = f"<{one_line(arguments, fields)}>" if arguments is not None else ""
    callee = f"{kernel.function.name}{template}"
    memory = f"softmetal_memory_{number}"
    size = f"static_cast<std::uint32_t>({layout}{template}().size)" if layout else "0"
    lines = [
        f"constexpr std::uint32_t {memory} = {size};",
        f"void softmetal_run_{number}(const ::softmetal::cpu::Launch& launch, "
        "const ::softmetal::cpu::Threadgroup& group) {",
    ]
    if has_constants:
        lines.append("  softmetal_load_constants(launch);")
    lines.append(f"  using signature = decltype({signature_name(kernel.function)}{template});")
    lines.append("  const ::softmetal::cpu::GroupPlace place(launch, group);")
    dynamic = [a for a in kernel.arguments if a.kind == "threadgroup_memory"]
    if layout or dynamic:
        indices = ", ".join(str(a.index) for a in dynamic)
        lines.append(f"  const ::softmetal::cpu::GroupMemory<{len(dynamic)}> memory(launch, {memory}, {{{indices}}});")
    if is_zeroed:
        lines.append(f"  std::memset(::softmetal::cpu::group_memory(0), 0, {memory});")
    lines += [_argument(kernel, a, dynamic) for a in kernel.arguments]
    runner = "run_fibres" if kernel.uses_barriers else "run_loops"
    lines.append(
        f'  ::softmetal::cpu::{runner}("{kernel.host_name}", place, [&](const ::softmetal::cpu::ThreadPlace& thread) {{'
    )
    values = [""] * len(kernel.function.parameters)
    for argument in kernel.arguments:
        values[argument.parameter] = f"a{argument.parameter}"
    for builtin in kernel.builtins:
        values[builtin.parameter] = _builtin(builtin)
    lines.append(f"    {callee}({', '.join(values)});")
    lines += ["  });", "}"]
    return "\n".join(lines)


def _argument(kernel: Kernel, argument: Argument, dynamic: list[Argument]) -> str:
    number = argument.parameter
    is_guarded = kernel.function.parameters[number].attribute("function_constant") is not None
    type_ = f"::softmetal::cpu::argument_t<{number}, signature>"
    if argument.kind == "threadgroup_memory":
        source = f"memory.dynamic({dynamic.index(argument)})"
    else:
        source = f"launch.buffers[{argument.index}]"
        if is_guarded:
            source = f"::softmetal::cpu::buffer_or_zeros({source})"
    if not argument.is_reference:
        return f"  const auto a{number} = static_cast<{type_}>({source});"
    pointee = f"std::remove_reference_t<{type_}>"
    is_constant = any(t.text == "constant" for t in kernel.function.parameters[number].type)
    binding = "const auto" if is_constant and not is_guarded else "auto&"
    return f"  {binding} a{number} = *static_cast<{pointee}*>({source});"


def _builtin(builtin: Builtin) -> str:
    """The builtin's value, as the scalar or vector type that the kernel declares."""
    value = _VALUES[builtin.attribute]
    name = _TYPES.get(builtin.type, builtin.type)
    if builtin.type in _TYPES or name[-1] not in "23":
        return f"static_cast<::metal::{name}>({value.format(c='x')})"
    assert BUILTINS[builtin.attribute] > 1
    components = ", ".join(f"static_cast<::metal::{name[:-1]}>({value.format(c=c)})" for c in "xyz"[: int(name[-1])])
    return f"::metal::{name}({components})"
