"""`fastgo pull`: gets a model from the Hugging Face hub."""

from __future__ import annotations

from typing import Annotated

import typer

from fastgo.cli import ui


def pull(
    name: Annotated[
        str, typer.Argument(help="Known name, or hf:owner/repo, with @revision and :file where wanted.", metavar="NAME")
    ],
) -> None:
    """Download a model from the Hugging Face hub and import it; `fastgo run --model NAME` finds it afterwards."""
    from fastgo.assets.pull import pull as get

    with ui.progress() as progress:
        folder = get(name, progress)
    ui.data(f"{name}: {folder.name}, {ui.size(folder.nbytes)} in {folder.path}")
