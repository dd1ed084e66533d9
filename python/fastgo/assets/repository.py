"""The cache of imported models, and how a name or path becomes a model folder.

    <cache>/models/<key>/      an imported model; the key stands for the source's content and the importer's version
    <cache>/sources/<print>    SHA-256 of a source file that was hashed before; the print is of size, time and samples
    <cache>/names/<digest>     SHA-256 of the source that a name of the Hugging Face hub stood for when it was pulled
    <cache>/pulled/<digest>    SHA-256 of what a commit of the hub had when it was first pulled; it outlives the import
    <cache>/locks/<key>        held by the process that imports that model; others wait
    <cache>/used/<key>         its time is when that model was last opened, give or take an hour

Whether a file was imported before is known from its size, time and some samples: no gigabytes are read on a start. A
file that was only copied or touched is hashed again and finds the same import. What only an import needs is loaded by
it: a start shall not wait for it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fastgo import switches
from fastgo.assets import catalog, hub_catalog, storage
from fastgo.assets.gguf_parts import part_paths, parts_fingerprint, parts_sha256
from fastgo.assets.hf_folder import is_hf_folder
from fastgo.assets.manifest import FILE_NAME, IMPORTER_VERSION
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.new_folder import TEMPORARY_MARK, WORK_MARK
from fastgo.assets.storage import Progress
from fastgo.errors import FastgoError, InvalidFileError, ModelNotFoundError

_USE_RESOLUTION_SECONDS = 3600
_SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class _Label:
    """What a manifest says of an import beside its content: as `import_model` has it."""

    name: str | None = None
    origin: str | None = None


_NO_LABEL = _Label()


def cache_dir() -> Path:
    """The cache's folder: FASTGO_CACHE_DIR, else the user's cache folder of the platform. It may not exist yet."""
    configured = switches.value("FASTGO_CACHE_DIR")
    if configured:
        return Path(configured).expanduser().absolute()
    import platformdirs

    return platformdirs.user_cache_path("fastgo")


def open_model(name_or_path: str | Path, progress: Progress | None = None) -> ModelFolder:
    """Resolve a catalogue name, a folder, a .gguf file, or the name of a pulled or imported model, and open it.

    A GGUF file or Hugging Face folder is imported into the cache on first use; a damaged import is made again.

    Raises:
        ModelNotFoundError: nothing under that name; the message lists the known ones.
        InvalidFileError, UnsupportedModelError: the file or folder is damaged or not supported.
        CacheError: the cache can't be written.
    """
    text = str(name_or_path)
    if not isinstance(name_or_path, Path) and (model := _open_known(text, progress)):
        return model
    try:
        path = Path(text).expanduser()
        is_folder, is_there = path.is_dir(), path.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelNotFoundError(
            f"can't look at {text[:200]!r}: {str(error)[:100]}", hint="check the name or path"
        ) from None
    if is_folder:
        is_plain = (path / FILE_NAME).exists() or not is_hf_folder(path)
        return ModelFolder.open(path) if is_plain else _open_hf_folder(path, progress)
    if is_there:
        return _open_gguf(path, progress)
    for imported in list_models():
        if text in (imported.name, imported.path.name):
            _note_use(imported.path.name)
            return imported
    if hub_catalog.find(text):
        raise ModelNotFoundError(f"model {text!r} is not here yet", hint=f"fastgo pull {text}")
    kind = "file" if os.sep in text or path.suffix else "model"
    raise ModelNotFoundError(
        f"no such {kind}: {text[:200]!r}", hint=f"give a .gguf file, a fastgo folder, or one of {catalog.KNOWN_NAMES}"
    )


def list_models() -> list[ModelFolder]:
    """The sound imports in the cache by name, of one name those of older importers last. Raises CacheError."""
    models = []
    folder = cache_dir() / "models"
    with storage.storage_errors(f"read {folder}"):
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
    for path in paths:
        if path.name.startswith(".") or not (path / FILE_NAME).exists():
            continue
        try:
            models.append(ModelFolder.open(path))
        except FastgoError:
            continue
    return sorted(models, key=lambda model: (model.name, not is_current(model.path)))


def is_current(path: Path) -> bool:
    """Whether a folder of the cache is the work of this importer."""
    return path.name.endswith(f".{IMPORTER_VERSION}")


def open_named(hub_name: str) -> ModelFolder | None:
    """The import of what `hub_name` stood for when it was pulled, if it is here and sound."""
    sha256 = _read_record(_name_record(hub_name))
    return _open_import(_key(sha256)) if sha256 else None


def import_named(path: Path, name: str, hub_name: str, progress: Progress | None = None) -> ModelFolder:
    """Import a GGUF file, or a Hugging Face folder that is called `name`, and note that `hub_name` stands for it.

    Raises as `open_model`; InvalidFileError if that commit had something else before.
    """
    if path.is_dir():
        model = _open_hf_folder(path, progress, _Label(name, hub_name))
    else:
        model = _open_gguf(path, progress, _Label(name, hub_name))
    note_name(hub_name, model)
    return model


def note_name(hub_name: str, model: ModelFolder) -> None:
    """From now on `hub_name` stands for that import. Raises CacheError."""
    _write_record(_name_record(hub_name), model.manifest.provenance.source_sha256)


def _check_first_pull(hub_name: str, sha256: str) -> None:
    """Holds a commit of the hub to what it had before; nothing else here knows its hash. Raises InvalidFileError."""
    digest = hashlib.sha256(f"{hub_name} {IMPORTER_VERSION}".encode()).hexdigest()  # what is hashed may change
    record = cache_dir() / "pulled" / digest
    known = _read_record(record)
    if known is None:
        _write_record(record, sha256)
    elif known != sha256:
        raise InvalidFileError(
            f"{hub_name} has SHA-256 {sha256[:12]}..., it had {known[:12]}... when it was first pulled",
            hint=f"a commit never changes: do not trust it, or remove {record}",
        )


def _name_record(hub_name: str) -> Path:
    return cache_dir() / "names" / hashlib.sha256(hub_name.encode()).hexdigest()


def _open_known(name: str, progress: Progress | None) -> ModelFolder | None:
    """What a name of either catalogue stands for: what was pulled, else what an installed package has."""
    hub_model = hub_catalog.find(name)
    model = open_named(str(hub_model)) if hub_model else None
    entry = catalog.BY_NAME.get(name.lower())
    if model is not None or entry is None:
        return model
    return _open_catalogued(entry, progress)


def _open_catalogued(entry: catalog.CatalogEntry, progress: Progress | None) -> ModelFolder:
    model = _open_import(_key(entry.sha256))
    if model is not None:
        return model
    if entry.file is not None:
        return _open_gguf(catalog.gguf_source(entry, cache_dir()), progress)
    return _import_once(entry.sha256, lambda scratch: catalog.gguf_source(entry, scratch), progress)


def _open_gguf(path: Path, progress: Progress | None, label: _Label = _NO_LABEL) -> ModelFolder:
    parts = part_paths(path)
    return _open_source(path, lambda: parts_fingerprint(parts), lambda: parts_sha256(parts, progress), progress, label)


def _open_hf_folder(path: Path, progress: Progress | None, label: _Label = _NO_LABEL) -> ModelFolder:
    from fastgo.assets.hf_source import open_hf_source

    source = open_hf_source(path)
    return _open_source(
        path,
        lambda: hashlib.sha256(source.fingerprint().encode()).hexdigest(),
        lambda: source.sha256(progress),
        progress,
        label,
    )


def _open_source(
    path: Path,
    fingerprint: Callable[[], str],
    find_sha256: Callable[[], str],
    progress: Progress | None,
    label: _Label,
) -> ModelFolder:
    try:
        record = cache_dir() / "sources" / fingerprint()
        sha256 = _read_record(record)
        is_known = sha256 is not None
        sha256 = sha256 or find_sha256()
    except OSError as error:
        raise InvalidFileError(f"can't read {path}: {error.strerror}", hint="check its permissions") from None
    if label.origin:
        _check_first_pull(label.origin, sha256)
    model = _open_import(_key(sha256)) if is_known else None
    if model is not None:
        return model
    label = _Label(label.name, label.origin or str(path.absolute()))
    model = _import_once(sha256, lambda _: path, progress, label)
    _write_record(record, sha256)
    return model


def _key(sha256: str) -> str:
    return f"{sha256[:32]}.{IMPORTER_VERSION}"


def _open_import(key: str) -> ModelFolder | None:
    """The import under that key if it is there and sound."""
    try:
        model = ModelFolder.open(cache_dir() / "models" / key)
    except FastgoError:
        return None
    _note_use(key)
    return model


def used_path(key: str) -> Path:
    """The file whose time is that of the model's last use."""
    return cache_dir() / "used" / key


