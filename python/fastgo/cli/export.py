"""`fastgo export`: a model as one GGUF file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fastgo.cli import ui
from fastgo.errors import UsageError


def export(
    model: Annotated[str, typer.Argument(help="Name, model folder or .gguf file.", metavar="NAME|PATH")],
    out: Annotated[Path, typer.Argument(help="The new file.", metavar="OUT.gguf")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a model as a GGUF file, without loss, for llama.cpp and others."""
    if out.suffix != ".gguf":
        raise UsageError(f"expected a file name that ends in .gguf, found {out.name[:80]!r}")
    from fastgo.assets import repository
    from fastgo.assets.export import export_gguf

    with ui.progress() as progress:
        folder = repository.open_model(model, progress=progress)
        nbytes = export_gguf(folder, out, progress, force=force)
    ui.note(f"{out}: {len(folder.tensors)} tensors, {ui.size(nbytes)}")
