"""fastgo runs open language models on the machine in front of you: `llm = fastgo.load("gemma3")`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastgo.api import LLM as LLM
    from fastgo.api import Telemetry as Telemetry
    from fastgo.api import load as load

__version__ = "0.1.0"
__all__ = ["LLM", "Telemetry", "load"]


def __getattr__(name: str) -> Any:
    # The command line starts without NumPy and the engine; they load with the first use of the library.
    if name in __all__:
        from fastgo import api

        return getattr(api, name)
    raise AttributeError(f"module 'fastgo' has no attribute {name!r}")
