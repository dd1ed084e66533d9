"""manifest.json: what a fastgo model folder holds, and the strict reader of it.

A folder is complete when its manifest is there: importers write it last. Everything in it is checked before use, so
that a damaged or hostile folder ends in one clear line.

Units: offsets and sizes are bytes; a tensor's `offset` is from the start of its shard's file.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fastgo.assets.config_checks import checked_config
from fastgo.assets.quant import PLANE_ALIGNMENT, PlaneRange, get_format, layout, matrix_shape, total_nbytes
from fastgo.assets.storage import read_at_most
from fastgo.assets.strict_json import DAMAGED_HINT, Fields, parse_object
from fastgo.errors import InvalidFileError, ModelNotFoundError, UnsupportedModelError
from fastgo.models.config import ModelConfig

FILE_NAME = "manifest.json"
IMPORTER_VERSION = 5  # goes up whenever an import of the same file gives another folder
FORMAT_VERSION = 1
MAX_NBYTES = 64 << 20
MAX_SHARDS = 99_999
MAX_TENSOR_DIMENSIONS = 4
MAX_NAME_CHARACTERS = 256
# Sampling defaults that a model may bring, and the range of each; see engine/sampling.py.
GENERATION_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0.0, 1e9),
    "top_k": (0, 2**31 - 1),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (1e-3, 1e3),
}
TOKEN_ID_NAMES = ("bos_id", "eos_id", "unk_id", "pad_id")

_FILE_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", re.ASCII)
_FIELDS = frozenset(
    {
        "format_version",
        "config",
        "tokenizer",
        "chat_template",
        "generation",
        "licence",
        "provenance",
        "shards",
        "tensors",
    }
)


@dataclass(frozen=True)
class ShardEntry:
    """One weights file of the folder."""

    file: str
    nbytes: int
    sha256: str


@dataclass(frozen=True)
class TensorEntry:
    """One tensor: format name (a key of quant.FORMATS), shape in NumPy order, where its planes lie."""

    format: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    nbytes: int
    sha256: str

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """(rows, columns); a vector is one row."""
        return matrix_shape(self.shape)

    def planes(self) -> list[PlaneRange]:
        """The tensor's planes, offsets from its own start."""
        return layout(self.format, *self.matrix_shape)


@dataclass(frozen=True)
class Provenance:
    """Which file or folder the model was made from, by which version of the importer, and how.

    `recipe` is "none" if the weights are those of the source, else the preset and rules that quantised them; then,
    after "; source: ", which of the source's tensors had a type that is kept in another format. `origin` is where the
    source can be found again: the name that the Hugging Face hub has for it, with the commit
    (`hf:owner/repo@commit[:file]`), or, of imports in the cache only, its path; None if neither is known.
    """

    source_file: str
    source_nbytes: int
    source_sha256: str
    importer_version: int
    recipe: str = "none"
    origin: str | None = None


@dataclass(frozen=True)
class Manifest:
    """A model folder's contents.

    Attributes:
        tokenizer: None for a model without; else the dict that `text.gguf_tokenizer.export_tokenizer` made.
        chat_template: Jinja source; None for a base model.
        generation: the model's own defaults, keys out of `GENERATION_RANGES`.
        licence: as the source names it.
        tensors: by Hugging Face name.
    """

    config: ModelConfig
    provenance: Provenance
    shards: tuple[ShardEntry, ...]
    tensors: Mapping[str, TensorEntry]
    tokenizer: dict[str, Any] | None = None
    chat_template: str | None = None
    generation: dict[str, float] = field(default_factory=dict)
    licence: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The plain dict that the file holds."""
        return {
            "format_version": FORMAT_VERSION,
            "config": self.config.to_json(),
            "tokenizer": self.tokenizer,
            "chat_template": self.chat_template,
            "generation": self.generation,
            "licence": self.licence,
            "provenance": asdict(self.provenance),
            "shards": [asdict(shard) for shard in self.shards],
            "tensors": {name: asdict(tensor) for name, tensor in self.tensors.items()},
        }


def encode(manifest: Manifest) -> bytes:
    """The file's bytes: JSON, UTF-8."""
    return json.dumps(manifest.to_json(), indent=1).encode("utf-8")


