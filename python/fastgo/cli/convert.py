"""`fastgo convert`: makes a model folder out of a Hugging Face folder, a GGUF file or another model folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastgo.cli import ui
from fastgo.cli.text_file import read_text
from fastgo.errors import UsageError

if TYPE_CHECKING:
    from fastgo.assets.importance import Importance
    from fastgo.assets.manifest import Manifest

_GroupSize = Annotated[
    int | None, typer.Option(help="Weights that share a scale under q8 and q4.", metavar="32|64|128", show_default="32")
]
_RopeBase = Annotated[float | None, typer.Option(help="Base of the rotary embedding.", show_default=False)]
_RopeScaling = Annotated[
    str | None,
    typer.Option(
        help="Scaling of the rotary embedding: linear, yarn or llama3; or its JSON.", metavar="NAME:FACTOR|none"
    ),
]
_Calibrate = Annotated[
    Path | None,
    typer.Option(
        help="A text: weights that matter when the model reads it are rounded with more care.", metavar="TEXT"
    ),
]
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def convert(
    source: Annotated[str, typer.Argument(help="Hugging Face folder, .gguf file, model folder or a known name.")],
    out: Annotated[Path, typer.Argument(help="The new model folder.", metavar="OUT")],
    quantize: Annotated[
        str,
        typer.Option(help="Formats of the matrices.", metavar="none|q8|q4|q4-mixed|int8-channel", show_default=True),
    ] = "none",
    group_size: _GroupSize = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="Format of the tensors of that name; * stands for anything. Repeatable.", metavar="NAME=FORMAT"
        ),
    ] = None,
    rope_base: _RopeBase = None,
    rope_scaling: _RopeScaling = None,
    calibrate: _Calibrate = None,
    shard_size: Annotated[str, typer.Option(help="Largest weights file, such as 500M or 4G.")] = "4G",
    jobs: Annotated[int | None, typer.Option(min=1, max=1024, help="Threads; by default one a processor.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a model folder that is there.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Compare the result with the source on a text.")] = False,
    text: Annotated[Path | None, typer.Option(help="The text for --check, instead of a short one of its own.")] = None,
) -> None:
    """Convert a model, and quantise it."""
    from fastgo.assets.convert import convert as make
    from fastgo.assets.new_folder import check_target
    from fastgo.assets.open_source import open_source
    from fastgo.assets.recipe import Recipe, grouped_preset
    from fastgo.assets.rope_override import with_rope

    recipe = Recipe.parse(grouped_preset(quantize, group_size), keep or [])
    shard_nbytes = _nbytes(shard_size)
    words = read_text(text) if text else None
    read = read_text(calibrate) if calibrate else None
    if read is not None and quantize == "none" and not keep:
        raise UsageError("--calibrate: nothing is quantised", hint="add --quantize, for example q4-mixed")
    check_target(out, force)  # before anything that takes long
    with ui.progress() as progress:
        path = _resolve(source, progress)
        importance = _importance(path, read, progress) if read is not None else None
        with open_source(path) as opened:
            opened = replace(opened, config=with_rope(opened.config, rope_base, rope_scaling))
            with _told_what_stays():
                manifest = make(
                    opened,
                    out,
                    recipe,
                    importance=importance,
                    progress=progress,
                    max_shard_nbytes=shard_nbytes,
                    force=force,
                    jobs=jobs,
                )
    _show(manifest, out)
    if check:
        _compare(path, out, words)


@contextmanager
def _told_what_stays() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        ui.note("interrupted: the same command goes on where this one ended")
        raise


def _nbytes(size: str) -> int:
    match = re.fullmatch(r"([0-9]{1,6})([kmg]?)b?", size.strip().lower())
    nbytes = int(match[1]) * _UNITS[match[2]] if match else 0
    if not nbytes:
        raise UsageError(f"--shard-size: expected a size such as 500M or 4G, found {size[:40]!r}")
    return nbytes


def _resolve(source: str, progress: ui.Progress) -> Path:
    """A path as it is; anything else is a name, whose import is opened."""
    from fastgo.assets import repository

    path = Path(source).expanduser()
    return path if path.exists() else repository.open_model(source, progress).path


def _importance(source: Path, text: str, progress: ui.Progress) -> Importance:
    from fastgo.calibration import source_importance  # what it imports takes long

    return source_importance(source, text, progress)


def _show(manifest: Manifest, out: Path) -> None:
    rows = []
    formats: dict[str, list[int]] = {}
    for tensor in manifest.tensors.values():
        counts = formats.setdefault(tensor.format, [0, 0, 0])
        rows_and_columns = tensor.matrix_shape
        for index, amount in enumerate((1, rows_and_columns[0] * rows_and_columns[1], tensor.nbytes)):
            counts[index] += amount
    formats["all"] = [sum(column) for column in zip(*formats.values(), strict=True)]
    for name, (tensors, weights, nbytes) in formats.items():
        rows.append((name, str(tensors), str(weights), ui.size(nbytes), f"{nbytes * 8 / weights:.2f}"))
    ui.table(rows, header=("format", "tensors", "parameters", "size", "bits a weight"), right=(1, 2, 3, 4))
    _, _, carried = manifest.provenance.recipe.partition("; source: ")
    if carried:
        ui.note(f"what was done to the source's weights before: {carried}")
    source = manifest.provenance.source_nbytes
    ui.note(f"{out}: {ui.size(sum(shard.nbytes for shard in manifest.shards))}, the source has {ui.size(source)}")


def _compare(source: Path, out: Path, text: str | None) -> None:
    import fastgo
    from fastgo import evaluation

    with ui.progress() as progress, fastgo.load(source, progress=progress) as model, fastgo.load(out) as other:
        found = evaluation.compare(model, other, text or evaluation.TEXT)
    ui.table(
        [
            ("tokens", str(found.tokens)),
            ("KL divergence", f"{found.kl_divergence:.3g} nats a token"),
            ("same most likely token", f"{found.same_top:.2%}"),
            ("perplexity", f"{found.perplexity:.4f}, of the source {found.source_perplexity:.4f}"),
        ]
    )
