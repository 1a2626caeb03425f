"""Where the settings look for files: data has to outlive the release, all else has to be in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.db import connections

from .release import is_in_release

REMEDY = "Keep it in the folder that the environment variable DJANGO_DEPLOY_SHARED names."


def misplaced_databases() -> list[str]:
    """SQLite files that the release would make for itself alone; a sentence for each.

    One that is there already came with the release, to be read: that is the project's intention.
    """
    return [
        f"The database {alias!r} would be {file}, inside of the release: the next release would begin"
        f" with an empty one. {REMEDY}"
        for alias, file in _sqlite_files()
        if is_in_release(file) and not file.exists()
    ]


def misplaced_media() -> list[str]:
    """MEDIA_ROOT, when uploads would be left behind with the release; none or one sentence."""
    if not settings.MEDIA_ROOT or not is_in_release(Path(settings.MEDIA_ROOT)):
        return []
    root = settings.MEDIA_ROOT
    return [f"MEDIA_ROOT is {root}, inside of the release: the next one would not have its files. {REMEDY}"]


def missing_folders() -> list[str]:
    """Folders of the settings that should be in the release and are not; a sentence for each.

    Those beside ``manage.py`` belong to no package, so no wheel has them; on the developer's machine BASE_DIR
    leads to them. Django's own checks say so of STATICFILES_DIRS.
    """
    named = [("TEMPLATES", folder) for engine in settings.TEMPLATES for folder in engine.get("DIRS", ())]
    named += [
        (name, folder) for name in ("LOCALE_PATHS", "FIXTURE_DIRS") for folder in getattr(settings, name)
    ]
    return [
        f"{setting} names {folder}, which is not in the release: of the project, only its packages are."
        for setting, folder in named
        if is_in_release(Path(folder)) and not Path(folder).is_dir()
    ]


def _sqlite_files() -> Iterator[tuple[str, Path]]:
    """Databases with a file of their own; a relative path counts from where the site starts."""
    for alias in connections:
        name = str(connections[alias].settings_dict["NAME"] or "")
        if connections[alias].vendor == "sqlite" and name and not name.startswith((":memory:", "file:")):
            yield alias, Path(name).absolute()
