"""Writes C++17 for the CPU driver: the shader's declarations, one run function a kernel, and the table of them.

Everything of the shader lies in an unnamed namespace, since two files may give one name to different things; only what
a shader adds to namespace metal itself stays outside.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import threadgroup_memory
from .conditionals import with_common_arms, with_filled_arrays
from .cpp_kernels import run_function, signature_name
from .lexer import IDENTIFIER, Token
from .overloads import functions_of_one_float, members_for_cpp, without_address_space_twins
from .parts import after_template
from .printer import Printer
from .reflect import Constant, Kernel, Module
from .rewrite import DEFINED_PREFIX, rewrite, swizzle_fields, synthetic
from .standard_names import LIBRARY_TEMPLATES, STANDARD_FUNCTIONS
from .syntax import Declaration, Function, Instantiation, Namespace, TypeDefinition, Variable

_PROLOGUE = """\
// Written by mslc from {stem}.metal. Do not edit.
#include <metal_stdlib>

#include "softmetal/cpu/kernel_runtime.h"
#undef linux
#undef unix
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-variable"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wparentheses"
#if defined(__clang__)
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wunused-const-variable"
#pragma GCC diagnostic ignored "-Wunneeded-internal-declaration"
#pragma GCC diagnostic ignored "-Wunevaluated-expression"
#else
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wunused-local-typedefs"
#pragma GCC diagnostic ignored "-Wunused-but-set-parameter"
#pragma GCC diagnostic ignored "-Wint-in-bool-context"
#pragma GCC diagnostic ignored "-Wbool-compare"
#endif
"""
_OPEN = "namespace {"
_CLOSE = "}  // namespace"
_NO_KERNELS = "nullptr"


def emit_cpp(module: Module, stem: str, output_name: str) -> str:
    """The C++ file that defines `compiled_<stem>`."""
    return CppEmitter(module, stem, output_name).run()


class CppEmitter:
    """Prints one shader's declarations; emit_cuda prints them differently where a GPU needs it."""

    open_text = _OPEN
    close_text = _CLOSE
    library_text = "namespace metal {"
    visible_text = ""  # what makes the shader's names known in its additions to namespace metal
    inline_text = "inline __attribute__((always_inline))"

    def __init__(self, module: Module, stem: str, output_name: str) -> None:
        self._module = module
        self._stem = stem
        self._printer = Printer(output_name)
        self._fields = swizzle_fields(module.declarations)
        self._constants = {id(c.place): c for c in module.constants}
        self._by_place = self._kernels_by_place()
        self._layouts: dict[int, str] = {}
        self._zeroed: set[str] = set()
        self._loads: list[tuple[str, Constant | None]] = []
        self._runs: dict[str, str] = {}
        self._path: list[str] = []
        self._constant_names = {c.name for c in module.constants}

    def _is_derived(self, name: str) -> bool:
        return not self._constant_names.isdisjoint(self._module.graph.reachable([name]) - {name})

    def _kernels_by_place(self) -> dict[int, tuple[int, Kernel]]:
        """Kernels by the identity of the declaration's first token."""
        found: dict[int, tuple[int, Kernel]] = {}
        remaining = {kernel.host_name: (n, kernel) for n, kernel in enumerate(self._module.kernels)}
        for number, kernel in remaining.values():
            if kernel.arguments_of_template is None:
                found[id(kernel.function.place)] = (number, kernel)
        for number, kernel in remaining.values():
            if kernel.instantiation is not None:
                found[id(kernel.instantiation.place)] = (number, kernel)
        return found

    def run(self) -> str:
        printer = self._printer
        printer.text(_PROLOGUE.format(stem=self._stem))
        printer.text(self.open_text)
        self._standard_overloads()
        if self._module.constants:
            printer.text("void softmetal_load_constants(const ::softmetal::cpu::Launch& launch);")
        self._scope(self._module.declarations)
        self._load_function()
        printer.text(self.close_text)
        self._table()
        return printer.result()

    def _standard_overloads(self) -> None:
        """Brings the library functions that the shader mentions into the unnamed namespace.

        The shader's own overloads would hide them otherwise, and C's functions of the same names are hidden by them.
        """
        declarations = self._module.declarations
        if not any([t.text for t in d.tokens[:3]] == ["using", "namespace", "metal"] for d in declarations):
            return
        mentioned = {t.text for d in declarations for t in d.tokens if t.kind == IDENTIFIER}
        other = {d.name for d in declarations if not isinstance(d, Function)}
        names = sorted((mentioned & STANDARD_FUNCTIONS) - other)
        self._printer.text("\n".join(f"using ::metal::{name};" for name in names))

    def _scope(self, declarations: Sequence[Declaration]) -> None:
        kept = without_address_space_twins(declarations)
        promoted = functions_of_one_float(kept)
        for declaration in kept:
            self._declaration(declaration)
            if id(declaration) in promoted:
                self._printer.text(promoted[id(declaration)])

    def _declaration(self, declaration: Declaration) -> None:
        if isinstance(declaration, Namespace):
            self._namespace(declaration)
        elif isinstance(declaration, Instantiation):
            self._run_function(declaration)
        elif isinstance(declaration, Function):
            self._function(declaration)
            self._run_function(declaration)
        elif isinstance(declaration, TypeDefinition):
            self._type(declaration)
        elif isinstance(declaration, Variable):
            self._variable(declaration)
        else:
            self._print(declaration.tokens)

    def _print(self, tokens: Sequence[Token]) -> None:
        self._printer.tokens(rewrite(tokens, self._fields))

    def _print_function(self, function: Function) -> None:
        """Prints a function, whose body may hold what C++ spells differently."""
        split = function.body if function.body >= 0 else len(function.tokens)
        self._print(function.tokens[:split])
        self._print_body(function.tokens[split:])

    def _print_body(self, body: Sequence[Token]) -> None:
        self._print(with_filled_arrays(with_common_arms(body)))

    def _namespace(self, declaration: Namespace) -> None:
        is_metal = not self._path and declaration.name in ("metal", "std")
        if is_metal:
            self._printer.text(self.close_text)
        self._print(declaration.head)
        if is_metal and self.visible_text:
            self._printer.text(self.visible_text)
        if declaration.name:
            names = [t.text for t in declaration.head if t.kind == "id" and t.text not in ("namespace", "inline")]
            self._path += names
        self._scope(declaration.members)
        if declaration.name:
            del self._path[len(self._path) - len(names) :]
        self._printer.tokens([declaration.tokens[-1]])
        if is_metal:
            self._printer.text(self.open_text)

    def _library_specialisation(self, declaration: TypeDefinition) -> bool:
        """Prints a specialisation of one of the library's own templates where C++ wants it, in namespace metal."""
        if declaration.name not in LIBRARY_TEMPLATES or declaration.template is None or self._path:
            return False
        self._printer.text(self.close_text)
        self._printer.text(self.library_text)
        self._print(declaration.tokens)
        self._printer.text("}")
        self._printer.text(self.open_text)
        return True

    def _type(self, declaration: TypeDefinition) -> None:
        if self._library_specialisation(declaration):
            return
        if declaration.keyword == "enum":
            self._print(declaration.tokens)
            return
        self._print(declaration.tokens[: declaration.body_start])
        is_unnamed = declaration.name == "" and declaration.tokens[declaration.body_end + 1].text == ";"
        for member in members_for_cpp(declaration):
            if isinstance(member, TypeDefinition):
                self._type(member)
            elif isinstance(member, Variable):
                self._member_variable(member, is_unnamed and declaration.keyword == "struct")
            elif isinstance(member, Function):
                self._print_function(member)
            else:
                self._print(member.tokens)
        self._print(declaration.tokens[declaration.body_end :])

    def _member_variable(self, variable: Variable, in_unnamed: bool) -> None:
        """A `static constant` member has its value in the class, which C++ allows for constexpr ones only.

        A struct without a name can't hold classes with constructors: half and bfloat become plain there.
        """
        texts = [t.text for t in variable.tokens]
        if in_unnamed and variable.tokens[: len(variable.type)] == variable.type:
            place = variable.place
            self._printer.tokens([synthetic("::metal::cpu::plain<", place), *rewrite(variable.type, self._fields)])
            self._printer.tokens([synthetic(">", place), *rewrite(variable.tokens[len(variable.type) :], self._fields)])
            return
        if "constant" in texts and "static" in texts and "constexpr" not in texts and variable.initializer:
            self._printer.tokens([synthetic("constexpr", variable.place)])
        self._print(variable.tokens)

    def _function(self, function: Function) -> None:
        if function.is_kernel:
            self._kernel_function(function)
        else:
            self._check_plain(function)
            self._print_function(function)

    def _kernel_function(self, function: Function) -> None:
        body: list[Token] = []
        if function.body >= 0:
            number = len(self._layouts)
            variables = threadgroup_memory.extract(function, number, self._fields)
            self._layouts[id(function)] = variables.layout_name
            if variables.is_zeroed:
                self._zeroed.add(variables.layout_name)
            if variables.layout:
                self._printer.text(variables.layout)
            body = variables.body
        self._kernel_text(function, body)

    def _kernel_text(self, function: Function, body: Sequence[Token]) -> None:
        tokens = function.tokens
        start = after_template(function)
        self._print(tokens[:start])
        head = [t for t in tokens[start : function.body if function.body >= 0 else None] if t.text != "inline"]
        self._printer.tokens([synthetic(self.inline_text, tokens[start])])
        self._print(head)
        self._print_body(body)
        signature = signature_name(function)
        if signature != function.name:
            self._print([t.renamed(signature) if t.text == function.name else t for t in head])
            self._printer.text(";")

    @staticmethod
    def _check_plain(function: Function) -> None:
        if function.body >= 0:
            declared = threadgroup_memory.first_declaration(function)
            if declared is not None:
                raise declared.error("a threadgroup variable can only be declared in a kernel")

    def _variable(self, variable: Variable) -> None:
        constant = self._constants.get(id(variable.place))
        is_constexpr = any(t.text == "constexpr" for t in variable.tokens)
        if constant is None and (is_constexpr or not variable.initializer or not self._is_derived(variable.name)):
            self._print(variable.tokens)
            return
        if variable.extents or variable.others:
            raise variable.place.error("a constant made from function constants must be one scalar or vector")
        number = len(self._loads)
        type_ = [t for t in variable.type if t.text not in ("constant", "const", "constexpr", "static")]
        name = variable.name
        self._printer.tokens([synthetic("thread_local", variable.place), *rewrite(type_, self._fields)])
        self._printer.tokens([synthetic(f"{name};", variable.place)])
        self._loads.append(("::".join([*self._path, f"softmetal_load_{number}"]), constant))
        if constant is not None:
            self._printer.text(
                f"thread_local bool {DEFINED_PREFIX}{name};\n"
                f"inline void softmetal_load_{number}(const ::softmetal::cpu::ConstantValue& value) {{\n"
                f"  {DEFINED_PREFIX}{name} = ::softmetal::cpu::load_constant(value, {name});\n}}"
            )
            return
        self._printer.text(f"inline void softmetal_load_{number}() {{")
        place = variable.place
        self._printer.tokens([synthetic(f"{name} = decltype({name})(", place)])
        self._print(variable.initializer)
        self._printer.tokens([synthetic(");", place)])
        self._printer.text("}")

    def _load_function(self) -> None:
        if not self._module.constants:
            return
        order = {id(c.place): n for n, c in enumerate(self._module.constants)}
        lines = ["void softmetal_load_constants(const ::softmetal::cpu::Launch& launch) {"]
        for name, constant in self._loads:
            argument = f"launch.constants[{order[id(constant.place)]}]" if constant is not None else ""
            lines.append(f"  {name}({argument});")
        self._printer.text("\n".join([*lines, "}"]))

    def _run_function(self, declaration: Declaration) -> None:
        entry = self._by_place.get(id(declaration.place))
        if entry is None:
            return
        number, kernel = entry
        layout = self._layouts.get(id(kernel.function), "")
        has_constants, is_zeroed = bool(self._module.constants), layout in self._zeroed
        self._printer.text(run_function(kernel, number, layout, is_zeroed, has_constants, self._fields))
        prefix = "".join(f"{name}::" for name in self._path)
        fibres = "true" if kernel.uses_barriers else "false"
        self._runs[kernel.host_name] = f"&{prefix}softmetal_run_{number}, {prefix}softmetal_memory_{number}, {fibres}"

    def _table(self) -> None:
        stem = self._stem
        kernels = _NO_KERNELS
        if self._module.kernels:
            kernels = "softmetal_kernels"
            rows = [f'  {{"{k.host_name}", {self._runs[k.host_name]}}},' for k in self._module.kernels]
            self._printer.text("\n".join(["static const softmetal::cpu::Kernel softmetal_kernels[] = {", *rows, "};"]))
        self._printer.text(
            f"extern const fastgo::ShaderFile shader_{stem};\n"
            f"extern const softmetal::cpu::CompiledShader compiled_{stem};\n"
            f"const softmetal::cpu::CompiledShader compiled_{stem} = {{&shader_{stem}, {kernels}}};"
        )
