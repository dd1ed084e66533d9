"""Fuzzes one reader with atheris (libFuzzer for Python); see README.md beside this file.

python tests/fuzz/fuzz.py TARGET [libFuzzer's options] [corpus folders]
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent.parent))
with atheris.instrument_imports(include=["fastgo", "jinja2", "json"]):
    import fuzz_targets


def main() -> None:
    """Runs until libFuzzer's own limits end it."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in fuzz_targets.TARGETS:
        sys.exit(f"expected a target, one of {', '.join(fuzz_targets.TARGETS)}")
    atheris.Setup(sys.argv, lambda data: fuzz_targets.run(name, data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
