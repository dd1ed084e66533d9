"""Each hostile file, through the command line in a process: one error of its own, its exit code, little memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hostile_files import CASES, RUN

MEMORY_NBYTES = 1 << 30  # what a process may allocate; importing everything takes about a third of it
TIMEOUT_SECONDS = 60  # a second or so on an idle machine


def limit_memory() -> None:
    if "FASTGO_TEST_SANITIZE" in os.environ:
        return  # a sanitizer reserves terabytes of addresses
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_NBYTES, MEMORY_NBYTES))


@pytest.mark.parametrize("name", CASES)
def test_one_error_of_its_own(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    if case.command == RUN and find_spec("fastgo._fastmetal") is None:
        pytest.skip("the native part is not built")
    path = case.make(tmp_path)
    arguments = case.command.replace("{}", str(path)).split()
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "FASTGO_CACHE_DIR": str(tmp_path / "cache"),
        "OPENBLAS_NUM_THREADS": "1",
    }
    process = subprocess.run(
        [sys.executable, "-m", "fastgo", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        stdin=subprocess.DEVNULL,
        preexec_fn=limit_memory,
    )
    lines = process.stderr.splitlines()
    assert process.returncode == case.code, process.stderr
    assert not process.stdout
    assert len(lines) == 2 and lines[0].startswith("fastgo: error: ") and lines[1].startswith("hint: "), process.stderr
    assert case.message in lines[0] and len(lines[0]) < 1000


def test_nothing_hostile_is_left_in_the_cache(tmp_path: Path) -> None:
    """A refused import leaves no folder that a later start could take for a model."""
    from fastgo.assets import cache
    from fastgo.assets.repository import open_model
    from fastgo.errors import FastgoError

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTGO_CACHE_DIR", str(tmp_path / "cache"))
        for name in ("gguf: a weight missing", "gguf: token id outside the vocabulary", "tokenizer: JSON bomb"):
            folder = tmp_path / name.replace(" ", "-").replace(":", "")
            folder.mkdir()
            with pytest.raises(FastgoError):
                open_model(CASES[name].make(folder))
        assert cache.entries() == []
