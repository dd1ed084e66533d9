"""`fastgo inspect`: what a model is made of, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgo.cli import ui
from fastgo.cli.formats import KV_CACHE_HELP, KV_CACHE_METAVAR, Format
from fastgo.errors import UsageError

if TYPE_CHECKING:
    from fastgo.assets.model_folder import ModelFolder


def inspect_model(
    model: Annotated[str, typer.Argument(help="Name, model folder or .gguf file.", metavar="NAME|PATH")],
    output: Annotated[Format, typer.Option("--format", help="How to write the result.")] = Format.TABLE,
    fit: Annotated[bool, typer.Option("--fit", help="Show instead whether it fits into the device's memory.")] = False,
    context: Annotated[int | None, typer.Option(min=1, help="Length of the context for --fit, in tokens.")] = None,
    kv_cache: Annotated[str | None, typer.Option(help=KV_CACHE_HELP, metavar=KV_CACHE_METAVAR)] = None,
    device: Annotated[str | None, typer.Option(help="Device for --fit; see `fastgo env`.")] = None,
) -> None:
    """Show a model's architecture, tensor formats, tokenizer and files."""
    from fastgo.assets import repository

    with ui.progress() as progress:
        folder = repository.open_model(model, progress=progress)
    if fit:
        _show_fit(folder, context, kv_cache, device, output)
        return
    facts = describe(folder)
    if output is Format.JSON:
        ui.json_data(facts)
    else:
        _show(facts)


def describe(folder: ModelFolder) -> dict[str, Any]:
    """Returns a model's facts as plain JSON. Sizes in bytes; `parameters` counts weights."""
    manifest = folder.manifest
    formats: dict[str, dict[str, int]] = {}
    for tensor in folder.tensors.values():
        row = formats.setdefault(tensor.format, {"tensors": 0, "parameters": 0, "bytes": 0})
        rows, columns = tensor.matrix_shape
        row["tensors"] += 1
        row["parameters"] += rows * columns
        row["bytes"] += tensor.nbytes
    return {
        "name": folder.name,
        "path": str(folder.path),
        "licence": manifest.licence,
        "source": {"file": manifest.provenance.source_file, "sha256": manifest.provenance.source_sha256},
        "parameters": sum(row["parameters"] for row in formats.values()),
        "bytes": folder.nbytes,
        "config": manifest.config.to_json(),
        "formats": dict(sorted(formats.items(), key=lambda item: -item[1]["bytes"])),
        "tokenizer": manifest.tokenizer,
        "chat_template": manifest.chat_template,
        "sampling": dict(manifest.generation),
        "files": [
            {"name": path.name, "bytes": path.stat().st_size}
            for path in sorted(folder.path.iterdir())
            if path.is_file()
        ],
    }


def _show(facts: dict[str, Any]) -> None:
    config = facts["config"]
    sliding = sum(config["layer_is_sliding"])
    layers = f"{config['num_hidden_layers']}" + (f" ({sliding} sliding)" if sliding else "")
    heads = f"{config['num_attention_heads']} query, {config['num_key_value_heads']} key/value, of {config['head_dim']}"
    window = str(config["sliding_window"]) if config["sliding_window"] else "none"
    ui.table(
        [
            ("name", facts["name"]),
            ("folder", facts["path"]),
            ("source", facts["source"]["file"]),
            ("licence", facts["licence"] or "not stated"),
            ("architecture", config["architecture"]),
            ("parameters", f"{facts['parameters'] / 1e6:.1f} million"),
            ("weights", ui.size(facts["bytes"])),
            ("layers", layers),
            ("hidden size", f"{config['hidden_size']}, feed-forward {config['intermediate_size']}"),
            ("heads", heads),
            ("context", f"{config['max_position_embeddings']} tokens, sliding window {window}"),
            ("vocabulary", f"{config['vocab_size']} tokens"),
            ("tokenizer", _tokenizer_line(facts["tokenizer"])),
            ("chat template", f"{len(facts['chat_template'])} characters" if facts["chat_template"] else "none"),
            ("sampling", ", ".join(f"{name} {value:g}" for name, value in facts["sampling"].items()) or "greedy"),
        ]
    )
    ui.data("")
    rows = [
        (name, str(row["tensors"]), str(row["parameters"]), ui.size(row["bytes"]))
        for name, row in facts["formats"].items()
    ]
    ui.table(rows, header=("format", "tensors", "parameters", "size"), right=(1, 2, 3))
    ui.data("")
    ui.table([(file["name"], ui.size(file["bytes"])) for file in facts["files"]], header=("file", "size"), right=(1,))


def _show_fit(
    folder: ModelFolder, context: int | None, kv_cache: str | None, device: str | None, output: Format
) -> None:
    """Shows the bytes that the model takes. Raises OutOfMemoryError if the device has fewer."""
    from fastgo.engine.devices import open_device
    from fastgo.engine.exact_head import planned_nbytes
    from fastgo.engine.fit import estimate, refusal
    from fastgo.engine.weights_check import check_weights

    limit = folder.config.max_position_embeddings
    if context is not None and context > limit:
        raise UsageError(f"--context: the model's own limit is {limit} tokens, found {context}")
    opened = open_device(device)
    check_weights(folder)
    index = planned_nbytes(opened, folder)
    found = estimate(folder, context or limit, opened, kv_cache, index)
    facts = {name: value for name, value in vars(found).items() if name != "context"}
    if output is Format.JSON:
        ui.json_data({"context": found.context, "fits": found.fits, "total": found.total, **facts})
    else:
        names = ("weights", "kv_cache", "scratch", "total", "available")
        rows = [(name.replace("_", " "), ui.size(getattr(found, name))) for name in names]
        ui.table([("context", f"{found.context} tokens"), *rows])
    if not found.fits:
        raise refusal(folder, found)


def _tokenizer_line(info: dict[str, Any] | None) -> str:
    if info is None:
        return "none"
    bos = f", begins with {info['bos_id']}" if info.get("add_bos") else ""
    ends = ", ".join(map(str, info.get("eos_ids", [])))
    return f"{info['kind']}{bos}, ends with {ends or 'nothing'}"
