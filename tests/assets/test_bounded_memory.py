"""Memory: models larger than what a process may allocate are converted, imported, exported, loaded and run by it.

The limit is the kernel's: RLIMIT_DATA counts private writable memory, mapped or allocated, touched or not. A step may
take 64 MB beyond what a process has once it has imported what it needs. A model that runs may map its weights besides,
and have stacks for its threads; what it really touched of all that is read from the process's status.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fastgo.assets.model_folder import ModelFolder
from hf_builder import tensors, write_hf

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")

FFN, LAYERS = 1 << 16, 8  # rows longer than those of any model we know
LIMIT_MB = 64
_PRELUDE = f"""
import resource, sys
from pathlib import Path
import numpy as np
import fastgo, fastgo.api
from fastgo.assets.convert import convert
from fastgo.assets.export import export_gguf
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.open_source import open_source
from fastgo.assets.recipe import Recipe
def status(name):
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith(name + ":"))
limit = status("VmData") + ({LIMIT_MB} << 20)
resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
"""
_CONVERT = """
with open_source(Path(sys.argv[1])) as source:
    convert(source, Path(sys.argv[2]), Recipe(sys.argv[3]), jobs=2)
"""
_EXPORT = "export_gguf(ModelFolder.open(sys.argv[1]), Path(sys.argv[2]))"
_RUN = """
mapped = Path(sys.argv[1], "weights-00001-of-00001.safetensors").stat().st_size
stacks, before = 32 << 20, status("RssAnon")
resource.setrlimit(resource.RLIMIT_DATA, (limit + mapped + stacks, resource.RLIM_INFINITY))
with fastgo.load(sys.argv[1], "cpu") as model:
    print(*model.generate_ids([1, 2, 3] * 10, max_tokens=3, temperature=0))
    print(model.logits([1, 2, 3]).std())
    print(status("RssAnon") - before, model.telemetry().memory_bytes)
"""


def limited(code: str, *arguments: object) -> list[str]:
    """Runs code in a process of its own under the limit; returns the words that it printed."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OPENBLAS_NUM_THREADS": "1",
        "FASTGO_THREADS": "2",
        "MTL_DEBUG_LAYER": "0",  # its bookkeeping is not what is measured
    }
    command = [sys.executable, "-c", _PRELUDE + code, *map(str, arguments)]
    process = subprocess.run(command, env=environment, timeout=120, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout.split()


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model as "hf" (200 MB in float16), and converted as "none" and "q4"."""
    folder = tmp_path_factory.mktemp("big")
    weights = {name: values.astype(np.float16) for name, values in tensors().items()}
    weights |= {
        name: np.resize(weights[name], (FFN, 64))
        for name in weights
        if name.endswith(("gate_proj.weight", "up_proj.weight"))
    }
    weights |= {name: np.resize(weights[name], (64, FFN)) for name in weights if name.endswith("down_proj.weight")}
    layer = {name.removeprefix("model.layers.0."): values for name, values in weights.items() if ".layers.0." in name}
    weights |= {f"model.layers.{index}.{name}": values for index in range(LAYERS) for name, values in layer.items()}
    write_hf(folder / "hf", weights=weights, intermediate_size=FFN, num_hidden_layers=LAYERS)
    for format in ("none", "q4"):
        limited(_CONVERT, folder / "hf", folder / format, format)
    return folder


def test_the_limit_bites() -> None:
    with pytest.raises(AssertionError, match="MemoryError"):
        limited(f"np.ones({LIMIT_MB + 16} << 20, np.uint8)")


@pytest.mark.parametrize("format", ["none", "q4"])
def test_a_large_model_runs(big: Path, format: str) -> None:
    *tokens, spread, copied, held = limited(_RUN, big / format)
    assert len(tokens) == 3 and float(spread) > 0
    assert int(copied) < LIMIT_MB << 20
    assert int(held) > ModelFolder.open(big / format).nbytes
    assert ModelFolder.open(big / "none").nbytes > 3 * LIMIT_MB << 20


def test_a_large_gguf_file(big: Path) -> None:
    limited(_EXPORT, big / "none", big / "m.gguf")
    assert (big / "m.gguf").stat().st_size > 3 * LIMIT_MB << 20
    limited(_CONVERT, big / "m.gguf", big / "again", "none")
    sums = [
        {name: entry.sha256 for name, entry in ModelFolder.open(big / of).tensors.items()} for of in ("none", "again")
    ]
    assert sums[0] == sums[1]
