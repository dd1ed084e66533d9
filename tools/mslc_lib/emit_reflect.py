"""Writes the reflection as JSON, for people and tools."""

from __future__ import annotations

import json
from dataclasses import asdict

from .reflect import Kernel, Module


def emit_reflect(module: Module) -> str:
    """A JSON list with one object a kernel."""
    constants = [{"name": c.name, "type": c.type, "index": c.index, "size": c.size} for c in module.constants]
    kernels = [
        _kernel(kernel)
        | {"function_constants": constants}
        | {"required_constants": [module.constants[n].name for n in kernel.required_constants]}
        for kernel in module.kernels
    ]
    return json.dumps(kernels, indent=2) + "\n"


def _kernel(kernel: Kernel) -> dict[str, object]:
    arguments = []
    for argument in kernel.arguments:
        entry = asdict(argument)
        del entry["parameter"]
        arguments.append(entry)
    return {
        "name": kernel.host_name,
        "function": kernel.function.name,
        "arguments": arguments,
        "builtins": [{"name": b.name, "attribute": b.attribute, "type": b.type} for b in kernel.builtins],
        "max_total_threads": kernel.max_total_threads,
        "uses_barriers": kernel.uses_barriers,
    }
