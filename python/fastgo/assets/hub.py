"""Downloads from the Hugging Face hub by its own library: resumed, into the cache that all its users share.

HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE, HF_HOME and the rest work as that library documents them. Owns the translation of
its failures into ours, one line each, and the check of what came against the hub's SHA-256.

Units: bytes.
"""

from __future__ import annotations

import errno
import fnmatch
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from fastgo.assets import storage
from fastgo.assets.gguf_parts import part_paths
from fastgo.assets.hf_folder import is_hf_folder
from fastgo.assets.hub_catalog import HubModel
from fastgo.assets.storage import Progress
from fastgo.errors import CacheError, DownloadError, FastgoError, InvalidFileError, ModelNotFoundError

if TYPE_CHECKING:
    from types import ModuleType

_FOLDER_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "README.md", "LICENSE*", "NOTICE*", "USE_POLICY*"]
# Folders hold the same weights for other programs; so does Mistral's consolidated file.
_OTHER_FILES = ["*/*", "consolidated*", "adapter_*"]
_GGUF_SHOWN = 8
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Download:
    """What came: the GGUF file or the Hugging Face folder, and the model with the commit as its revision."""

    path: Path
    model: HubModel


def download(model: HubModel, progress: Progress | None = None) -> Download:
    """Fetch what is not in the hub's cache yet; offline, find it there.

    Raises:
        DownloadError: the library is missing, no network, no access (the message says where to ask for it).
        ModelNotFoundError: no such repository, revision or file.
        CacheError: the disk is full or can't be written.
    """
    library = _library()
    with _hub_errors(model, library):
        snapshot = Path(
            library.snapshot_download(
                model.repository,
                revision=model.revision,
                allow_patterns=[model.file] if model.file else _FOLDER_FILES,
                ignore_patterns=None if model.file else _OTHER_FILES,
                tqdm_class=_progress_bar(library, progress, f"downloading {model.name}"),
            )
        )
    found = replace(model, revision=snapshot.name)
    if model.file:
        return Download(_matching_file(snapshot, model), found)
    if not is_hf_folder(snapshot) or not any(snapshot.glob("*.safetensors")):
        raise ModelNotFoundError(f"{model} has no config.json with safetensors", hint=_file_hint(model, library))
    return Download(snapshot, found)


def check(found: Download, progress: Progress | None = None) -> None:
    """Hash the downloaded weights. The hub's cache names large files by their SHA-256.

    Raises InvalidFileError on the first that differs; it is removed, so that it is downloaded again.
    """
    for path in sorted(found.path.iterdir()) if found.path.is_dir() else part_paths(found.path):
        blob = path.resolve()
        known = found.model.sha256 or (blob.name if _SHA256.fullmatch(blob.name) else None)
        if known and storage.file_sha256(path, progress) != known:
            with storage.storage_errors(f"remove {path}"):
                blob.unlink()
                path.unlink(missing_ok=True)
            raise InvalidFileError(
                f"{path.name} of {found.model} differs from its SHA-256, {known[:12]}...",
                hint="it was removed: pull the model again",
            )


def _library() -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError:
        raise DownloadError("huggingface_hub is not installed", hint='pip install "fastgo[hub]"') from None
    # Its retries and hints would stand between our lines.
    huggingface_hub.utils.logging.set_verbosity(logging.ERROR)
    return huggingface_hub


def _matching_file(snapshot: Path, model: HubModel) -> Path:
    """The first file that matches; of a split model the first part."""
    files = (path for path in snapshot.rglob("*") if path.is_file())
    wanted = sorted(
        path for path in files if fnmatch.fnmatchcase(path.relative_to(snapshot).as_posix(), model.file or "")
    )
    if not wanted:
        raise ModelNotFoundError(
            f"{model.repository} has no file {model.file} at revision {model.revision}",
            hint=f"https://huggingface.co/{model.repository}/tree/{model.revision} lists its files",
        )
    return wanted[0]


def _file_hint(model: HubModel, library: ModuleType) -> str:
    """Which GGUF files the repository has instead; nothing but a hint, so any failure leaves it general."""
    try:
        names = library.HfApi().list_repo_files(model.repository, revision=model.revision)
    except Exception:
        names = []
    files = sorted(name for name in names if name.endswith(".gguf"))
    if not files:
        return "give the repository of a model in safetensors, or one with GGUF files"
    more = f" and {len(files) - _GGUF_SHOWN} more" if len(files) > _GGUF_SHOWN else ""
    return f"give one of its GGUF files, {model}:{files[0]}; it has {', '.join(files[:_GGUF_SHOWN])}{more}"


@contextmanager
def _hub_errors(model: HubModel, library: ModuleType) -> Iterator[None]:
    """Turns whatever the library raises into one of our errors.

    Its transport's exceptions are of another class in each of its major versions, hence the wide net.
    """
    try:
        yield
    except Exception as error:
        raise _translated(error, model, library) from None


def _translated(error: Exception, model: HubModel, library: ModuleType) -> FastgoError:
    errors = library.errors
    page = f"https://huggingface.co/{model.repository}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError) or (status == 403 and not isinstance(error, errors.DisabledRepoError)):
        return DownloadError(
            f"no access to {model.repository}: its licence must be accepted first",
            hint=f"accept it at {page}, make a token at https://huggingface.co/settings/tokens, "
            "then set HF_TOKEN to it or run `hf auth login`",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelNotFoundError(f"{model.repository} has no revision {model.revision}", hint=f"see {page}")
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelNotFoundError(
            f"no repository {model.repository} on the hub, or it is private",
            hint="check the name; set HF_TOKEN if it is private",
        )
    if status == 401:
        return DownloadError(
            f"the hub refuses the token for {model.repository}",
            hint="set HF_TOKEN to a valid one, or run `hf auth login`",
        )
    if status == 404:
        return ModelNotFoundError(f"the hub lacks a file of {model}", hint=f"see {page}")
    if status is not None:
        return DownloadError(f"the hub answers {status} for {model.repository}", hint="try again later")
    if isinstance(error, (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)):
        return _unreachable(error, model, library)
    if isinstance(error, OSError) and error.errno in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
    ):
        return CacheError(
            f"can't write what is downloaded: {(error.strerror or str(error)).lower()}",
            hint="free some disk space, or set HF_HOME to a folder on another disk that you can write",
        )
    return DownloadError(
        f"the download of {model.repository} failed: {_one_line(error)}",
        hint="pull again: whole files that came are kept",
    )


def _unreachable(error: Exception, model: HubModel, library: ModuleType) -> FastgoError:
    if library.constants.HF_HUB_OFFLINE:
        return DownloadError(
            f"{model.repository} is not in the hub's cache, and HF_HUB_OFFLINE is set", hint="unset it to download"
        )
    cause = error.__cause__ or error
    return DownloadError(
        f"can't reach {library.constants.ENDPOINT} for {model.repository}: {_one_line(cause)}",
        hint="check the network, or HF_ENDPOINT if it is set",
    )


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


def _progress_bar(library: ModuleType, progress: Progress | None, what: str) -> type[Any]:
    """A class that the library takes for its own bars, and that shows nothing but reports bytes to `progress`."""
    lock = Lock()

    class Bar(library.utils.tqdm):  # type: ignore[misc,name-defined]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            options.pop("name", None)
            self.counts_bytes = options.get("unit") == "B"
            super().__init__(*arguments, **(options | {"disable": True}))

        def update(self, n: float | None = 1) -> None:
            with lock:  # files come in several threads
                self.n += n or 0
                if progress and self.counts_bytes and self.total:
                    progress(int(min(self.n, self.total)), int(self.total), what)

    return Bar
