"""`fastgo env`: the facts to put into a report of a fault."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

import fastgo
from fastgo import switches
from fastgo.cli import ui
from fastgo.cli.formats import Format


def env(
    output: Annotated[Format, typer.Option("--format", help="How to write the result.")] = Format.TABLE,
) -> None:
    """Show versions, devices, the cache and the environment switches."""
    facts = collect()
    if output is Format.JSON:
        ui.json_data(facts)
        return
    devices = [(f"device {index}", _device_line(device)) for index, device in enumerate(facts["devices"])]
    devices += [(f"no {note['kind']}", note["text"]) for note in facts["device_notes"]]
    if facts["large_products"] is not None:
        devices.append(("large products", facts["large_products"]))
    ui.table(
        [
            ("fastgo", facts["version"]),
            ("python", facts["python"]),
            ("system", facts["system"]),
            *(devices or [("devices", facts["device_error"] or "none")]),
            ("cache", f"{facts['cache']['path']} ({ui.size(facts['cache']['bytes'])})"),
            *((name, f"{text}  ({switches.SWITCHES[name]})") for name, text in facts["switches"].items()),
            *((name, "unknown switch, ignored") for name in facts["unknown_switches"]),
        ]
    )
    if not facts["switches"]:
        ui.note(f"no switches are set; there are {', '.join(switches.SWITCHES)}")


def collect() -> dict[str, Any]:
    """Returns the facts as plain JSON; `device_error`: why there are no devices, `device_notes`: why one is missing."""
    from fastgo.assets.repository import cache_dir

    devices, notes, device_error = _find_devices()
    cache = cache_dir()
    return {
        "version": fastgo.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "devices": devices,
        "device_notes": notes,
        "device_error": device_error,
        "large_products": _large_products(devices),
        "cache": {"path": str(cache), "bytes": _folder_size(cache)},
        "switches": switches.set_switches(),
        "unknown_switches": switches.unknown_switches(),
    }


def _find_devices() -> tuple[list[dict[str, Any]], list[dict[str, Any]], str | None]:
    try:
        from fastgo import _fastmetal
        from fastgo.engine.devices import device_names, list_devices

        devices = list_devices()
        named = [{"kind": name, **device} for name, device in zip(device_names(devices), devices, strict=True)]
        return named, _fastmetal.device_notes(), None
    except Exception as error:  # whatever is wrong with the native part is the very thing to report here
        return [], [], f"{type(error).__name__}: {error}"


def _large_products(devices: list[dict[str, Any]]) -> str | None:
    """What multiplies large matrices; None without an NVIDIA GPU, where there is no choice."""
    from fastgo.engine.devices import large_products

    return large_products() if any(device["kind"].startswith("cuda") for device in devices) else None


def _device_line(device: dict[str, Any]) -> str:
    memory = "unified memory" if device["has_unified_memory"] else "own memory"
    return f"{device['kind']}: {device['name']}, {ui.size(device['memory_bytes'])} {memory}"


def _folder_size(folder: Path) -> int:
    """Returns the bytes of all files below `folder`; what can't be read counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return total
