"""The native kernels of 64-bit ARM, and shaders whose threads meet at barriers, under QEMU; see tools/aarch64.py.

Skipped where the cross compiler, QEMU or, the first time, the network are not there. The first build takes minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import aarch64  # noqa: E402

# What the processor decides: products, attention, norms, and (moe_route, layer_norm) shaders that run as fibres.
TESTS = ("test_matmul.py", "test_attention.py", "test_exact_head.py", "test_moe.py", "test_norms_and_elementwise.py")


@pytest.fixture(scope="module")
def machine() -> tuple[aarch64.Machine, Path]:
    """The ARM Python and the package built for it."""
    if os.environ.get("FASTGO_TEST_SANITIZE"):
        pytest.skip("the ARM build has no sanitizer")
    try:
        emulated = aarch64.open_machine()
    except aarch64.NotChecked as error:
        pytest.skip(str(error))
    return emulated, emulated.build()


@pytest.mark.parametrize("name", TESTS)
def test_operations(machine: tuple[aarch64.Machine, Path], name: str) -> None:
    emulated, package = machine
    command = [emulated.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", ROOT / "tests/ops" / name, "-k", "neon"]
    done = subprocess.run(
        command, cwd=ROOT, env=emulated.environment(package), capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
