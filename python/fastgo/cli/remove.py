"""`fastgo rm` and `fastgo cache`: give the disk space of imported models back."""

from __future__ import annotations

from typing import Annotated

import typer

from fastgo.cli import ui
from fastgo.cli.formats import Format


def remove(
    names: Annotated[list[str], typer.Argument(help="Names as `fastgo list` shows them.", metavar="NAME...")],
) -> None:
    """Remove imported models from the cache."""
    from fastgo.assets import cache

    for name in names:
        for path, nbytes in cache.remove(name):
            ui.data(f"removed {path} ({ui.size(nbytes)})")


def show_cache(
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what can't be used: of older versions, damaged, half-made.")
    ] = False,
    output: Annotated[Format, typer.Option("--format", help="How to write the result.")] = Format.TABLE,
) -> None:
    """Show what the cache holds, and remove what is of no use any more."""
    from fastgo.assets import cache
    from fastgo.assets.repository import cache_dir

    entries = cache.prune() if prune else cache.entries()
    if output is Format.JSON:
        facts = [{"path": str(entry.path), "bytes": entry.nbytes, "use": entry.use} for entry in entries]
        ui.json_data({"path": str(cache_dir()), "removed" if prune else "entries": facts})
        return
    verb = "removed" if prune else "holds"
    if entries:
        rows = [(str(entry.path), entry.use, ui.size(entry.nbytes)) for entry in entries]
        ui.table(rows, header=("folder", "use", "size"), right=(2,))
    ui.note(f"the cache {cache_dir()} {verb} {ui.size(sum(entry.nbytes for entry in entries))}")