def load(path: Path) -> Manifest:
    """Read and check a manifest.json.

    Raises:
        ModelNotFoundError: no such file.
        InvalidFileError: unreadable, damaged or inconsistent.
        UnsupportedModelError: a newer format version, or an architecture or weight format that is not supported.
    """
    where = f"{path.parent.name}/{path.name}"
    try:
        raw = read_at_most(path, MAX_NBYTES)
    except FileNotFoundError:
        raise ModelNotFoundError(f"no {FILE_NAME} in {path.parent}", hint="give a folder made by fastgo") from None
    except OSError as error:
        raise InvalidFileError(f"can't read {path}: {error.strerror}", hint="check its permissions") from None
    if len(raw) > MAX_NBYTES:
        raise InvalidFileError(f"{where} has more than {MAX_NBYTES} bytes", hint=DAMAGED_HINT)
    return decode(raw, where)


def decode(raw: bytes, where: str) -> Manifest:
    """The manifest that `raw` holds. Raises as `load`; messages start with `where`."""
    data = parse_object(raw, where)
    version = Fields(data, where).integer("format_version")
    if version != FORMAT_VERSION:
        raise UnsupportedModelError(
            f"{where} has format version {version}, expected {FORMAT_VERSION}",
            hint="update fastgo" if version > FORMAT_VERSION else "import the model again",
        )
    fields = Fields(data, where, _FIELDS)
    config = checked_config(data["config"], f"{where}: config")
    shards = tuple(
        _read_shard(item, f"{where}: shard {index}") for index, item in enumerate(fields.items("shards", MAX_SHARDS))
    )
    if len({shard.file for shard in shards}) != len(shards):
        fields.fail("two shards have the same file")
    tensors = {
        name: _read_tensor(item, f"{where}: tensor {name[:80]!r}", shards)
        for name, item in Fields(data["tensors"], f"{where}: tensors").data.items()
    }
    _check_tensors(tensors, where)
    return Manifest(
        config=config,
        provenance=_read_provenance(data["provenance"], f"{where}: provenance"),
        shards=shards,
        tensors=tensors,
        tokenizer=checked_tokenizer(data["tokenizer"], config, f"{where}: tokenizer"),
        chat_template=fields.optional_text("chat_template"),
        generation=_read_generation(data["generation"], f"{where}: generation"),
        licence=fields.optional_text("licence"),
    )


def check_file_name(name: str, where: str) -> str:
    """`name` if it is one plain file name, with no separator and not hidden; else InvalidFileError."""
    if not _FILE_NAME_PATTERN.fullmatch(name) or name == FILE_NAME:
        raise InvalidFileError(f"{where}: {name[:80]!r} is not a plain file name", hint=DAMAGED_HINT)
    return name


def checked_tokenizer(data: Any, config: ModelConfig, where: str) -> dict[str, Any] | None:
    """A tokenizer's info dict with sound kind, file names and token ids inside the vocabulary; None stays None."""
    if data is None:
        return None
    fields = Fields(data, where)
    fields.text("kind", MAX_NAME_CHARACTERS)
    for name in fields.items("files", 64):
        if type(name) is not str:
            fields.fail("'files' holds something else than file names")
        check_file_name(name, where)
    if "sha256" in data:
        hashes = fields.items("sha256", 64)
        if len(hashes) != len(data["files"]):
            fields.fail(f"'sha256' has {len(hashes)} entries, 'files' {len(data['files'])}")
        for value in hashes:
            Fields({"sha256": value}, where).sha256("sha256")
    if "special" in data and data["special"] not in data["files"]:
        fields.fail(f"'special' is {str(data['special'])[:80]!r}, which is none of 'files'")
    for name in TOKEN_ID_NAMES:
        fields.optional_integer(name, 0, config.vocab_size - 1)
    if "eos_ids" in data:
        fields.integers("eos_ids", 0, config.vocab_size - 1)
    if "add_bos" in data:
        fields.boolean("add_bos")
    return fields.data


