"""Checks that all C++ and shader sources are formatted; `--fix` formats them.

Prints the names of files that are not, and exits 1 if there are any.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("csrc", "shaders", "tests")
ENDINGS = {".cpp", ".h", ".hpp", ".metal"}
# Each of these breaks a rule of the language on purpose, one line at a time.
EXCLUDED = ROOT / "tests" / "msl_lint" / "reject"


def sources() -> list[Path]:
    """All files to check."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in ENDINGS]
    return sorted(path for path in found if EXCLUDED not in path.parents)


def main(arguments: list[str]) -> int:
    clang_format = Path(sys.executable).with_name("clang-format")
    mode = ["-i"] if arguments == ["--fix"] else ["--dry-run", "-Werror"]
    unformatted = [
        str(path.relative_to(ROOT))
        for path in sources()
        if subprocess.run([clang_format, *mode, path], stderr=subprocess.DEVNULL, check=False).returncode != 0
    ]
    if unformatted:
        print("not formatted (python tools/check_format.py --fix mends it):", *unformatted, sep="\n  ")
    return 1 if unformatted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
