"""What a user sees when the GPU, its driver, NVRTC or its memory fails: one clear line, a hint and the exit code; where
cuBLASLt fails the shaders go on.

A process of its own for each fault, with stand-ins for the libraries (fake_cuda.c) in the place of real ones.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fastgo.errors import DeviceError, OutOfMemoryError
from hf_builder import tensors, write_hf

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="libcuda is found by its Linux name")
SOURCE = Path(__file__).parent / "fake_cuda.c"
MAIN = "from fastgo.cli import main; main()"
# As the command line does it, for a model without a tokenizer: MODEL DEVICE CONTEXT.
GENERATE = """
import sys, fastgo
from fastgo.errors import FastgoError
try:
    with fastgo.load(sys.argv[1], device=sys.argv[2] or None, context=int(sys.argv[3])) as llm:
        print(len(list(llm.generate_ids([1, 2, 3], 12))))
except FastgoError as error:
    print(error.message, "hint: " + error.hint, sep="\\n", file=sys.stderr)
    sys.exit(error.exit_code)
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the stand-ins, and one without (`none`)."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("fake_cuda")
    for name, options in (("libcuda.so.1", ()), ("libnvrtc.so", ("-DNVRTC",)), ("libcublasLt.so", ("-DCUBLAS",))):
        subprocess.run([compiler, "-shared", "-fPIC", "-w", *options, "-o", folder / name, SOURCE], check=True)
    return folder


@pytest.fixture(scope="module")
def half_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With weights in float16: float32 products are never the library's."""
    folder = tmp_path_factory.mktemp("models") / "half"
    write_hf(folder, weights={name: values.astype(np.float16) for name, values in tensors().items()})
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "m"
    write_hf(folder, max_position_embeddings=256)
    return folder


class Machine:
    """Runs fastgo where the GPU has a fault."""

    def __init__(self, libraries: Path, cache: Path) -> None:
        self._libraries, self._cache = libraries, cache

    def run(
        self, fault: str, *arguments: str, program: str = MAIN, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("FASTGO_", "MTL_"))}
        faked = {
            "LD_LIBRARY_PATH": str(self._libraries),
            "FASTGO_NVRTC": str(self._libraries / "libnvrtc.so"),
            "FASTGO_CACHE_DIR": str(self._cache),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "FAKE_CUDA": fault,
        }
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.run(command, env={**kept, **faked, **variables}, capture_output=True, text=True, timeout=120)

    def environment(self, fault: str, **variables: str) -> tuple[list[str], list[str]]:
        """The names of the devices and the notes on those missing, as `fastgo env` tells them."""
        facts = json.loads(self.run(fault, "env", "--format", "json", **variables).stdout)
        return [device["kind"] for device in facts["devices"]], [note["text"] for note in facts["device_notes"]]


@pytest.fixture
def machine(libraries: Path, tmp_path: Path) -> Machine:
    return Machine(libraries, tmp_path)


def generate(
    machine: Machine, model: Path, fault: str, device: str, context: int = 64, **variables: str
) -> tuple[int, str]:
    """The exit code and stderr of a short generation."""
    done = machine.run(fault, str(model), device, str(context), program=GENERATE, **variables)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr


def bench(machine: Machine, model: Path, fault: str, *options: str, **variables: str) -> str:
    """What `fastgo bench` writes to stderr."""
    arguments = ("bench", "-m", str(model), "-p", "4", "-n", "2", "--repeats", "1", *options)
    done = machine.run(fault, *arguments, **variables)
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_a_sound_gpu_is_taken(machine: Machine, model: Path) -> None:
    """What the other tests rest on: without a fault the stand-in runs a whole generation."""
    assert machine.environment("") == (["cuda:0", "cpu"], [])
    code, errors = generate(machine, model, "", "cuda")
    assert code == 0, errors


@pytest.mark.parametrize(
    ("fault", "variables", "text", "is_told"),
    [
        ("no_gpu", {}, "the NVIDIA driver finds no GPU", False),
        ("old_driver", {}, "the NVIDIA driver offers CUDA 11.8; 12.0 or later is needed: update the driver", True),
        ("", {"FASTGO_NVRTC": "/nowhere/libnvrtc.so"}, "`pip install fastgo[cuda]` brings it", True),
    ],
    ids=["no_gpu", "old_driver", "no_nvrtc"],
)
def test_an_unusable_gpu(
    machine: Machine, model: Path, fault: str, variables: dict[str, str], text: str, is_told: bool
) -> None:
    """Asked for, it is an error; by default the CPU is taken, and says so if there is a GPU."""
    devices, notes = machine.environment(fault, **variables)
    assert devices == ["cpu"] and len(notes) == 1 and text in notes[0]
    code, errors = generate(machine, model, fault, "cuda", **variables)
    assert code == DeviceError.exit_code
    assert "there is no device 'cuda'; found: cpu" in errors and f"hint: {notes[0]}" in errors
    for options in ((), ("--device", "auto")):
        assert (f"running on the CPU: {notes[0]}" in bench(machine, model, fault, *options, **variables)) == is_told


