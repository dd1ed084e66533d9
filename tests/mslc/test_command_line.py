"""The command line: reflection, table, inlined source, dependency file, and errors with their place."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from shader_runner import CASES, MSLC, ROOT, compile_cpp, compiler, run_mslc

sys.path.insert(0, str(MSLC.parent))
from mslc_lib.standard_names import STANDARD_FUNCTIONS

HEAD = "#include <metal_stdlib>\nusing namespace metal;\n"


def _reflect(tmp_path: Path, stem: str) -> dict[str, dict[str, Any]]:
    output = tmp_path / "out.json"
    result = run_mslc(CASES / f"{stem}.metal", "--emit", "reflect", "-o", output)
    assert result.returncode == 0, result.stderr
    return {kernel["name"]: kernel for kernel in json.loads(output.read_text())}


def test_reflection_of_a_struct(tmp_path: Path) -> None:
    kernel = _reflect(tmp_path, "language")["swizzles"]
    options = kernel["arguments"][2]
    assert (options["index"], options["type"], options["is_reference"]) == (2, "Options", True)
    assert (options["pointee_size"], options["alignment"], options["access"]) == (104, 8, "read")
    fields = {f["name"]: (f["type"], f["offset"], f["size"], f["count"]) for f in options["fields"]}
    assert fields == {
        "shift": ("float", 0, 4, 2),
        "size": ("ulong", 8, 8, 1),
        "colour": ("half3", 16, 8, 1),
        "inner.direction": ("packed_float3", 24, 12, 1),
        "inner.flag": ("uchar", 36, 1, 1),
        "many": ("Inner", 40, 16, 3),
        "mode": ("uint", 88, 4, 1),
        "data": ("device const float*", 96, 8, 1),
    }


def test_an_enum_without_a_name_hides_no_type(tmp_path: Path) -> None:
    shader, output = tmp_path / "enum.metal", tmp_path / "out.json"
    shader.write_text(
        HEAD + "struct Sizes { enum : uint { STEP = 4 }; uint first; uint second; };\n"
        "kernel void k(constant Sizes& s [[buffer(0)]], device uint* out [[buffer(1)]]) { out[0] = s.second; }\n"
    )
    result = run_mslc(shader, "--emit", "reflect", "-o", output)
    assert result.returncode == 0, result.stderr
    fields = json.loads(output.read_text())[0]["arguments"][0]["fields"]
    assert [(f["name"], f["offset"]) for f in fields] == [("first", 0), ("second", 4)]


def test_reflection_of_kernels(tmp_path: Path) -> None:
    kernels = _reflect(tmp_path, "collectives")
    half = kernels["matmul8_f16"]["arguments"]
    assert [(a["name"], a["type"], a["index"], a["access"]) for a in half] == [
        ("a", "half", 0, "read"),
        ("b", "half", 1, "read"),
        ("c", "half", 2, "read_write"),
    ]
    assert kernels["matmul8_f16"]["uses_barriers"]
    memory = kernels["reverse_twice"]["arguments"][2]
    assert (memory["kind"], memory["index"], memory["pointee_size"]) == ("threadgroup_memory", 0, 4)
    language = _reflect(tmp_path, "language")
    assert [(c["name"], c["index"], c["size"]) for c in language["constants"]["function_constants"]] == [
        ("scaled", 1, 1),
        ("factors", 2, 8),
        ("offset", 5, 4),
    ]
    assert not language["positions"]["uses_barriers"]
    assert [b["attribute"] for b in language["positions"]["builtins"]][:2] == [
        "thread_position_in_grid",
        "thread_position_in_threadgroup",
    ]


def test_source_has_local_includes_inlined(tmp_path: Path) -> None:
    output, depfile = tmp_path / "out.metal", tmp_path / "out.d"
    arguments = [CASES / "language.metal", "--emit", "source", "-o", output, "--depfile", depfile, "-D", "EXTRA=1"]
    assert run_mslc(*arguments).returncode == 0
    text = output.read_text()
    assert text.startswith("#define EXTRA 1\n")
    assert "#include <metal_stdlib>" in text
    assert "struct Options" in text
    assert '#include "' not in text
    rule = depfile.read_text()
    assert rule.startswith(f"{output}:")
    assert "language.metal" in rule
    assert "language.h" in rule


def test_table_compiles_and_holds_long_sources(tmp_path: Path) -> None:
    shader = tmp_path / "long.metal"
    shader.write_text(HEAD + '// )msl" \\\n' * 20 + "// comment\n" * 8000 + "kernel void f(device float* x) {}\n")
    renamed = shader.rename(tmp_path / "long_one.metal")
    table = tmp_path / "table.cpp"
    assert run_mslc(renamed, "--emit", "table", "-o", table).returncode == 0
    program = tmp_path / "main.cpp"
    program.write_text(
        '#include <cstdio>\n#include "shader_table.h"\nextern const fastgo::ShaderFile shader_long_one;\n'
        "int main() { std::fputs(shader_long_one.source, stdout); }\n"
    )
    objects = [tmp_path / "table.o", tmp_path / "main.o"]
    compile_cpp(table, objects[0])
    compile_cpp(program, objects[1])
    binary = tmp_path / "main"
    subprocess.run([*compiler().split(), *map(str, objects), "-o", str(binary)], check=True)
    printed = subprocess.run([str(binary)], capture_output=True, check=True).stdout
    assert printed == renamed.read_bytes()


def test_white_space_behind_a_line_splice(tmp_path: Path) -> None:
    shader, output = tmp_path / "spliced.metal", tmp_path / "spliced.json"
    shader.write_text("#define f(name) \\ \n  kernel void name(device int* x) {} // \\\t\n\nf(g)\n")
    assert run_mslc(shader, "--emit", "reflect", "-o", output).returncode == 0
    assert [kernel["name"] for kernel in json.loads(output.read_text())] == ["g"]


def test_translation_does_not_depend_on_the_run(tmp_path: Path) -> None:
    outputs = []
    for _ in range(2):
        output = tmp_path / "same.cpp"
        assert run_mslc(CASES / "collectives.metal", "--emit", "cpp", "-o", output).returncode == 0
        outputs.append(output.read_text())
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize(("stem", "name"), [("two-words", "two_words"), ("3d", "_3d")])
def test_any_file_name_gives_an_identifier(tmp_path: Path, stem: str, name: str) -> None:
    path, output = tmp_path / f"{stem}.metal", tmp_path / "out.cpp"
    path.write_text(HEAD + "kernel void f(device float* y [[buffer(0)]]) { y[0] = 1.0f; }\n")
    assert run_mslc(path, "--emit", "cpp", "-o", output).returncode == 0
    assert f" compiled_{name};" in output.read_text()


def test_known_library_names_exist(tmp_path: Path) -> None:
    source = tmp_path / "names.cpp"
    uses = "".join(f"using metal::{name};\n" for name in sorted(STANDARD_FUNCTIONS))
    source.write_text("#include <metal_stdlib>\nnamespace test {\n" + uses + "}\n")
    compile_cpp(source, tmp_path / "names.o")


ERRORS = {
    "unclosed brace": ("kernel void f(device float* x) {\n", 3, "never closed"),
    "missing include": ('#include "nowhere.h"\n', 3, "'nowhere.h' is found"),
    "unclosed conditional": ("#if 1\n", 3, "#endif"),
    "bad directive": ("#frobnicate\n", 3, "unknown directive"),
    "error directive": ("\n#error not today\n", 4, "not today"),
    "macro arguments": ("#define ADD(a, b) a + b\nconstant int x = ADD(1);\n", 4, "takes 2 arguments, found 1"),
    "no address space": ("kernel void f(\n  float* x [[buffer(0)]]) {}\n", 4, "needs the address space"),
    "value argument": ("kernel void f(float x [[buffer(0)]]) {}\n", 3, "must be a pointer or a reference"),
    "index too large": ("kernel void f(device int* x [[buffer(31)]]) {}\n", 3, "from 0 to 30"),
    "index taken": (
        "kernel void f(device int* x [[buffer(1)]],\n device int* y [[buffer(1)]]) {}\n",
        4,
        "the index 1 of 'x'",
    ),
    "builtin type": ("kernel void f(float x [[thread_position_in_grid]]) {}\n", 3, "must be a uint or ushort"),
    "vector of a scalar builtin": ("kernel void f(uint2 x [[thread_index_in_simdgroup]]) {}\n", 3, "must be a scalar"),
    "unknown attribute": ("kernel void f(device int* x [[texture(0)]]) {}\n", 3, "[[texture]]"),
    "twin kernels": ("kernel void f(device int* x) {}\nkernel void f(device float* x) {}\n", 4, "already defined"),
    "no such template": (
        'template [[host_name("x")]] kernel decltype(g<int>) g<int>;\n',
        3,
        "no kernel template 'g'",
    ),
    "constant index": (
        "constant int a [[function_constant(0)]];\nconstant int b [[function_constant(0)]];\n",
        4,
        "already taken by 'a'",
    ),
    "threads": ("[[max_total_threads_per_threadgroup(2000)]]\nkernel void f(device int* x) {}\n", 3, "from 1 to 1024"),
    "threadgroup variable": ("void f() {\n  threadgroup float x[3];\n}\n", 4, "only be declared in a kernel"),
    "initialised threadgroup variable": ("kernel void f() {\n  threadgroup int x = 1;\n}\n", 4, "set to zero"),
    "missing attribute": ("void f(int x [[a, ]]);\n", 3, "an attribute is missing"),
    "template of nothing": ("template <typename T>\n", 3, "must be followed"),
    "unsupported library": ("#include <MetalPerformancePrimitives/MetalPerformancePrimitives.h>\n", 3, "not supported"),
    "range in a list": ("void f() {\n  int x[3] = {[0 ... 1] = 2, [2] = 3};\n}\n", 4, "whole array"),
    "range that is not alone": ("void f() {\n  int x[2] = {[0 ... 1] = 2}, y;\n}\n", 4, "alone"),
    "instantiation of another type": (
        "template <typename T>\nkernel void f(device T* x) {}\n"
        'template [[host_name("g")]] kernel void f(device float& x);\n',
        5,
        "can't be told",
    ),
    "different twins": (
        "int f(device int* x) { return 1; }\nint f(threadgroup int* x) { return 2; }\n",
        4,
        "only by address space",
    ),
    "repeated swizzle": ("void f() {\n  float4 v;\n  v.xx = float2(1);\n}\n", 5, "names a component twice"),
    "double literal": ("constant float x = 1.0l;\n", 3, "no floating-point literal"),
    "fragment function": ("fragment float4 f() { return 0; }\n", 3, "fragment functions are not supported"),
    "stray character": ("constant int x = `1;\n", 3, "unexpected character"),
    "endless include": ('#include "case.metal"\n', 3, "nested deeper"),
    "not constant": ("#if 1 / 0\n#endif\n", 3, "division by zero"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_file_and_line(tmp_path: Path, case: str) -> None:
    text, line, message = ERRORS[case]
    shader = tmp_path / "case.metal"
    shader.write_text(HEAD + text)
    result = run_mslc(shader, "--emit", "cpp", "-o", tmp_path / "out.cpp")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"{shader}:{line}: error: ")
    assert message in result.stderr


def test_compiler_errors_point_into_the_shader(tmp_path: Path) -> None:
    shader, output = tmp_path / "case.metal", tmp_path / "case.cpp"
    shader.write_text(HEAD + "\n#define BROKEN(x) \\\n  undeclared + x\nvoid f() {\n  int y =\n      BROKEN(1);\n}\n")
    assert run_mslc(shader, "--emit", "cpp", "-o", output).returncode == 0
    includes = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'shaders' / 'compat'}"]
    command = [*compiler().split(), "-std=c++17", *includes, "-fsyntax-only", str(output)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert f"{shader}:8:" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["x.metal"], ["x.metal", "--emit", "spirv", "-o", "y"]])
def test_wrong_usage(arguments: list[str]) -> None:
    assert run_mslc(*arguments).returncode == 2


def test_unreadable_file(tmp_path: Path) -> None:
    result = run_mslc(tmp_path / "none.metal", "--emit", "cpp", "-o", tmp_path / "out")
    assert result.returncode == 1
    assert "none.metal:1: error: cannot be read" in result.stderr