def _read_shard(data: Any, where: str) -> ShardEntry:
    fields = Fields(data, where, frozenset({"file", "nbytes", "sha256"}))
    return ShardEntry(check_file_name(fields.text("file"), where), fields.integer("nbytes"), fields.sha256("sha256"))


def _read_tensor(data: Any, where: str, shards: tuple[ShardEntry, ...]) -> TensorEntry:
    fields = Fields(data, where, frozenset({"format", "shape", "shard", "offset", "nbytes", "sha256"}))
    fmt = get_format(fields.text("format"))
    shape = tuple(fields.integers("shape", low=1, max_items=MAX_TENSOR_DIMENSIONS))
    if not shape or shape[-1] % fmt.block_size:
        fields.fail(f"shape {list(shape)} does not suit format {fmt.name}, whose blocks have {fmt.block_size}")
    shard = fields.integer("shard", 0, len(shards) - 1)
    offset, nbytes = fields.integer("offset"), fields.integer("nbytes")
    expected = total_nbytes(fmt, *matrix_shape(shape))
    if nbytes != expected:
        fields.fail(f"'nbytes' is {nbytes}, {fmt.name} of shape {list(shape)} needs {expected}")
    if offset % PLANE_ALIGNMENT:
        fields.fail(f"'offset' is {offset}, expected a multiple of {PLANE_ALIGNMENT}")
    if offset + nbytes > shards[shard].nbytes:
        fields.fail(f"it ends at byte {offset + nbytes} of shard {shard}, which has {shards[shard].nbytes}")
    return TensorEntry(fmt.name, shape, shard, offset, nbytes, fields.sha256("sha256"))


def _check_tensors(tensors: Mapping[str, TensorEntry], where: str) -> None:
    for name in tensors:
        if not 0 < len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
            raise InvalidFileError(f"{where}: {name[:80]!r} can't be a tensor's name", hint=DAMAGED_HINT)
    ordered = sorted(tensors.items(), key=lambda item: (item[1].shard, item[1].offset))
    for (first, before), (second, after) in itertools.pairwise(ordered):
        if before.shard == after.shard and before.offset + before.nbytes > after.offset:
            raise InvalidFileError(f"{where}: tensors {first!r} and {second!r} overlap", hint=DAMAGED_HINT)


def _read_provenance(data: Any, where: str) -> Provenance:
    names = frozenset({"source_file", "source_nbytes", "source_sha256", "importer_version", "recipe"})
    fields = Fields(data, where)
    fields = Fields({"origin": None} | fields.data, where, names | {"origin"})  # folders made before had none
    return Provenance(
        fields.text("source_file", 4096),
        fields.integer("source_nbytes"),
        fields.sha256("source_sha256"),
        fields.integer("importer_version"),
        fields.text("recipe", 1 << 16),
        fields.optional_text("origin", 4096),
    )


def sound_generation(values: Mapping[str, Any]) -> dict[str, float]:
    """Those of a model's own sampling defaults that are numbers and make sense."""
    return {
        name: float(values[name])
        for name, (low, high) in GENERATION_RANGES.items()
        if type(values.get(name)) in (int, float) and low <= values[name] <= high
    }


def _read_generation(data: Any, where: str) -> dict[str, float]:
    fields = Fields(data, where)
    for name in fields.data:
        if name not in GENERATION_RANGES:
            fields.fail(f"unknown field {name[:80]!r}")
        low, high = GENERATION_RANGES[name]
        if not low <= fields.number(name) <= high:
            fields.fail(f"{name!r} is {fields.number(name):g}, expected a number from {low:g} to {high:g}")
    return {name: fields.number(name) for name in fields.data}