def stale_records() -> list[Path]:
    """Records of names, sources and uses whose import is gone. Raises OSError."""
    cache = cache_dir()
    keys = {path.name for path in (cache / "models").iterdir()} if (cache / "models").is_dir() else set()
    found = [path for path in (cache / "used").glob("*") if path.name not in keys]
    for path in (*(cache / "names").glob("*"), *(cache / "sources").glob("*")):
        if _key(_read_record(path) or "") not in keys:
            found.append(path)
    return found


def _note_use(key: str) -> None:
    path = used_path(key)
    with suppress(OSError):  # a cache that can only be read is fine
        if not path.exists() or time.time() - path.stat().st_mtime > _USE_RESOLUTION_SECONDS:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def _import_once(
    sha256: str, source: Callable[[Path], Path], progress: Progress | None, label: _Label = _NO_LABEL
) -> ModelFolder:
    """Import unless another process has done so or does so now. `source(scratch)` gives the file's or folder's path."""
    key = _key(sha256)
    cache = cache_dir()
    models, locks = cache / "models", cache / "locks"
    with storage.storage_errors(f"use the cache {cache}"):
        models.mkdir(parents=True, exist_ok=True)
        locks.mkdir(exist_ok=True)
    with storage.exclusive_lock(locks / key):
        model = _open_import(key)
        if model is not None:
            return model
        with storage.storage_errors(f"use the cache {cache}"):
            _remove_leftovers(models, locks, key)
            scratch = tempfile.TemporaryDirectory(prefix=f".{key}{TEMPORARY_MARK}", dir=models)
        from fastgo.assets.convert import import_model

        with scratch as folder:
            import_model(
                source(Path(folder)), models / key, progress, source_sha256=sha256, name=label.name, origin=label.origin
            )
        _note_use(key)
        return ModelFolder.open(models / key)


def _remove_leftovers(models: Path, locks: Path, own_key: str) -> None:
    """Remove what killed imports left: our key's (its lock is held), and others' whose lock is free. Raises OSError.

    A half-made folder of our own key stays: the import goes on from there.
    """
    if (models / own_key).exists():
        shutil.rmtree(models / own_key)
    for path in models.glob(f".*{TEMPORARY_MARK}*"):
        key = path.name[1:].split(TEMPORARY_MARK)[0]
        if key == own_key:
            if not path.name.endswith(WORK_MARK):
                shutil.rmtree(path, ignore_errors=True)
            continue
        with storage.exclusive_lock(locks / key, wait=False) as held:
            if held:
                shutil.rmtree(path, ignore_errors=True)


def _write_record(path: Path, sha256: str) -> None:
    with storage.storage_errors(f"write {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        storage.replace_durably(path, sha256.encode())


def _read_record(path: Path) -> str | None:
    """The SHA-256 that a record holds; None if it is absent or damaged: the source is hashed again then."""
    try:
        text = path.read_text("ascii")
    except (OSError, ValueError):
        return None
    return text if _SHA256_PATTERN.fullmatch(text) else None
