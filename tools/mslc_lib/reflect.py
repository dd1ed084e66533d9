"""Reflection: what each kernel of a file takes, by host name, with sizes and offsets in bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .call_graph import CallGraph
from .deduce import deduce
from .layout import Field, Layout, TypeTable
from .lexer import Token, closing, spell, split_commas
from .parts import host_name_of
from .syntax import ADDRESS_SPACES, Declaration, Function, Instantiation, Parameter, Variable, walk

MAX_BUFFERS = 31
DEFAULT_MAX_THREADS = 1024
_INLINE_CONSTANT_SIZE = 16

BUILTINS = {
    "thread_position_in_grid": 3, "threads_per_grid": 3, "thread_position_in_threadgroup": 3,
    "threadgroup_position_in_grid": 3, "threadgroups_per_grid": 3, "threads_per_threadgroup": 3,
    "dispatch_threads_per_threadgroup": 3, "grid_origin": 3, "grid_size": 3, "thread_index_in_threadgroup": 1,
    "thread_index_in_simdgroup": 1, "simdgroup_index_in_threadgroup": 1, "threads_per_simdgroup": 1,
    "thread_execution_width": 1, "simdgroups_per_threadgroup": 1, "dispatch_simdgroups_per_threadgroup": 1,
    "thread_index_in_quadgroup": 1, "quadgroup_index_in_threadgroup": 1, "quadgroups_per_threadgroup": 1,
    "dispatch_quadgroups_per_threadgroup": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Argument:
    """A bound argument. `alignment` and `pointee_size` are 1 and 0 where the type has no known layout."""

    name: str
    type: str
    kind: str
    access: str
    index: int
    pointee_size: int
    alignment: int
    is_reference: bool
    fields: tuple[Field, ...]
    attributes: tuple[str, ...]
    parameter: int


@dataclass(frozen=True)
class Builtin:
    """A parameter that the driver fills in; `attribute` is one of BUILTINS."""

    name: str
    attribute: str
    type: str
    parameter: int


@dataclass(frozen=True)
class Constant:
    """A function constant of the file; `place` is its declaration."""

    name: str
    type: str
    index: int
    size: int
    place: Token


@dataclass(frozen=True)
class Kernel:
    """One kernel that a pipeline can be made of: a function, or an instantiation of a template."""

    host_name: str
    function: Function
    arguments_of_template: tuple[Token, ...] | None
    arguments: tuple[Argument, ...]
    builtins: tuple[Builtin, ...]
    max_total_threads: int
    uses_barriers: bool
    instantiation: Instantiation | None = None
    required_constants: tuple[int, ...] = ()  # positions in Module.constants


@dataclass(frozen=True)
class Module:
    """Everything the emitters need to know of one file."""

    declarations: Sequence[Declaration]
    types: TypeTable
    kernels: tuple[Kernel, ...]
    constants: tuple[Constant, ...]
    graph: CallGraph


def analyse(declarations: Sequence[Declaration]) -> Module:
    """Finds kernels, instantiations and function constants; raises MslError on what makes no sense."""
    types = TypeTable.of(declarations)
    graph = CallGraph.of(declarations)
    constants = _constants(declarations, types)
    optional = _optional_constants(declarations)
    functions: dict[str, list[Function]] = {}
    for declaration in walk(declarations):
        if isinstance(declaration, Function) and declaration.is_kernel and declaration.body >= 0:
            functions.setdefault(declaration.name, []).append(declaration)
    kernels: list[Kernel] = []
    seen: dict[str, Token] = {}
    for declaration in walk(declarations):
        kernel = _kernel(declaration, functions, types, graph)
        if kernel is None:
            continue
        if kernel.host_name in seen:
            raise declaration.place.error(
                f"a kernel '{kernel.host_name}' is already defined in line {seen[kernel.host_name].line}"
            )
        seen[kernel.host_name] = declaration.place
        kernels.append(replace(kernel, required_constants=_required(kernel, constants, graph, optional)))
    return Module(declarations, types, tuple(kernels), tuple(constants), graph)


def _constants(declarations: Sequence[Declaration], types: TypeTable) -> list[Constant]:
    found: list[Constant] = []
    for declaration in walk(declarations):
        if not isinstance(declaration, Variable):
            continue
        attribute = next((a for a in declaration.attributes if a.name == "function_constant"), None)
        if attribute is None:
            continue
        index = types.value(attribute.arguments)
        layout = types.layout(declaration.type)
        if index is None or index < 0:
            raise attribute.place.error("function_constant needs an index that is a constant expression")
        if layout is None or layout.fields or layout.size > _INLINE_CONSTANT_SIZE or declaration.others:
            raise attribute.place.error("a function constant must be one scalar or vector")
        previous = next((c for c in found if c.index == index), None)
        if previous is not None:
            raise attribute.place.error(f"function constant index {index} is already taken by '{previous.name}'")
        found.append(Constant(declaration.name, layout.type, index, layout.size, declaration.place))
    return found


def _optional_constants(declarations: Sequence[Declaration]) -> set[str]:
    """Names that the file asks is_function_constant_defined about: those may be left unset."""
    found = set()
    for declaration in walk(declarations):
        tokens = declaration.tokens
        for index, token in enumerate(tokens[:-2]):
            if token.text == "is_function_constant_defined":
                found.add(tokens[closing(tokens, index + 1) - 1].text)
    return found


def _required(kernel: Kernel, constants: Sequence[Constant], graph: CallGraph, optional: set[str]) -> tuple[int, ...]:
    """Positions of the constants that the kernel reaches, by names, and that must have a value."""
    names = [kernel.function.name, *(t.text for t in kernel.arguments_of_template or ())]
    reached = graph.reachable(names) - optional
    return tuple(n for n, constant in enumerate(constants) if constant.name in reached)


def _kernel(
    declaration: Declaration, functions: dict[str, list[Function]], types: TypeTable, graph: CallGraph
) -> Kernel | None:
    if isinstance(declaration, Instantiation):
        if not declaration.host_name:
            return None
        return _instantiated(declaration, functions, types, graph)
    if isinstance(declaration, Function) and declaration.is_kernel and declaration.template is None:
        if declaration.body < 0 or _is_specialisation(declaration):
            return None
        host = next((a for a in declaration.attributes if a.name == "host_name"), None)
        name = host_name_of(host) if host is not None else declaration.name
        return _build(name, declaration, None, {}, types, graph)
    return None


def _is_specialisation(function: Function) -> bool:
    return function.tokens[function.name_index + 1].text == "<"


def _instantiated(
    declaration: Instantiation, functions: dict[str, list[Function]], types: TypeTable, graph: CallGraph
) -> Kernel:
    candidates = [f for f in functions.get(declaration.name, []) if f.template is not None]
    if not candidates:
        raise declaration.place.error(f"no kernel template '{declaration.name or '?'}' is defined before this")
    arguments = split_commas(declaration.arguments)
    if not arguments and declaration.parameters is not None:
        return _deduced(declaration, candidates, functions, types, graph)
    fitting = [f for f in candidates if _fits(f, len(arguments))]
    if len(fitting) != 1:
        raise declaration.place.error(
            f"{len(fitting) or 'no'} templates '{declaration.name}' take {len(arguments)} template arguments"
        )
    function = fitting[0]
    bound: dict[str, list[Token]] = {}
    for parameter, tokens in zip(function.template or [], arguments, strict=False):
        if parameter.name and not parameter.is_pack:
            bound[parameter.name] = tokens
    for parameter in (function.template or [])[len(arguments) :]:
        assign = next((i for i, t in enumerate(parameter.tokens) if t.text == "="), None)
        if parameter.name and assign is not None:
            bound[parameter.name] = list(parameter.tokens[assign + 1 :])
    kernel = _build(declaration.host_name, function, tuple(declaration.arguments), bound, types, graph)
    return replace(kernel, instantiation=declaration)


def _deduced(
    declaration: Instantiation,
    candidates: Sequence[Function],
    functions: dict[str, list[Function]],
    types: TypeTable,
    graph: CallGraph,
) -> Kernel:
    """An instantiation that leaves the template arguments to its parameters, as C++ deduces them."""
    found = [arguments for f in candidates if (arguments := deduce(f, declaration.parameters or [])) is not None]
    if len(found) != 1:
        raise declaration.place.error(
            f"the template arguments of '{declaration.name}' can't be told from its parameters"
        )
    spelled: list[Token] = []
    for argument in found[0]:
        spelled += [declaration.place.renamed(",", "punct"), *argument] if spelled else argument
    given = replace(declaration, arguments=spelled, parameters=None)
    return replace(_instantiated(given, functions, types, graph), instantiation=declaration)


def _fits(function: Function, count: int) -> bool:
    parameters = function.template or []
    if any(p.is_pack for p in parameters):
        return count >= len(parameters) - 1
    required = sum(1 for p in parameters if not any(t.text == "=" for t in p.tokens))
    return required <= count <= len(parameters)


def _build(
    host_name: str,
    function: Function,
    template_arguments: tuple[Token, ...] | None,
    bound: dict[str, list[Token]],
    types: TypeTable,
    graph: CallGraph,
) -> Kernel:
    arguments: list[Argument] = []
    builtins: list[Builtin] = []
    taken = _explicit_indices(function, types, bound)
    for number, parameter in enumerate(function.parameters):
        builtin = _builtin(parameter, number)
        if builtin is not None:
            builtins.append(builtin)
            continue
        argument = _argument(parameter, number, bound, types, taken)
        same = next((a for a in arguments if (a.kind, a.index) == (argument.kind, argument.index)), None)
        if same is not None and not _may_share(parameter, function.parameters[same.parameter]):
            raise parameter.place.error(f"'{parameter.name}' has the index {argument.index} of '{same.name}'")
        arguments.append(argument)
    limit = next((a for a in function.attributes if a.name == "max_total_threads_per_threadgroup"), None)
    max_threads = DEFAULT_MAX_THREADS
    if limit is not None:
        value = types.value(_bind(limit.arguments, bound))
        if value is None or not 0 < value <= DEFAULT_MAX_THREADS:
            raise limit.place.error("max_total_threads_per_threadgroup needs a constant from 1 to 1024")
        max_threads = value
    names = [function.name] + [t.text for t in template_arguments or ()]
    uses_barriers = graph.uses_lockstep(names)
    return Kernel(
        host_name, function, template_arguments, tuple(arguments), tuple(builtins), max_threads, uses_barriers
    )


def _may_share(one: Parameter, other: Parameter) -> bool:
    """Two arguments may have one index if function constants choose between them."""
    return any(p.attribute("function_constant") is not None for p in (one, other))


def _builtin(parameter: Parameter, number: int) -> Builtin | None:
    for attribute in parameter.attributes:
        if attribute.name in BUILTINS:
            type_name = spell([t for t in parameter.type if t.text not in ("const", "thread", "metal", "::")])
            if type_name.rstrip("23") not in ("uint", "ushort", "uint32_t", "uint16_t"):
                raise parameter.place.error(f"[[{attribute.name}]] must be a uint or ushort, not '{type_name}'")
            if type_name[-1] in "23" and BUILTINS[attribute.name] == 1 and type_name[-2:] not in ("32", "16"):
                raise parameter.place.error(f"[[{attribute.name}]] must be a scalar, not '{type_name}'")
            return Builtin(parameter.name, attribute.name, type_name, number)
    return None


def _bind(tokens: Sequence[Token], bound: dict[str, list[Token]]) -> list[Token]:
    output: list[Token] = []
    for token in tokens:
        replacement = bound.get(token.text)
        if replacement:
            output.append(replace(replacement[0], space=token.space))
            output.extend(replacement[1:])
        else:
            output.append(token)
    return output


def _explicit_indices(function: Function, types: TypeTable, bound: dict[str, list[Token]]) -> set[int]:
    found = set()
    for parameter in function.parameters:
        attribute = parameter.attribute("buffer")
        if attribute is not None:
            found.add(_index(attribute.arguments, types, bound, parameter.place))
    return found


def _index(tokens: Sequence[Token], types: TypeTable, bound: dict[str, list[Token]], place: Token) -> int:
    index = types.value(_bind(tokens, bound))
    if index is None or not 0 <= index < MAX_BUFFERS:
        raise place.error(f"an argument index must be a constant from 0 to {MAX_BUFFERS - 1}")
    return index


def _argument(
    parameter: Parameter, number: int, bound: dict[str, list[Token]], types: TypeTable, taken: set[int]
) -> Argument:
    type_ = list(parameter.type)
    if parameter.extents and not any(t.text in ("*", "&") for t in type_):
        type_.append(parameter.place.renamed("*"))  # an array as a parameter is a pointer
    texts = [t.text for t in type_]
    last = next((i for i in range(len(texts) - 1, -1, -1) if texts[i] in ("*", "&")), None)
    attribute = next((a for a in parameter.attributes if a.name in ("buffer", "threadgroup")), None)
    unknown = [a for a in parameter.attributes if a.name not in ("buffer", "threadgroup", "function_constant")]
    if unknown:
        raise parameter.place.error(f"the attribute [[{unknown[0].name}]] of a kernel argument is not supported")
    if last is None:
        raise parameter.place.error(
            f"'{parameter.name}' must be a pointer or a reference, or have a builtin's attribute"
        )
    pointee = type_[:last]
    space = next((t.text for t in reversed(pointee) if t.text in ADDRESS_SPACES), None)
    if space in (None, "thread"):
        raise parameter.place.error(f"'{parameter.name}' needs the address space device, constant or threadgroup")
    is_memory = space == "threadgroup"
    if attribute is not None:
        if (attribute.name == "threadgroup") != is_memory:
            raise parameter.place.error(f"'{parameter.name}' in {space} memory can't be a [[{attribute.name}]]")
        index = _index(attribute.arguments, types, bound, parameter.place)
    elif is_memory:
        raise parameter.place.error(f"'{parameter.name}' needs [[threadgroup(n)]]")
    else:
        index = next((i for i in range(MAX_BUFFERS) if i not in taken), MAX_BUFFERS)
        if index == MAX_BUFFERS:
            raise parameter.place.error("a kernel takes at most 31 buffers")
        taken.add(index)
    concrete = _bind([t for t in pointee if t.text not in (*ADDRESS_SPACES, "const", "volatile")], bound)
    layout = types.layout(concrete) or Layout(spell(concrete), 0, 1)
    read_only = space == "constant" or any(t.text == "const" for t in pointee)
    return Argument(
        parameter.name,
        layout.type,
        "threadgroup_memory" if is_memory else "buffer",
        "read" if read_only and not is_memory else "read_write",
        index,
        layout.size,
        layout.alignment,
        texts[last] == "&",
        layout.fields,
        tuple(f"{a.name}({spell(a.arguments)})" for a in parameter.attributes),
        number,
    )
