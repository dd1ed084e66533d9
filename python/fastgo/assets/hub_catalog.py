"""Names of models on the Hugging Face hub: the table of short ones, and `hf:owner/repo[@revision][:file]` for any.

A revision is "main", and there is no hash, where neither is known for certain: nothing here was made up. What is
downloaded is held against the hub's own SHA-256 in any case (hub.py), the commit is noted in the manifest, and what it
had is remembered (repository.py): another content under the same commit is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fastgo.errors import UsageError

PREFIX = "hf:"
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_REFERENCE = re.compile(
    rf"(?P<repository>{_PART}/{_PART})(@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]{{0,199}}))?"
    r"(:(?P<file>[A-Za-z0-9*][A-Za-z0-9._*/ +-]{0,199}))?",
    re.ASCII,
)


@dataclass(frozen=True)
class HubModel:
    """A model on the hub.

    Attributes:
        repository: "owner/name".
        file: the GGUF file, or a pattern that only it (or the parts of it) matches; None for safetensors with config.
        revision: branch, tag or commit.
        sha256: of the GGUF file, if known.
    """

    repository: str
    file: str | None = None
    revision: str = "main"
    sha256: str | None = None

    def __str__(self) -> str:
        """The name that `parse` reads."""
        revision = "" if self.revision == "main" else f"@{self.revision}"
        return f"{PREFIX}{self.repository}{revision}{f':{self.file}' if self.file else ''}"

    @property
    def name(self) -> str:
        """The repository's own name."""
        return self.repository.split("/")[1]


def _rows() -> Mapping[str, HubModel]:
    rows = {
        "gemma3": HubModel("google/gemma-3-270m"),
        "gemma3:270m": HubModel("google/gemma-3-270m"),
        "gemma3:270m-it": HubModel("google/gemma-3-270m-it"),
        "smollm2": HubModel("HuggingFaceTB/SmolLM2-135M-Instruct"),
        "llama3.2": HubModel("meta-llama/Llama-3.2-3B-Instruct"),
        "llama3.2:1b": HubModel("meta-llama/Llama-3.2-1B-Instruct"),
        "llama3.2:3b": HubModel("meta-llama/Llama-3.2-3B-Instruct"),
        "llama3.1:8b": HubModel("meta-llama/Llama-3.1-8B-Instruct"),
        "llama3.1:70b": HubModel("meta-llama/Llama-3.1-70B-Instruct"),
        "llama3.3:70b": HubModel("meta-llama/Llama-3.3-70B-Instruct"),
        "mistral": HubModel("mistralai/Mistral-7B-Instruct-v0.3"),
        "mistral:7b": HubModel("mistralai/Mistral-7B-Instruct-v0.3"),
        "qwen3": HubModel("Qwen/Qwen3-8B"),
        "qwen2.5": HubModel("Qwen/Qwen2.5-7B-Instruct"),
    }
    for size in ("1b", "4b", "12b", "27b"):
        rows[f"gemma3:{size}"] = HubModel(f"google/gemma-3-{size}-it")
        rows[f"gemma3:{size}-qat"] = HubModel(f"google/gemma-3-{size}-it-qat-q4_0-gguf", f"gemma-3-{size}-it-q4_0.gguf")
    for size in ("0.6B", "1.7B", "4B", "8B", "14B", "32B", "30B-A3B", "235B-A22B"):
        rows[f"qwen3:{size.lower()}"] = HubModel(f"Qwen/Qwen3-{size}")
    for size in ("0.5B", "1.5B", "3B", "7B", "14B", "32B", "72B"):
        rows[f"qwen2.5:{size.lower()}"] = HubModel(f"Qwen/Qwen2.5-{size}-Instruct")
    for size in ("135M", "360M", "1.7B"):
        rows[f"smollm2:{size.lower()}"] = HubModel(f"HuggingFaceTB/SmolLM2-{size}-Instruct")
    return MappingProxyType(rows)


BY_NAME = _rows()


def find(name: str) -> HubModel | None:
    """The model of a short name or of `hf:...`; None for anything else. Raises UsageError for a malformed `hf:...`."""
    if name.startswith(PREFIX):
        return parse(name)
    return BY_NAME.get(name.lower())


def parse(name: str) -> HubModel:
    """Read `hf:owner/repo[@revision][:file]`. Raises UsageError."""
    match = _REFERENCE.fullmatch(name.removeprefix(PREFIX))
    if match is None or ".." in name:
        raise UsageError(f"expected hf:owner/repo, @revision and :file optional, found {name[:120]!r}")
    return HubModel(match["repository"], match["file"], match["revision"] or "main")
