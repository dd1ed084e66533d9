"""Builds the extension with a sanitizer and runs tests against it: `python tools/sanitize.py address tests/ops`.

`address` looks for wrong use of memory and undefined behaviour, `thread` for data races. Build and package lie in
build/sanitize-KIND, apart from the usual ones. The words after the kind go to pytest; without any, the tests of
TESTS run. Exits 1 if a test fails, or if a sanitizer reported something in any process that the tests started; reports
lie in build/sanitize-KIND/reports and are printed at the end.

Memory that Python itself leaks is not looked at; Metal's validation layer reports our own objects that leak.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLAGS = {"address": "address,undefined", "thread": "thread"}
RUNTIMES = {"address": "libasan.so", "thread": "libtsan.so"}
TESTS = {
    "address": ("tests/ops", "tests/graph", "tests/engine", "tests/hostile"),
    "thread": ("tests/engine", "tests/models"),
}


def build(kind: str, folder: Path) -> Path:
    """Compiles the extension; returns a folder for PYTHONPATH, with this tree's Python files and that extension."""
    pybind11 = subprocess.check_output([sys.executable, "-m", "pybind11", "--cmakedir"], text=True).strip()
    options = {
        "Python_EXECUTABLE": sys.executable,
        "pybind11_DIR": pybind11,
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_INTERPROCEDURAL_OPTIMIZATION": "OFF",
        "CMAKE_STRIP": "/bin/true",  # reports name functions and lines
        "FASTGO_SANITIZE": FLAGS[kind],
    }
    words = [f"-D{name}={value}" for name, value in options.items()]
    subprocess.run([cmake(), "-S", ROOT, "-B", folder, *words], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([cmake(), "--build", folder, "-j", str(os.cpu_count() or 1)], check=True)
    return package(folder)


def cmake() -> str:
    """The program, of this Python's environment if it has one."""
    return shutil.which("cmake", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "cmake"


def package(folder: Path) -> Path:
    """A folder for PYTHONPATH below `folder`: this tree's Python files and the extension that was built there."""
    made = folder / "python" / "fastgo"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    for entry in (ROOT / "python" / "fastgo").iterdir():
        if entry.suffix != ".so" and entry.name != "__pycache__":
            (made / entry.name).symlink_to(entry)
    for extension in folder.glob("_fastmetal*.so"):
        (made / extension.name).symlink_to(extension)
    return made.parent


def environment(kind: str, packages: Path, reports: Path) -> dict[str, str]:
    """What the tests' processes need: the sanitizer's runtime before all else, and where it writes its reports."""
    compiler = os.environ.get("CXX", "c++")
    # libstdc++ too, or the sanitizer does not find what throws exceptions: Python itself does not bring it.
    names = (RUNTIMES[kind], "libstdc++.so.6")
    libraries = [subprocess.check_output([compiler, f"-print-file-name={name}"], text=True).strip() for name in names]
    log = f"log_path={reports / 'report'}"
    return {
        **os.environ,
        "PYTHONPATH": str(packages),
        "FASTGO_TEST_SANITIZE": FLAGS[kind],  # for tests that build programs or limit memory
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": f"{log}:detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",  # beside AddressSanitizer it knows no log_path
        "TSAN_OPTIONS": log,
        "OPENBLAS_NUM_THREADS": "1",  # NumPy's library is not instrumented: what its threads share would be reported
    }


def _has_report(path: Path) -> bool:
    return b"runtime error:" in path.read_bytes()


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in FLAGS:
        print(f"usage: python tools/sanitize.py {{{'|'.join(FLAGS)}}} [PYTEST WORDS]", file=sys.stderr)
        return 2
    kind, *words = arguments
    folder = ROOT / "build" / f"sanitize-{kind}"
    packages = build(kind, folder)
    reports = folder / "reports"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir()
    # Uncaptured, so that all reports that go to stderr are found.
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", *(words or TESTS[kind])]
    with (reports / "stderr").open("wb") as errors:
        done = subprocess.run(command, cwd=ROOT, env=environment(kind, packages, reports), stderr=errors, check=False)
    found = [path for path in sorted(reports.iterdir()) if path.name != "stderr" or _has_report(path)]
    for report in found:
        print(f"\n{report}:\n{report.read_text(encoding='utf-8', errors='replace')}")
    print(f"{kind} sanitizer: {len(found)} files with reports")
    return 1 if found or done.returncode else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
