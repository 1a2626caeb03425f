"""Whether a release could serve, found out before it gets the chance.

Loads the root URLconf, the applications that servers load and every template, and runs Django's system
checks as ``check --deploy --database`` does. Imports first: a module that is missing from the release
is told as that, with the place, and not as whatever check stumbles over it. Data that would not outlive
the release is an error, too: that can be seen now, and else only when it is gone.
"""

from __future__ import annotations

import sysconfig
import traceback
from difflib import get_close_matches
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django
from django.apps import apps
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands
from django.db import connections
from django.template import TemplateSyntaxError, engines
from django.template.backends.django import DjangoTemplates
from django.urls import get_resolver
from django.utils.module_loading import import_string

from .files import describe_misplaced, misplaced_files, missing_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

#: Files in the folders of templates that Django is to understand; others may be anything.
TEMPLATES = (".html", ".htm", ".txt", ".xml")

#: By which SILENCED_SYSTEM_CHECKS knows what is said of templates.
TEMPLATE_ID = "deploy.W004"


def preflight(commands: Collection[str] = (), required: Collection[str] = ()) -> dict[str, Any]:
    """``errors`` stand in the way of serving, ``warnings`` do not; silenced checks are neither.

    ``templates`` are those that cannot be used. Whether one is used at all nobody knows, so who asks has to
    judge what they mean. ``commands`` are the names of those that will be run as steps, ``required`` those of
    them that are not left out where an app is missing.
    """
    errors, warnings = [*_key_troubles(), *_unknown_commands(required)], []
    if trouble := _trouble(f"ROOT_URLCONF {settings.ROOT_URLCONF!r}", _load_urls):
        errors.append(trouble)
    errors += _application_troubles()
    errors += describe_misplaced(misplaced_files(commands))
    warnings += missing_folders()
    if asgi_trouble := _unnamed_asgi_trouble():
        warnings.append(asgi_trouble)
    if not trouble:  # without addresses the system checks cannot run
        found_errors, found_warnings = _run_checks()
        errors += found_errors
        warnings += found_warnings
    templates = list(_template_troubles()) if TEMPLATE_ID not in settings.SILENCED_SYSTEM_CHECKS else []
    return {"ok": not errors, "errors": errors, "warnings": warnings, "templates": templates}


def _key_troubles() -> Iterator[str]:
    try:
        _ = settings.SECRET_KEY
    except ImproperlyConfigured:
        yield (
            "SECRET_KEY is empty. If it comes from a variable of the target's ENV: is that set where you"
            " deploy from?"
        )


def _unknown_commands(names: Iterable[str]) -> Iterator[str]:
    known = get_commands()
    for name in dict.fromkeys(names):
        if name not in known:
            near = "".join(f" Did you mean {match!r}?" for match in get_close_matches(name, known, n=1))
            yield f"STEPS: no app of the site has a command {name!r}.{near}"


def _load_urls() -> None:
    _ = get_resolver().url_patterns


def _application_troubles() -> list[str]:
    names = {name: getattr(settings, name, None) for name in ("WSGI_APPLICATION", "ASGI_APPLICATION")}
    troubles = [
        _trouble(f"{name} {path!r}", partial(import_string, path)) for name, path in names.items() if path
    ]
    return [trouble for trouble in troubles if trouble]


def _unnamed_asgi_trouble() -> str:
    """``startproject`` writes an ``asgi.py`` that no setting names, and many a site never serves it."""
    package = settings.SETTINGS_MODULE.rpartition(".")[0] if settings.SETTINGS_MODULE else ""
    if getattr(settings, "ASGI_APPLICATION", None) or not package or not find_spec(f"{package}.asgi"):
        return ""
    path = f"{package}.asgi.application"
    return _trouble(repr(path), partial(import_string, path))


def _template_troubles() -> Iterator[str]:
    """Templates that no page can be made of."""
    for engine in engines.all():
        if isinstance(engine, DjangoTemplates):
            for name in filter(_is_of_this_site, _template_names(engine)):
                try:
                    engine.get_template(name)
                except (TemplateSyntaxError, UnicodeDecodeError) as error:
                    yield f"({TEMPLATE_ID}) The template {name} cannot be used: {error}"


def _is_of_this_site(name: str) -> bool:
    """Our own pages of the admin use its tags, and are nothing without it."""
    return apps.is_installed("django.contrib.admin") or not name.startswith("admin/django_deploy/")


def _template_names(engine: DjangoTemplates) -> list[str]:
    """Each once, as they are asked for."""
    folders = [Path(folder) for folder in engine.template_dirs]
    files = ((folder, file) for folder in folders for file in folder.rglob("*") if file.suffix in TEMPLATES)
    return sorted({file.relative_to(folder).as_posix() for folder, file in files})


def _databases() -> list[str]:
    """Aliases of database servers; to look at an SQLite file that is not there yet would make it."""
    return [alias for alias in connections if connections[alias].vendor not in ("sqlite", "unknown")]


def _run_checks() -> tuple[list[str], list[str]]:
    messages: list[checks.CheckMessage] = []
    trouble = _trouble(
        "The system checks",
        lambda: messages.extend(checks.run_checks(include_deployment_checks=True, databases=_databases())),
        cannot="do not run",
    )
    loud = [m for m in messages if m.level >= checks.WARNING and not m.is_silenced()]
    loud.sort(key=lambda message: message.id or "")  # Django keeps its checks in a set
    errors = [_text(message) for message in loud if _is_in_the_way(message)]
    warnings = [_text(message) for message in loud if not _is_in_the_way(message)]
    return ([trouble] if trouble else []) + errors, warnings


def _is_in_the_way(message: checks.CheckMessage) -> bool:
    """Django only warns of an empty ALLOWED_HOSTS, with which all that visitors ever get is 400."""
    return message.is_serious() or message.id == "security.W020"


def _text(message: checks.CheckMessage) -> str:
    """One line: object, id, message and hint."""
    return " ".join(str(message).removeprefix("?: ").split())


def _trouble(what: str, load: Callable[[], object], cannot: str = "cannot be loaded") -> str:
    """Nothing when ``load`` works; else what, why, and where in the site's code it went wrong."""
    try:
        load()
    except (Exception, SystemExit) as error:  # settings and modules may raise anything at all
        place = _place(error)
        return f"{what} {cannot}: {type(error).__name__}: {error}{f' ({place})' if place else ''}"
    return ""


def _place(error: BaseException) -> str:
    """``file:line`` of the innermost frame that is neither Python's nor Django's nor ours."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not _is_machinery(frame.filename):
            return f"{frame.filename}:{frame.lineno}"
    return ""


def _is_machinery(filename: str) -> bool:
    if filename.startswith("<") or filename == __file__:
        return True
    path = Path(filename)
    if Path(django.__file__).parent in path.parents:
        return True
    paths = sysconfig.get_paths()
    # Site packages may lie inside the standard library's folder.
    installed = (Path(paths["purelib"]), Path(paths["platlib"]))
    return Path(paths["stdlib"]) in path.parents and not any(folder in path.parents for folder in installed)
