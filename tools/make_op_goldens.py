"""Makes the goldens of the operations: for each kernel x weight format or cache type, one small case and its result.

    python tools/make_op_goldens.py [folder, by default tests/goldens/ops]

Needs no device. `<operation>.npz` holds for each case of tests/ops/golden_cases.py what the float64 reference makes of
its inputs (`case/name`, kept as float32). The inputs come from seeds: a second run writes the same arrays. Of them
only the SHA-256 is kept (`case/inputs`), which tells a changed generator from a changed kernel.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "tests"), str(ROOT / "tests" / "ops")]

from golden_cases import GoldenCase, golden_cases  # noqa: E402


def stored(case: GoldenCase) -> dict[str, Any]:
    """The arrays of one case."""
    outputs = {f"{case.name}/{name}": value.astype(np.float32) for name, value in case.expected().items()}
    return outputs | {f"{case.name}/inputs": np.frombuffer(case.digest(), np.uint8)}


def main(argv: list[str]) -> None:
    folder = Path(argv[0]) if argv else ROOT / "tests" / "goldens" / "ops"
    folder.mkdir(parents=True, exist_ok=True)
    by_op: dict[str, dict[str, Any]] = {}
    for case in golden_cases():
        by_op.setdefault(case.op, {}).update(stored(case))
    for op, arrays in by_op.items():
        np.savez_compressed(folder / f"{op}.npz", **arrays)
        print(f"{op}: {len(arrays)} arrays, {(folder / f'{op}.npz').stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
