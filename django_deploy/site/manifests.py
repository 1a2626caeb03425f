"""A release's own ``staticfiles.json``, where releases collect static files into one folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import STATICFILES_STORAGE_ALIAS, settings
from django.contrib.staticfiles.storage import ManifestFilesMixin
from django.core.files.storage import FileSystemStorage, storages
from django.utils.module_loading import import_string

from .release import is_in_release

if TYPE_CHECKING:
    from django.core.files.base import File


class ReleaseManifest(FileSystemStorage):
    """Keeps the manifest in the release's folder, and in ``shared`` as Django does.

    ``shared`` is read where the release has none: its static files were collected elsewhere.
    """

    def __init__(self, folder: Path, shared: Any) -> None:
        super().__init__(location=folder)
        self.shared = shared
        self.own: Any = super()

    def _open(self, name: str, mode: str = "rb") -> Any:
        return (self.own if self.exists(name) else self.shared)._open(name, mode)

    def _save(self, name: str, content: File[Any]) -> Any:
        if self.shared.exists(name):
            self.shared.delete(name)
        self.shared._save(name, content)
        content.seek(0)
        return self.own._save(name, content)


def keep_manifest_in_release() -> None:
    """Have the storage of static files use the manifest of the release that this process runs from.

    Else a worker that is started again would read what the next release has called its files, or one that
    failed; or nothing, as the file is just being written. Where STATIC_ROOT is in the release, all is well.
    """
    folder = os.environ.get("DJANGO_DEPLOY_RELEASE_DIR")
    if not folder or not settings.STATIC_ROOT or is_in_release(Path(settings.STATIC_ROOT)):
        return
    storage = _manifest_storage()
    if storage is not None and storage.manifest_storage is storage:
        storage.manifest_storage = ReleaseManifest(Path(folder), storage)
        storage.hashed_files, storage.manifest_hash = storage.load_manifest()


def _manifest_storage() -> Any:
    """The storage of static files, when it keeps files and a manifest on this machine's disk."""
    all_storages: Any = storages
    try:
        kind = import_string(all_storages.backends[STATICFILES_STORAGE_ALIAS]["BACKEND"])
    except (ImportError, KeyError):
        return None  # Django says so, to whoever asks for it
    keeps_both = issubclass(kind, ManifestFilesMixin) and issubclass(kind, FileSystemStorage)
    return all_storages[STATICFILES_STORAGE_ALIAS] if keeps_both else None
