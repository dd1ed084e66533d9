"""Writes CUDA C++ for NVRTC: the shader's declarations and one entry point a kernel, chosen by a macro.

Everything of the shader lies in a namespace within namespace metal, so that Metal's functions hide CUDA's of the same
name. Function constants are constant expressions from macros SOFTMETAL_CONSTANT_<index> = defined, low, high: whether a
value was given, and its 16 bytes as two integers.
"""

from __future__ import annotations

import re

from .cuda_kernels import entry_point
from .emit_cpp import CppEmitter
from .emit_table import raw_string
from .reflect import Module
from .rewrite import DEFINED_PREFIX, rewrite, synthetic
from .syntax import Declaration, Function, Variable
from .threadgroup_memory import shared_declarations

_PROLOGUE = """\
// Written by mslc from {stem}.metal. Do not edit.
#include <metal_stdlib>
"""
# No unnamed namespace: the entry point in it would have no name that the driver can find.
_OPEN = "namespace metal {\nnamespace softmetal_shader {"
_CLOSE = "}\n}"
_LINE = re.compile(r'^(#line \d+ )".*?([^/"]+)"$', re.MULTILINE)


def emit_cuda(module: Module, stem: str) -> str:
    """The text for NVRTC."""
    text = _CudaEmitter(module, stem, f"{stem}.cu").run()
    return _LINE.sub(r'\1"\2"', text)


def emit_cuda_table(module: Module, stem: str) -> str:
    """The C++ file that defines `translated_<stem>`."""
    return (
        f"// Written by mslc from {stem}.metal. Do not edit.\n"
        '#include "softmetal/cuda/shader_registry.h"\n\n'
        f"namespace {{\n\nconst char text[] =\n{raw_string(emit_cuda(module, stem))};\n\n}}  // namespace\n\n"
        f"extern const fastgo::ShaderFile shader_{stem};\n"
        f"extern const softmetal::cuda::TranslatedShader translated_{stem};\n"
        f"const softmetal::cuda::TranslatedShader translated_{stem} = {{&shader_{stem}, text}};\n"
    )


class _CudaEmitter(CppEmitter):
    open_text = _OPEN
    close_text = _CLOSE
    library_text = "namespace metal {\nusing namespace softmetal_shader;"
    visible_text = "using namespace softmetal_shader;"
    inline_text = "__forceinline__"

    def run(self) -> str:
        self._printer.text(_PROLOGUE.format(stem=self._stem))
        self._printer.text(self.open_text)
        self._standard_overloads()
        self._scope(self._module.declarations)
        self._printer.text(self.close_text)
        return self._printer.result()

    def _kernel_function(self, function: Function) -> None:
        body = shared_declarations(function) if function.body >= 0 else []
        self._kernel_text(function, body)

    def _variable(self, variable: Variable) -> None:
        constant = self._constants.get(id(variable.place))
        texts = {t.text for t in variable.tokens}
        if constant is None:
            if "constant" in texts and not variable.extents and "constexpr" not in texts:
                self._printer.tokens([synthetic("constexpr", variable.place)])
            elif "constant" in texts and variable.extents:
                self._printer.tokens([synthetic("__constant__", variable.place)])
            self._print(variable.tokens)
            return
        if variable.extents or variable.others:
            raise variable.place.error("a function constant must be one scalar or vector")
        type_ = [t for t in variable.type if t.text not in ("constant", "const", "constexpr", "static")]
        place, name = variable.place, variable.name
        macro = f"SOFTMETAL_CONSTANT_{constant.index}"
        spelling = rewrite(type_, self._fields)
        self._printer.tokens([synthetic("constexpr", place), *spelling, synthetic(f"{name} =", place)])
        self._printer.tokens([synthetic("::metal::cuda::Constant<", place), *spelling])
        self._printer.tokens([synthetic(f">::value({macro});", place)])
        self._printer.text(f"constexpr bool {DEFINED_PREFIX}{name} = ::metal::cuda::is_defined({macro});")

    def _run_function(self, declaration: Declaration) -> None:
        entry = self._by_place.get(id(declaration.place))
        if entry is not None:
            number, kernel = entry
            self._printer.text(entry_point(kernel, number, self._fields))
