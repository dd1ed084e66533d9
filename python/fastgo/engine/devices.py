"""Choosing a device and opening it; native failures become fastgo.errors."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastgo import _fastmetal, switches
from fastgo.errors import DeviceError, OutOfMemoryError
from fastgo.graph.lower import CPU_DEVICE

_KIND_BY_PREFIX = {CPU_DEVICE: "cpu", "softmetal CUDA": "cuda"}
# How many cores of a GPU run threadgroups side by side; our CPU kernels divide their work by other rules.
_PARALLEL_WIDTH = {"cpu": 1, "cuda": 132, "metal": 16}
# Optional libraries of NVIDIA's packages: the switch that names their file, and where the packages have it.
_LIBRARIES = {
    "FASTGO_NVRTC": ("nvidia/cu13/lib/libnvrtc.so.13", "nvidia/cuda_nvrtc/lib/libnvrtc.so.12"),
    "FASTGO_CUBLAS": ("nvidia/cu13/lib/libcublasLt.so.13", "nvidia/cublas/lib/libcublasLt.so.12"),
}


@contextmanager
def device_errors() -> Iterator[None]:
    """Turns errors of the native half into DeviceError and OutOfMemoryError."""
    try:
        yield
    except _fastmetal.OutOfMemory as error:
        raise OutOfMemoryError(str(error), hint="use a smaller context or a smaller model") from None
    except _fastmetal.Error as error:
        raise DeviceError(str(error), hint="`fastgo env` shows the devices and their state") from None


def list_devices() -> list[dict[str, Any]]:
    """What each device is, the best first; its place in the list is its index."""
    for switch in _LIBRARIES:
        if switches.value(switch) is None and (path := installed_library(switch)) is not None:
            switches.bring(switch, str(path))
    with device_errors():
        return _fastmetal.devices()


def open_device(name: str | None = None) -> _fastmetal.Device:
    """Opens "auto" (the best device), or one by the name that `fastgo env` shows: "cuda:1", or "cuda" for the first.

    Without a name FASTGO_DEVICE decides. Raises DeviceError if there is no such device.
    """
    devices = list_devices()
    wanted = name or switches.value("FASTGO_DEVICE") or "auto"
    names = device_names(devices)
    with device_errors():
        for index, found in enumerate(names):
            if wanted in ("auto", found) or f"{wanted}:0" == found:
                return _fastmetal.Device(index)
    notes = [note["text"] for note in _fastmetal.device_notes() if note["kind"] == wanted.partition(":")[0]]
    hint = notes[0] if notes else "leave the device out to take the best one"
    raise DeviceError(f"there is no device {wanted!r}; found: {', '.join(names) or 'none'}", hint=hint)


def memory_in_use(device: _fastmetal.Device) -> int:
    """Bytes that the device holds: allocations, and mapped files with what its driver made of them and keeps."""
    counters = device.telemetry
    return counters["buffer_bytes"] + counters["mapped_bytes"]


def has_vnni(info: dict[str, Any]) -> bool:
    """Whether a device, by its `info`, is a CPU whose kernels multiply bytes in AVX-512 VNNI."""
    return parallel_width(info) == 1 and ", avx512" in str(info["name"])


def reads_bfloats(info: dict[str, Any]) -> bool:
    """The `Graph.reads_bfloats` of a device."""
    is_native = any(f", {kernels})" in str(info["name"]) for kernels in ("avx512_bf16", "avx512_amx"))
    return is_native or parallel_width(info) > 1


def device_names(devices: Sequence[dict[str, Any]]) -> list[str]:
    """A short name for each device: "cpu", "metal"; GPUs of NVIDIA are numbered, "cuda:0", "cuda:1"."""
    names: list[str] = []
    for info in devices:
        kind = device_kind(info)
        number = sum(name.partition(":")[0] == kind for name in names)
        names.append(f"{kind}:{number}" if kind == "cuda" or number else kind)
    return names


def device_kind(info: dict[str, Any]) -> str:
    """ "cpu" and "cuda" for softmetal's drivers, "metal" for a GPU of a Mac."""
    return next((kind for prefix, kind in _KIND_BY_PREFIX.items() if str(info["name"]).startswith(prefix)), "metal")


def fallback_note(name: str | None = None) -> str | None:
    """Why "auto" does not take a GPU that the machine has; None if it takes the best one or was not asked to choose."""
    if (name or switches.value("FASTGO_DEVICE") or "auto") != "auto":
        return None
    devices = list_devices()
    if any(device_kind(info) != "cpu" for info in devices):
        return None
    return next((str(note["text"]) for note in _fastmetal.device_notes() if note["is_there"]), None)


def installed_library(switch: str) -> Path | None:
    """The file that `switch` (FASTGO_NVRTC, FASTGO_CUBLAS) would name, from a package of this Python, if there."""
    spec = find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for file in _LIBRARIES[switch]:
            path = Path(folder).parent / file
            if path.is_file():
                return path
    return None


def large_products() -> str:
    """What multiplies large matrices on NVIDIA GPUs; after `list_devices`."""
    chosen = switches.value("FASTGO_CUBLAS")
    if chosen == "0":
        return "the shaders (FASTGO_CUBLAS=0)"
    if chosen is not None:
        return f"cuBLASLt, {chosen}" if _is_cublas(chosen) else f"the shaders: can't open cuBLASLt, {chosen}"
    return "cuBLASLt if the system has it, else the shaders; `pip install fastgo[cublas]` brings it"


def has_large_products(info: dict[str, Any]) -> bool:
    """Whether cuBLASLt is there for a device, by its `info`; after `list_devices`."""
    chosen = switches.value("FASTGO_CUBLAS")
    return device_kind(info) == "cuda" and chosen not in (None, "0") and _is_cublas(chosen)


@cache
def _is_cublas(path: str) -> bool:
    """Whether the driver will be able to open cuBLASLt there; loads it."""
    try:
        return hasattr(ctypes.CDLL(path), "cublasLtMatmul")
    except OSError:
        return False


def parallel_width(info: dict[str, Any]) -> int:
    """The `Graph.parallel_width` of a device."""
    return _PARALLEL_WIDTH[device_kind(info)]
