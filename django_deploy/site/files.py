"""Where the settings look for files: data has to outlive the release, all else has to be in it."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.core.cache.backends.filebased import FileBasedCache
from django.db import connections
from django.utils.module_loading import import_string

from .databases import sqlite_file
from .release import is_in_release


@dataclass(frozen=True)
class Misplaced:
    """A setting by which the site would write inside of its release, or nowhere: then ``path`` is None.

    ``setting`` is as Python writes it (``DATABASES["default"]["NAME"]``), ``loss`` is what would come of
    it. ``variable`` is the environment variable that fixes it and ``instead`` its value; ``lines`` are for
    the settings module, where it takes others.
    """

    setting: str
    path: Path | None
    loss: str
    variable: str
    instead: str
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.path is None:
            return f"{self.setting} is not set: {self.loss}"
        return f"{self.setting} is {self.path}, inside of the release: {self.loss}"

    def settings_lines(self) -> tuple[str, ...]:
        """What makes the settings read the variable, with the present value where it is missing."""
        own = f'{self.setting} = os.environ.get("{self.variable}", {self.setting})'
        return self.lines or (own,)


def misplaced_files(commands: Collection[str] = ()) -> list[Misplaced]:
    """Every setting by which the site would write inside of its release, which ends with the next one.

    ``commands`` are those of the steps: ``collectstatic`` needs a place, too.
    """
    data = [*_databases(), *_media(), *_caches(), *_sessions(), *_mails()]
    found = [*data, *_static_files(commands), *_logs()]
    return list(_apart(item for item in found if item.path is None or is_in_release(item.path)))


def _apart(found: Iterable[Misplaced]) -> Iterator[Misplaced]:
    """Two files of one name, from two folders, shall not become one in the shared folder."""
    taken: dict[str, Path | None] = {}
    for item in found:
        if taken.setdefault(item.instead, item.path) == item.path:
            yield item
        else:
            folder, name = os.path.split(item.instead)
            yield replace(item, instead=os.path.join(folder, f"{item.variable.lower()}-{name}"))


def describe_misplaced(found: list[Misplaced]) -> list[str]:
    """What is wrong, a line for each, and then the lines that fix it all."""
    if not found:
        return []
    lines = [line for item in found for line in item.settings_lines()]
    text = [*map(str, found), f"  At the end of {settings.SETTINGS_MODULE}:"]
    if not hasattr(sys.modules.get(settings.SETTINGS_MODULE or ""), "os"):
        text.append("    import os")
    text += (f"    {line}" for line in dict.fromkeys(lines))
    values = [f'    "{item.variable}": "{item.instead}",' for item in found if not item.lines]
    return [*text, "  In the target's ENV:", *values] if values else text


def missing_folders() -> list[str]:
    """Folders of the settings that should be in the release and are not; a sentence for each.

    On the developer's machine BASE_DIR leads to them. Django's own checks say so of STATICFILES_DIRS.
    """
    named = [("TEMPLATES", folder) for engine in settings.TEMPLATES for folder in engine.get("DIRS", ())]
    named += [
        (name, folder) for name in ("LOCALE_PATHS", "FIXTURE_DIRS") for folder in getattr(settings, name)
    ]
    is_plain = Path(sys.prefix, "app", "manage.py").is_file()
    reason = (
        "where you deploy from it is missing or empty, left out (PROJECT_EXCLUDE), or too far from manage.py."
        if is_plain
        else "of the project, only its packages are."
    )
    return [
        f"{setting} names {folder}, which is not in the release: {reason}"
        for setting, folder in named
        if is_in_release(Path(folder)) and not Path(folder).is_dir()
    ]


def _in_shared(name: str) -> str:
    return os.path.join(os.environ.get("DJANGO_DEPLOY_SHARED", ""), name)


def _variable(*words: str) -> str:
    return re.sub(r"\W+", "_", "_".join(words)).upper()


def _databases() -> Iterator[Misplaced]:
    """SQLite files, but for those that came with the release, to be read."""
    for alias in connections:
        file = sqlite_file(connections[alias])
        if file is not None and is_in_release(file) and not _came_with_the_release(file):
            loss = "the next release would begin with an empty one."
            setting = f'DATABASES["{alias}"]["NAME"]'
            yield Misplaced(setting, file, loss, _variable("DATABASE", alias), _in_shared(file.name))


def _came_with_the_release(file: Path) -> bool:
    """Whether a distribution brought it. That it exists is not enough: to connect is to make one."""
    if not file.is_file():
        return False
    for distribution in importlib.metadata.distributions():
        for name in distribution.files or ():
            if name.name == file.name and Path(str(name.locate())).resolve() == file.resolve():
                return True
    return False


def _media() -> Iterator[Misplaced]:
    loss = "the next one would not have its files."
    if settings.MEDIA_ROOT:
        folder = Path(settings.MEDIA_ROOT).absolute()
        yield Misplaced("MEDIA_ROOT", folder, loss, "MEDIA_ROOT", _in_shared(folder.name))
    for alias, entry in settings.STORAGES.items():
        location = entry.get("OPTIONS", {}).get("location")
        if location and alias != "staticfiles":
            setting = f'STORAGES["{alias}"]["OPTIONS"]["location"]'
            folder = Path(location).absolute()
            yield Misplaced(setting, folder, loss, _variable("STORAGE", alias), _in_shared(folder.name))


def _static_files(commands: Collection[str]) -> Iterator[Misplaced]:
    """STATIC_ROOT among the code, or not set, as in new projects. In the release's own folder it is right."""
    lines = (
        'if "DJANGO_DEPLOY_RELEASE_DIR" in os.environ:',
        '    STATIC_ROOT = os.path.join(os.environ["DJANGO_DEPLOY_RELEASE_DIR"], "static")',
    )
    if settings.STATIC_ROOT and _is_in_virtualenv(Path(settings.STATIC_ROOT)):
        loss = "among its code. There is a better place in it:"
        yield Misplaced("STATIC_ROOT", Path(settings.STATIC_ROOT).absolute(), loss, "", "", lines)
    is_needed = "collectstatic" in commands and apps.is_installed("django.contrib.staticfiles")
    if is_needed and not settings.STATIC_ROOT and _is_local_storage():
        loss = "collectstatic, one of the STEPS, has no place for its files."
        yield Misplaced("STATIC_ROOT", None, loss, "", "", lines)


