"""`fastgo verify`: hashes a model's files against its manifest, and replaces those that are damaged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastgo.cli import ui
from fastgo.cli.text_file import read_text
from fastgo.errors import UsageError

if TYPE_CHECKING:
    from fastgo.assets.importance import Importance
    from fastgo.assets.model_folder import ModelFolder


def verify(
    model: Annotated[str, typer.Argument(help="Name, model folder or .gguf file.", metavar="NAME|PATH")],
    repair: Annotated[
        bool, typer.Option("--repair", help="Make damaged files anew from what the model was made from.")
    ] = False,
    source: Annotated[Path | None, typer.Option(help="What it was made from, where its manifest does not say.")] = None,
    calibrate: Annotated[
        Path | None, typer.Option(help="The text that it was calibrated with, if it was.", metavar="TEXT")
    ] = None,
) -> None:
    """Check every byte of a model's weights and tokenizer; names the first tensor or file that is damaged."""
    from fastgo.assets import repository

    if (source or calibrate) and not repair:
        raise UsageError("--source and --calibrate are for --repair")
    text = read_text(calibrate) if calibrate else None
    with ui.progress() as progress:
        if repair:
            folder = _repaired(model, source, text, progress)
        else:
            folder = repository.open_model(model, progress=progress)
            folder.verify(progress)
    ui.data(f"{folder.name}: {len(folder.tensors)} tensors in {len(folder.manifest.shards)} files are sound")


def _repaired(model: str, source: Path | None, text: str | None, progress: ui.Progress) -> ModelFolder:
    from fastgo.assets import repository
    from fastgo.assets.manifest import FILE_NAME
    from fastgo.assets.model_folder import ModelFolder
    from fastgo.assets.repair import repair

    path = Path(model).expanduser()
    is_folder = (path / FILE_NAME).is_file()
    folder = ModelFolder.open_manifest(path) if is_folder else repository.open_model(model, progress)

    def calibrate(path: Path) -> Importance:
        from fastgo.calibration import source_importance  # what it imports takes long

        return source_importance(path, text or "", progress)

    for file in repair(folder, source, progress, calibrate if text is not None else None):
        ui.note(f"{file} was made anew")
    return ModelFolder.open(folder.path)
