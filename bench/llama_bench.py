"""Finds llama.cpp's programs, or builds them once from the source that the llama-cpp-python package carries.

Owns a folder of the cache with the source, the build and its log. Nothing of llama.cpp is part of fastgo: its public
CMake project is configured and called as it is, with this machine's own instructions (GGML_NATIVE).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from fastgo.errors import CacheError, FastgoError

PACKAGE = "llama-cpp-python"
_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DGGML_NATIVE=ON",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_SERVER=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_OPENSSL=OFF",
)


@dataclass(frozen=True)
class LlamaCpp:
    """llama.cpp's programs: `bench` is llama-bench.

    `complete` continues a prompt, `batched` decodes several sequences together; each is None if it was not found.
    """

    bench: Path
    complete: Path | None
    batched: Path | None


def find_or_build(cache: Path, jobs: int) -> LlamaCpp:
    """The programs that LLAMA_BENCH names, those on the PATH, those built before, or a new build in `cache`.

    Raises CacheError when the source can't be fetched or built; it names the log.
    """
    named = os.environ.get("LLAMA_BENCH") or shutil.which("llama-bench")
    if named:
        bench = Path(named).resolve()
        if not os.access(bench, os.X_OK):
            raise FastgoError(f"LLAMA_BENCH={named} is no program", hint="give the path of llama-bench")
        return _beside(bench)
    binaries = cache / "build" / "bin"
    if not (binaries / "llama-bench").exists():
        _build(cache, jobs)
    return _beside(binaries / "llama-bench")


def _beside(bench: Path) -> LlamaCpp:
    """The programs in llama-bench's folder."""

    def first(*names: str) -> Path | None:
        return next((bench.parent / name for name in names if (bench.parent / name).exists()), None)

    # Newer versions have llama-completion; there, llama-cli only holds conversations.
    return LlamaCpp(bench, first("llama-completion", "llama-cli"), first("llama-batched-bench"))


def _build(cache: Path, jobs: int) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    print(f"building llama.cpp in {cache} (some minutes, once)", file=sys.stderr)
    source = _fetch_source(cache)
    build = cache / "build"
    _run(cache, ["cmake", "-S", str(source), "-B", str(build), *_OPTIONS])
    targets = ["--target", "llama-bench", "llama-completion", "llama-batched-bench"]
    _run(cache, ["cmake", "--build", str(build), f"-j{jobs}", *targets])


def _fetch_source(cache: Path) -> Path:
    """llama.cpp's folder inside the unpacked source package."""
    pattern = "llama_cpp_python-*.tar.gz"
    if not list(cache.glob(pattern)):
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", PACKAGE, PACKAGE, "-d", str(cache)]
        _run(cache, pip)
    archive = max(cache.glob(pattern))
    folder = cache / archive.name.removesuffix(".tar.gz") / "vendor" / "llama.cpp"
    if not folder.exists():
        with tarfile.open(archive) as package:
            package.extractall(cache, filter="data")
    return folder


def _run(cache: Path, command: list[str]) -> None:
    log = cache / "build.log"
    with log.open("ab") as output:
        try:
            code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
        except OSError as error:
            raise CacheError(
                f"can't run {command[0]}: {error.strerror}", hint="install it, or set LLAMA_BENCH"
            ) from None
    if code != 0:
        raise CacheError(
            f"`{' '.join(command[:3])} ...` ended with {code}; see {log}", hint="set LLAMA_BENCH to a built llama-bench"
        )
