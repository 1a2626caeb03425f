"""The site's data has to outlive a release: finds what the settings would keep inside of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.db import connections

REMEDY = "Keep it in the folder that the environment variable DJANGO_DEPLOY_SHARED names."


def misplaced_databases() -> list[str]:
    """SQLite files that the release would make for itself alone; a sentence for each.

    One that is there already came with the release, to be read: that is the project's intention.
    """
    return [
        f"The database {alias!r} would be {file}, inside of the release: the next release would begin"
        f" with an empty one. {REMEDY}"
        for alias, file in _sqlite_files()
        if _is_in_release(file) and not file.exists()
    ]


def misplaced_media() -> list[str]:
    """MEDIA_ROOT, when uploads would be left behind with the release; none or one sentence."""
    if not settings.MEDIA_ROOT or not _is_in_release(Path(settings.MEDIA_ROOT)):
        return []
    root = settings.MEDIA_ROOT
    return [f"MEDIA_ROOT is {root}, inside of the release: the next one would not have its files. {REMEDY}"]


def _sqlite_files() -> Iterator[tuple[str, Path]]:
    """Databases with a file of their own; a relative path counts from where the site starts."""
    for alias in connections:
        name = str(connections[alias].settings_dict["NAME"] or "")
        if connections[alias].vendor == "sqlite" and name and not name.startswith((":memory:", "file:")):
            yield alias, Path(name).absolute()


def _is_in_release(path: Path) -> bool:
    folder = os.environ.get("DJANGO_DEPLOY_RELEASE_DIR")
    return bool(folder) and path.resolve().is_relative_to(Path(str(folder)).resolve())
