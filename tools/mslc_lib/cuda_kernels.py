"""Writes the CUDA entry point of a kernel, from its reflection.

The driver passes, in this order: a pointer for each buffer argument or an offset in bytes for each argument in
threadgroup memory, in the order of the reflection, then the sizes of the launch.
"""

from __future__ import annotations

from .reflect import BUILTINS, DEFAULT_MAX_THREADS, Argument, Builtin, Kernel
from .rewrite import one_line

ENTRY = "softmetal_kernel"
SELECTOR = "SOFTMETAL_KERNEL"

_VALUES = {
    "thread_position_in_grid": "place.origin.{c} + place.position.{c}",
    "thread_position_in_threadgroup": "place.position.{c}",
    "threadgroup_position_in_grid": "place.group.{c}",
    "threads_per_grid": "launch.threads_per_grid.{c}",
    "grid_size": "launch.threads_per_grid.{c}",
    "grid_origin": "0u",
    "threadgroups_per_grid": "launch.threadgroups_per_grid.{c}",
    "threads_per_threadgroup": "place.threads.{c}",
    "dispatch_threads_per_threadgroup": "place.dispatched.{c}",
    "thread_index_in_threadgroup": "place.index",
    "thread_index_in_simdgroup": "place.index % 32u",
    "simdgroup_index_in_threadgroup": "place.index / 32u",
    "threads_per_simdgroup": "32u",
    "thread_execution_width": "32u",
    "simdgroups_per_threadgroup": "(::metal::cuda::volume(place.threads) + 31u) / 32u",
    "dispatch_simdgroups_per_threadgroup": "(::metal::cuda::volume(place.dispatched) + 31u) / 32u",
    "thread_index_in_quadgroup": "place.index % 4u",
    "quadgroup_index_in_threadgroup": "place.index / 4u",
    "quadgroups_per_threadgroup": "(::metal::cuda::volume(place.threads) + 3u) / 4u",
    "dispatch_quadgroups_per_threadgroup": "(::metal::cuda::volume(place.dispatched) + 3u) / 4u",
}
_TYPES = {"uint32_t": "uint", "uint16_t": "ushort"}


def entry_point(kernel: Kernel, number: int, fields: frozenset[str]) -> str:
    """CUDA text of the kernel's entry point, compiled if SOFTMETAL_KERNEL is its number."""
    arguments = kernel.arguments_of_template
    callee = kernel.function.name + (f"<{one_line(arguments, fields)}>" if arguments is not None else "")
    parameters = [_parameter(argument) for argument in kernel.arguments]
    parameters.append("const ::metal::cuda::LaunchSizes launch")
    values = [""] * len(kernel.function.parameters)
    for argument in kernel.arguments:
        values[argument.parameter] = _value(argument)
    for builtin in kernel.builtins:
        values[builtin.parameter] = _builtin(builtin)
    is_bounded = kernel.max_total_threads != DEFAULT_MAX_THREADS
    bounds = f"__launch_bounds__({kernel.max_total_threads}) " if is_bounded else ""
    return "\n".join(
        [
            f"#if {SELECTOR} == {number}",
            f"using softmetal_signature = decltype({callee});",
            f'extern "C" __global__ void {bounds}{ENTRY}({", ".join(parameters)}) {{',
            "  ::metal::cuda::allow_successors();",
            *([] if _waits_itself(kernel) else ["  ::metal::wait_for_inputs();"]),
            "  const ::metal::cuda::Place place(launch);",
            "  if (!place.inside) return;",
            *(_copy(argument) for argument in kernel.arguments if _is_copied(argument)),
            f"  {callee}({', '.join(values)});",
            "}",
            "#endif",
        ]
    )


def _waits_itself(kernel: Kernel) -> bool:
    """Whether the kernel's body says when it needs what earlier kernels wrote (shaders/include/early_start.h)."""
    function = kernel.function
    return any(token.text == "wait_for_inputs" for token in function.tokens[function.body :])


def _parameter(argument: Argument) -> str:
    number = argument.parameter
    if argument.kind == "threadgroup_memory":
        return f"::metal::uint a{number}"
    return f"::metal::cuda::pointer_t<{number}, softmetal_signature> a{number}"


def _is_copied(argument: Argument) -> bool:
    """Argument structs: Metal lets nobody write them meanwhile, which C++ can't know of memory behind a reference."""
    return argument.is_reference and argument.kind != "threadgroup_memory" and argument.access == "read"


def _copy(argument: Argument) -> str:
    return f"  auto c{argument.parameter} = *a{argument.parameter};"


def _value(argument: Argument) -> str:
    number = argument.parameter
    if _is_copied(argument):
        return f"c{number}"
    value = f"a{number}"
    if argument.kind == "threadgroup_memory":
        type_ = f"::metal::cuda::pointer_t<{number}, softmetal_signature>"
        value = f"reinterpret_cast<{type_}>(::metal::cuda::dynamic_memory + a{number})"
    return f"*{value}" if argument.is_reference else value


def _builtin(builtin: Builtin) -> str:
    """The builtin's value, as the scalar or vector type that the kernel declares."""
    value = _VALUES[builtin.attribute]
    name = _TYPES.get(builtin.type, builtin.type)
    if builtin.type in _TYPES or name[-1] not in "23":
        return f"static_cast<::metal::{name}>({value.format(c='x')})"
    assert BUILTINS[builtin.attribute] > 1
    components = ", ".join(f"static_cast<::metal::{name[:-1]}>({value.format(c=c)})" for c in "xyz"[: int(name[-1])])
    return f"::metal::{name}({components})"
