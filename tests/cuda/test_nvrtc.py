"""NVRTC takes every kernel, and every shader of the translator's tests, and the driver can find them by name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nvrtc import ROOT, Nvrtc, translate

SHADERS = sorted((ROOT / "shaders").glob("*.metal"))
CASES = sorted((ROOT / "tests" / "mslc" / "cases").glob("*.metal"))


@pytest.fixture(scope="module")
def nvrtc() -> Nvrtc:
    try:
        return Nvrtc()
    except OSError as error:
        pytest.skip(f"NVRTC is not installed (fastgo[cuda]): {error}")


def _kernels(shader: Path, folder: Path) -> list[dict[str, Any]]:
    output = folder / "reflection.json"
    command = [sys.executable, str(ROOT / "tools" / "mslc.py"), str(shader), "--emit", "reflect", "-o", str(output)]
    subprocess.run([*command, "-I", str(ROOT / "shaders"), "-D", "EXTRA=3"], check=True)
    kernels: list[dict[str, Any]] = json.loads(output.read_text(encoding="utf-8"))
    return kernels


def _constants(kernel: dict[str, Any]) -> list[str]:
    return [f"-DSOFTMETAL_CONSTANT_{constant['index']}=true,0x1ull,0x0ull" for constant in kernel["function_constants"]]


@pytest.mark.parametrize("shader", [*SHADERS, *CASES], ids=lambda path: path.stem)
def test_kernels_compile(nvrtc: Nvrtc, shader: Path, tmp_path: Path) -> None:
    source = translate(shader, tmp_path / "shader.cu", "-D", "EXTRA=3")
    kernels = _kernels(shader, tmp_path)
    # Formats of one kernel differ in little: the first and the last stand for the rest of a long file.
    chosen = range(len(kernels)) if len(kernels) <= 8 else (0, len(kernels) - 1)
    for number in chosen:
        options = [f"-DSOFTMETAL_KERNEL={number}", *_constants(kernels[number])]
        code, log = nvrtc.compile(source, options)
        assert code[:4] == b"\x7fELF", f"{kernels[number]['name']}: {log[:2000]}"
        assert b"\0softmetal_kernel\0" in code, f"{kernels[number]['name']} has no entry point of that name"


@pytest.mark.parametrize("architecture", ["sm_80", "sm_89", "sm_100", "sm_120"])
def test_other_architectures(nvrtc: Nvrtc, architecture: str, tmp_path: Path) -> None:
    for name in ("matmul", "attention_tile"):
        shader = ROOT / "shaders" / f"{name}.metal"
        source, kernel = translate(shader, tmp_path / "shader.cu"), _kernels(shader, tmp_path)[0]
        code, log = nvrtc.compile(source, ["-DSOFTMETAL_KERNEL=0", *_constants(kernel)], architecture)
        assert code, log


def test_errors_point_into_the_shader(nvrtc: Nvrtc, tmp_path: Path) -> None:
    shader = tmp_path / "broken.metal"
    shader.write_text(
        "#include <metal_stdlib>\nusing namespace metal;\n"
        "kernel void broken(device float* x [[buffer(0)]]) {\n  x[0] = nothing;\n}\n",
        encoding="utf-8",
    )
    code, log = nvrtc.compile(translate(shader, tmp_path / "broken.cu"), ["-DSOFTMETAL_KERNEL=0"])
    assert not code
    assert "broken.metal(4): error" in log
