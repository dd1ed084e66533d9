"""`fastgo list`: the models that can be run by name."""

from __future__ import annotations

from typing import Annotated

import typer

from fastgo.cli import ui
from fastgo.cli.formats import Format


def list_models(
    output: Annotated[Format, typer.Option("--format", help="How to write the list.")] = Format.TABLE,
) -> None:
    """List the imported models and the names that can be imported."""
    from fastgo.assets import cache, catalog, hub_catalog, repository

    models = repository.list_models()
    entries = [
        {
            "name": model.name,
            "architecture": model.config.architecture,
            "bytes": cache.disk_nbytes(model.path),
            "path": str(model.path),
            "last_used": cache.last_used(model.path),
        }
        for model in models
    ]
    if output is Format.JSON:
        ui.json_data({"models": entries, "catalogue": list(catalog.BY_NAME), "hub": list(hub_catalog.BY_NAME)})
        return
    if models:
        rows = [
            (
                model.name,
                model.config.architecture,
                ui.size(cache.disk_nbytes(model.path)),
                cache.age(cache.last_used(model.path)),
                str(model.path),
            )
            for model in models
        ]
        ui.table(rows, header=("name", "architecture", "size", "last used", "folder"), right=(2,))
    else:
        ui.note("no models were imported yet")
    ui.note(f"names to run: {catalog.KNOWN_NAMES}; or any .gguf file or Hugging Face folder")
    ui.note(f"names to pull: {', '.join(hub_catalog.BY_NAME)}; or hf:owner/repo")