def test_no_driver_at_all(machine: Machine, model: Path, tmp_path: Path) -> None:
    devices, notes = machine.environment("", LD_LIBRARY_PATH=str(tmp_path))
    if "cpu" not in devices[:1]:
        pytest.skip("this machine has an NVIDIA driver of its own")
    assert len(notes) == 1 and "no NVIDIA driver is installed" in notes[0]
    assert "running on the CPU" not in bench(machine, model, "", LD_LIBRARY_PATH=str(tmp_path))


@pytest.mark.parametrize("fault", ["small", "full"])
def test_out_of_memory_is_told_before_anything_is_loaded(machine: Machine, tmp_path: Path, fault: str) -> None:
    """`small`: the GPU has too little memory; `full`: others hold it."""
    folder = tmp_path / "m"
    write_hf(folder, max_position_embeddings=1 << 22)
    code, errors = generate(machine, folder, fault, "cuda", 1 << 22)
    assert code == OutOfMemoryError.exit_code, errors
    assert "with a context of 4194304 tokens needs" in errors
    assert "hint: the largest context that fits has" in errors


@pytest.mark.parametrize("launches", [0, 1, 5])
def test_a_gpu_lost_in_the_middle(machine: Machine, model: Path, launches: int) -> None:
    code, errors = generate(machine, model, "lost", "cuda", FAKE_CUDA_LAUNCHES=str(launches))
    assert code == DeviceError.exit_code, errors
    assert "unspecified launch failure (CUDA_ERROR_LAUNCH_FAILED)" in errors
    assert "hint: " in errors


LONG_PROMPT = """
import sys, fastgo
with fastgo.load(sys.argv[1], device="cuda", context=256) as llm:
    print(len(list(llm.generate_ids([1 + i % 90 for i in range(128)], 4))))
"""


def products_of_a_prompt(machine: Machine, model: Path, library: Path, fault: str = "", gpu: str = "") -> list[str]:
    """What cuBLASLt was asked for during a prompt of 128 tokens: "1" for each product, "0" for each that failed."""
    log = library.parent / f"products-{os.urandom(8).hex()}"
    log.touch()
    variables = {"FASTGO_CUBLAS": str(library), "FAKE_CUBLAS": fault, "FAKE_CUBLAS_LOG": str(log)}
    done = machine.run(gpu, str(model), program=LONG_PROMPT, **variables)
    assert (done.returncode, done.stdout.strip()) == (0, "4"), done.stderr
    return log.read_text().split()


def test_large_products_go_to_the_library(machine: Machine, half_model: Path, libraries: Path) -> None:
    products = products_of_a_prompt(machine, half_model, libraries / "libcublasLt.so")
    assert products and set(products) == {"1"}


@pytest.mark.parametrize(("fault", "asked"), [("no_handle", []), ("no_way", []), ("no_product", ["0"])])
def test_a_failing_library_leaves_products_to_the_shaders(
    machine: Machine, half_model: Path, libraries: Path, fault: str, asked: list[str]
) -> None:
    assert products_of_a_prompt(machine, half_model, libraries / "libcublasLt.so", fault)[:1] == asked


def test_a_gpu_without_room_for_scratch_leaves_products_to_the_shaders(
    machine: Machine, half_model: Path, libraries: Path
) -> None:
    """640 MB of memory: a sixteenth is less than cuBLASLt's workspace."""
    assert products_of_a_prompt(machine, half_model, libraries / "libcublasLt.so", gpu="small") == []


def test_a_library_that_is_none_is_named(machine: Machine, half_model: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.so"
    text.write_text("no library")
    done = machine.run("", str(half_model), program=LONG_PROMPT, FASTGO_CUBLAS=str(text))
    assert done.returncode == 0
    assert done.stderr.strip() == f"softmetal: FASTGO_CUBLAS={text} ignored: expected the file of cuBLASLt, or 0"
    facts = json.loads(machine.run("", "env", "--format", "json", FASTGO_CUBLAS="/nowhere/x.so").stdout)
    assert facts["large_products"] == "the shaders: can't open cuBLASLt, /nowhere/x.so"
