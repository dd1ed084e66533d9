"""Choosing a device and opening it; native failures become fastgo.errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fastgo import _fastmetal, switches
from fastgo.errors import DeviceError, OutOfMemoryError


@contextmanager
def device_errors() -> Iterator[None]:
    """Turns errors of the native half into DeviceError and OutOfMemoryError."""
    try:
        yield
    except _fastmetal.OutOfMemory as error:
        raise OutOfMemoryError(str(error), hint="use a smaller context or a smaller model") from None
    except _fastmetal.Error as error:
        raise DeviceError(str(error), hint="`fastgo env` shows the devices and their state") from None


def open_device(name: str | None) -> _fastmetal.Device:
    """Opens "auto" (the first device), or the first whose kind `fastgo env` lists under that name.

    Raises DeviceError if there is none.
    """
    with device_errors():
        devices = _fastmetal.devices()
        wanted = name or switches.value("FASTGO_DEVICE") or "auto"
        for index, info in enumerate(devices):
            if wanted == "auto" or wanted == device_kind(info):
                return _fastmetal.Device(index)
    found = ", ".join(device_kind(info) for info in devices) or "none"
    raise DeviceError(
        f"there is no device {wanted!r}; found: {found}", hint="leave the device out to take the best one"
    )


def device_kind(info: dict[str, object]) -> str:
    """The short name of a device: "cpu" for softmetal's CPU driver, "metal" for a GPU of a Mac."""
    return "cpu" if str(info["name"]).startswith("softmetal CPU") else "metal"
