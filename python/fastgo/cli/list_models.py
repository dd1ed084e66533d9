"""`fastgo list`: the models that can be run by name."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from fastgo.cli import ui
from fastgo.cli.formats import Format


def list_models(
    output: Annotated[Format, typer.Option("--format", help="How to write the list.")] = Format.TABLE,
) -> None:
    """List the imported models and the names that can be imported."""
    from fastgo.assets import cache, catalog, hub_catalog, repository

    entries: list[dict[str, Any]] = [
        {
            "name": model.name,
            "architecture": model.config.architecture,
            "bytes": cache.disk_nbytes(model.path),
            "path": str(model.path),
            "last_used": cache.last_used(model.path),
        }
        for model in repository.list_models()
    ]
    if output is Format.JSON:
        ui.json_data({"models": entries, "catalogue": list(catalog.BY_NAME), "hub": list(hub_catalog.BY_NAME)})
        return
    if entries:
        rows = [
            (
                entry["name"],
                entry["architecture"],
                ui.size(entry["bytes"]),
                cache.age(entry["last_used"]),
                entry["path"],
            )
            for entry in entries
        ]
        ui.table(rows, header=("name", "architecture", "size", "last used", "folder"), right=(2,))
    else:
        ui.note("no models were imported yet")
    ui.note(f"names to run: {catalog.KNOWN_NAMES}; or any .gguf file or Hugging Face folder")
    ui.note(f"names to pull: {', '.join(hub_catalog.BY_NAME)}; or hf:owner/repo")
