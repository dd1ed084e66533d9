"""The JSON schema of manifest.json holds for real folders, knows every field, refuses what the reader refuses."""

from __future__ import annotations

import copy
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fastgo.assets import manifest as manifests
from fastgo.assets.convert import convert, import_model
from fastgo.assets.manifest import Manifest, Provenance, ShardEntry, TensorEntry
from fastgo.assets.open_source import open_source
from fastgo.assets.recipe import Recipe
from fastgo.errors import InvalidFileError, UnsupportedModelError
from fastgo.models.config import ModelConfig, RopeConfig
from gguf_builder import write_model

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "manifest.schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def made(tmp_path: Path, architecture: str = "llama") -> dict[str, Any]:
    write_model(tmp_path / "m.gguf", architecture)
    import_model(tmp_path / "m.gguf", tmp_path / "out")
    data: dict[str, Any] = json.loads((tmp_path / "out" / manifests.FILE_NAME).read_bytes())
    return data


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "qwen3"])
def test_imports_suit_the_schema(tmp_path: Path, architecture: str) -> None:
    VALIDATOR.validate(made(tmp_path, architecture))


def test_real_models_suit_the_schema(tmp_path: Path, real_gguf: dict[str, Path]) -> None:
    import_model(real_gguf["smollm2"], tmp_path / "out")
    data = json.loads((tmp_path / "out" / manifests.FILE_NAME).read_bytes())
    assert data["tokenizer"]
    assert data["chat_template"]
    VALIDATOR.validate(data)


def test_quantised_folders_suit_the_schema(tmp_path: Path) -> None:
    made(tmp_path)
    with open_source(tmp_path / "out") as source:
        convert(source, tmp_path / "q4", Recipe("q8"))
    VALIDATOR.validate(json.loads((tmp_path / "q4" / manifests.FILE_NAME).read_bytes()))


def test_the_schema_knows_every_field() -> None:
    properties = SCHEMA["properties"]
    shard, tensor = properties["shards"]["items"], properties["tensors"]["additionalProperties"]
    parts: list[tuple[type, dict[str, Any], set[str]]] = [
        (Manifest, SCHEMA, {"format_version"}),
        (Provenance, properties["provenance"], set()),
        (ShardEntry, shard, set()),
        (TensorEntry, tensor, set()),
        (ModelConfig, SCHEMA["$defs"]["config"], set()),
        (RopeConfig, SCHEMA["$defs"]["rope"], set()),
    ]
    for kind, part, more in parts:
        assert set(part["properties"]) == {field.name for field in fields(kind)} | more, kind.__name__
    assert set(properties["generation"]["properties"]) == set(manifests.GENERATION_RANGES)
    assert properties["format_version"]["const"] == manifests.FORMAT_VERSION
    page = (DOCS / "manifest.md").read_text("utf-8")
    named = [*properties, *properties["provenance"]["properties"], *shard["properties"], *tensor["properties"]]
    assert [name for name in named if f"`{name}`" not in page] == []


@pytest.mark.parametrize(
    "where, value",
    [
        ("unknown", 1),
        ("licence", 3),
        ("shards.0.file", "../weights"),
        ("shards.0.sha256", "AB"),
        ("tokenizer", {"kind": "tokenizers", "files": ["a"], "sha256": ["AB"]}),
        ("provenance.source_nbytes", -1),
        ("generation.top_p", 1.5),
        ("config.rope.unknown", 1),
        ("tensors.model.offset", 7),
        ("tensors.model.shape", []),
    ],
)
def test_schema_and_reader_refuse_the_same(tmp_path: Path, where: str, value: Any) -> None:
    data = made(tmp_path)
    data["tensors"] = {"model": next(iter(data["tensors"].values()))}
    VALIDATOR.validate(data)
    manifests.decode(json.dumps(data).encode(), "m")
    damaged: Any = copy.deepcopy(data)
    *path, last = where.split(".")
    part = damaged
    for key in path:
        part = part[int(key)] if key.isdigit() else part[key]
    part[last] = value
    assert not VALIDATOR.is_valid(damaged)
    with pytest.raises(InvalidFileError):
        manifests.decode(json.dumps(damaged).encode(), "m")


def test_another_version_is_told_before_anything_else() -> None:
    for version, hint in ((2, "update fastgo"), (999, "update fastgo"), (0, "import the model again")):
        with pytest.raises(UnsupportedModelError, match=f"has format version {version}, expected 1") as caught:
            manifests.decode(json.dumps({"format_version": version, "weights": []}).encode(), "m")
        assert caught.value.hint == hint
