"""NVRTC through ctypes, so that shaders are compiled for a GPU on machines that have none.

It is looked for where fastgo looks: FASTGO_NVRTC, the nvidia-cuda-nvrtc package, the linker's path.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastgo.engine.devices import installed_library

ROOT = Path(__file__).resolve().parents[2]
COMPAT = ROOT / "shaders" / "compat" / "metal_cuda" / "metal_stdlib.h"
# As in csrc/softmetal/cuda/pipeline.cpp.
OPTIONS = ("-std=c++20", "-default-device", "--device-int128", "-w")


class Nvrtc:
    """The library; raises OSError if there is none."""

    def __init__(self) -> None:
        path = os.environ.get("FASTGO_NVRTC") or installed_library("FASTGO_NVRTC") or "libnvrtc.so.13"
        for builtins in Path(path).parent.glob("libnvrtc-builtins.so.*"):
            ctypes.CDLL(str(builtins))
        self._library = ctypes.CDLL(str(path))
        self._stdlib = flattened_stdlib()

    def compile(self, source: str, options: Sequence[str] = (), architecture: str = "sm_90a") -> tuple[bytes, str]:
        """The machine code, empty if it does not compile, and the compiler's log."""
        call = self._library
        program = ctypes.c_void_p()
        header = (ctypes.c_char_p * 1)(self._stdlib.encode())
        header_name = (ctypes.c_char_p * 1)(b"metal_stdlib")
        assert (
            call.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"shader.cu", 1, header, header_name) == 0
        )
        words = [*OPTIONS, f"--gpu-architecture={architecture}", *options]
        result = call.nvrtcCompileProgram(program, len(words), (ctypes.c_char_p * len(words))(*map(str.encode, words)))
        log = self._take("ProgramLog", program).rstrip(b"\0").decode()
        code = b"" if result else self._take("CUBIN", program)
        call.nvrtcDestroyProgram(ctypes.byref(program))
        return code, log

    def _take(self, what: str, program: Any) -> bytes:
        size = ctypes.c_size_t()
        getattr(self._library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        content = ctypes.create_string_buffer(size.value)
        getattr(self._library, f"nvrtcGet{what}")(program, content)
        return content.raw


def flattened_stdlib() -> str:
    """The header that the driver hands to NVRTC as <metal_stdlib>."""
    command = [sys.executable, str(ROOT / "tools" / "flatten.py"), str(COMPAT), "x", "--text", "-o", "/dev/stdout"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def translate(shader: Path, output: Path, *arguments: str) -> str:
    """The shader's CUDA text."""
    command = [sys.executable, str(ROOT / "tools" / "mslc.py"), str(shader), "--emit", "cuda", "-o", str(output)]
    subprocess.run([*command, "-I", str(ROOT / "shaders"), *arguments], check=True)
    return output.read_text(encoding="utf-8")
