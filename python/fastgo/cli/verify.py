"""`fastgo verify`: hashes a model's files against its manifest."""

from __future__ import annotations

from typing import Annotated

import typer

from fastgo.cli import ui


def verify(
    model: Annotated[str, typer.Argument(help="Name or model folder.", metavar="NAME|PATH")],
) -> None:
    """Check every byte of a model's weights; names the first tensor that is damaged."""
    from fastgo.assets import repository

    with ui.progress() as progress:
        folder = repository.open_model(model, progress=progress)
        folder.verify(progress)
    ui.data(f"{folder.name}: {len(folder.tensors)} tensors in {len(folder.manifest.shards)} files are sound")
