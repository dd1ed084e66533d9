"""`fastgo pull`: a model of the hub becomes an import in our cache, which its names find from then on."""

from __future__ import annotations

from fastgo.assets import hub, hub_catalog, repository
from fastgo.assets.model_folder import ModelFolder
from fastgo.assets.storage import Progress
from fastgo.errors import ModelNotFoundError


def pull(name: str, progress: Progress | None = None) -> ModelFolder:
    """Download and import the model of a short name or `hf:owner/repo[@revision][:file]`, unless that was done before.

    Raises:
        ModelNotFoundError: an unknown name, or the hub has no such model.
        DownloadError, CacheError, UsageError: as `hub.download` and `hub_catalog.parse`.
        InvalidFileError, UnsupportedModelError: the model is damaged or not supported.
    """
    model = hub_catalog.find(name)
    if model is None:
        raise ModelNotFoundError(
            f"no model {name[:200]!r} in the catalogue",
            hint=f"give hf:owner/repo, or one of {', '.join(hub_catalog.BY_NAME)}",
        )
    found = hub.download(model, progress)
    # The commit's name is noted too: what it stands for never changes, so it is neither hashed nor imported again.
    folder = repository.open_named(str(found.model))
    if folder is None:
        hub.check(found, progress)
        folder = repository.import_named(found.path, found.model.name, str(found.model), progress)
    repository.note_name(str(model), folder)
    return folder
