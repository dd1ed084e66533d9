"""Opening devices and engines: checks of weights, memory given back, counters."""

from __future__ import annotations

import dataclasses
import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fastgo import _fastmetal
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.repository import open_model
from fastgo.engine.devices import device_errors, device_kind, open_device
from fastgo.engine.engine import Engine
from fastgo.engine.sampling import Sampling
from fastgo.engine.session import Session
from fastgo.errors import DeviceError, InvalidFileError, OutOfMemoryError

GOLDENS = Path(__file__).parent.parent / "goldens"


def test_device_by_name() -> None:
    kind = device_kind(_fastmetal.devices()[0])
    for name in (None, "auto", kind):
        assert device_kind(open_device(name).info) == kind


@pytest.mark.parametrize("name", ["no-such-device", "CPU:7", "0"])
def test_unknown_device(name: str) -> None:
    with pytest.raises(DeviceError, match="there is no device") as caught:
        open_device(name)
    assert caught.value.hint


def test_unknown_device_by_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTGO_DEVICE", "nothing")
    with pytest.raises(DeviceError, match="nothing"):
        open_device(None)


def test_native_errors_become_ours(tmp_path: Path) -> None:
    device = open_device(None)
    with pytest.raises(DeviceError, match="no kernel named"), device_errors():
        device.pipeline("no_such_kernel")
    with pytest.raises(DeviceError, match="no device number 99"), device_errors():
        _fastmetal.Device(99)
    with pytest.raises(DeviceError, match="can't open"), device_errors():
        device.map_file(str(tmp_path / "absent"))
    (tmp_path / "empty").touch()
    with pytest.raises(DeviceError, match="can't map"), device_errors():
        device.map_file(str(tmp_path / "empty"))


def test_too_large_for_the_device() -> None:
    """Without the validation layer, which takes such a length for a mistake of the program."""
    code = (
        "from fastgo.engine.devices import device_errors, open_device\n"
        "with device_errors():\n"
        "    open_device(None).buffer(1 << 50, 'far too large')\n"
    )
    environment = os.environ | {"MTL_DEBUG_LAYER": "0", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert f"{OutOfMemoryError.__module__}.{OutOfMemoryError.__name__}: no room for" in done.stderr


def without_tensor(folder: ModelFolder, name: str) -> ModelFolder:
    tensors = {key: entry for key, entry in folder.tensors.items() if key != name}
    return ModelFolder(folder.path, dataclasses.replace(folder.manifest, tensors=tensors))


def with_tensor(folder: ModelFolder, name: str, **changes: object) -> ModelFolder:
    tensors = {**folder.tensors, name: dataclasses.replace(folder.tensors[name], **changes)}  # type: ignore[arg-type]
    return ModelFolder(folder.path, dataclasses.replace(folder.manifest, tensors=tensors))


def test_damaged_models_are_refused() -> None:
    device, folder = open_device(None), open_model(GOLDENS / "gemma3.gguf")
    norm, matrix = "model.layers.3.post_feedforward_layernorm.weight", "model.layers.2.self_attn.k_proj.weight"
    with pytest.raises(InvalidFileError, match=f"{norm} is missing"):
        Engine(device, without_tensor(folder, norm))
    with pytest.raises(InvalidFileError, match=r"k_proj.weight has shape \(24, 32\), expected \(32, 24\)"):
        Engine(device, with_tensor(folder, matrix, shape=(24, 32)))
    with pytest.raises(InvalidFileError, match=f"vector {norm} is bf16, expected f32"):
        Engine(device, with_tensor(folder, norm, format="bf16"))


def test_memory_is_given_back() -> None:
    """Weights, caches, arenas and arguments; also after a generation that was left unfinished."""
    device = open_device(None)
    engine = Engine(device, open_model(GOLDENS / "qwen3.gguf"))
    assert device.telemetry["mapped_bytes" if device.info["has_unified_memory"] else "buffer_bytes"] > 100_000
    session = Session(engine)
    list(session.generate([1, 2, 3], Sampling(), 20))
    generation = session.generate([4], Sampling(), 20)
    next(generation)
    assert device.telemetry["buffer_bytes"] > session.memory_nbytes > 0
    del engine, session, generation
    gc.collect()
    assert device.telemetry["buffer_bytes"] == 0
    assert device.telemetry["mapped_bytes"] == 0


def test_counters() -> None:
    """A replayed step takes one command buffer a token, and no new pipeline."""
    device = open_device(None)
    session = Session(Engine(device, open_model(GOLDENS / "llama.gguf")))
    list(session.generate([1, 2, 3], Sampling(), 8))
    before = device.telemetry
    list(session.generate([4], Sampling(), 8))
    after = device.telemetry
    change = {name: after[name] - before[name] for name in after}
    assert change["command_buffers"] == 8
    assert change["pipeline_misses"] == 0
    assert change["dispatches"] > 8 * 3 * 8
    assert change["buffer_bytes"] == 0


def test_file_of_the_wrong_size_is_refused(tmp_path: Path) -> None:
    """What the manifest says is checked before anything is mapped."""
    folder = open_model(GOLDENS / "qwen3.gguf")
    copy = tmp_path / "model"
    copy.mkdir()
    for file in folder.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    shard = copy / folder.shard_path(0).name
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(InvalidFileError, match="bytes, expected"):
        open_model(copy)