def _is_local_storage() -> bool:
    """Whether static files are collected in a folder. Of a storage elsewhere nothing can be said."""
    with suppress(Exception):  # the system checks say what is wrong with it
        return issubclass(import_string(settings.STORAGES["staticfiles"]["BACKEND"]), StaticFilesStorage)
    return False


def _is_in_virtualenv(path: Path) -> bool:
    return path.resolve().is_relative_to(Path(sys.prefix).resolve())


def _logs() -> Iterator[Misplaced]:
    handlers = settings.LOGGING.get("handlers", {}) if settings.LOGGING_CONFIG else {}
    for name, handler in handlers.items():
        if handler.get("filename"):
            file = Path(handler["filename"]).absolute()
            setting = f'LOGGING["handlers"]["{name}"]["filename"]'
            loss = "it would end with the release."
            yield Misplaced(setting, file, loss, _variable("LOG", name), _in_shared(file.name))


def _caches() -> Iterator[Misplaced]:
    for alias, entry in settings.CACHES.items():
        if entry.get("LOCATION") and _is_file_based(entry.get("BACKEND", "")):
            folder = Path(entry["LOCATION"]).absolute()
            setting = f'CACHES["{alias}"]["LOCATION"]'
            loss = "the next one would begin with an empty one."
            yield Misplaced(setting, folder, loss, _variable("CACHE", alias), _in_shared(folder.name))


def _is_file_based(backend: str) -> bool:
    with suppress(Exception):  # a module of somebody else's; the system checks say what is wrong with it
        found = import_string(backend)
        return isinstance(found, type) and issubclass(found, FileBasedCache)
    return False


def _sessions() -> Iterator[Misplaced]:
    if settings.SESSION_ENGINE == "django.contrib.sessions.backends.file" and settings.SESSION_FILE_PATH:
        folder = Path(settings.SESSION_FILE_PATH).absolute()
        loss = "with the next one everybody would be logged out."
        # This one Django does not make.
        yield Misplaced("SESSION_FILE_PATH", folder, loss, "SESSION_FILE_PATH", _in_shared("").rstrip("/"))


def _mails() -> Iterator[Misplaced]:
    is_file_based = settings.EMAIL_BACKEND == "django.core.mail.backends.filebased.EmailBackend"
    if is_file_based and (path := getattr(settings, "EMAIL_FILE_PATH", None)):
        folder = Path(path).absolute()
        loss = "the mails would end with the release."
        yield Misplaced("EMAIL_FILE_PATH", folder, loss, "EMAIL_FILE_PATH", _in_shared(folder.name))
