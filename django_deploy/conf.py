"""Reads ``settings.DEPLOY_TARGETS``: the one place that knows Django's settings."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import ENVIRONMENT_VARIABLE, settings
from django.utils.module_loading import import_string

from django_deploy.exceptions import ConfigError, Issue
from django_deploy.reading.keys import TARGET_NAME, read_target, warnings_of
from django_deploy.reading.places import Kind, setting_path
from django_deploy.spelling import did_you_mean
from django_deploy.target import Served, Step, Target

EXAMPLE = """\
DEPLOY_TARGETS = {
    "staging": {
        "HOSTS": ["deploy@staging.example.com"],
        "ROOT": "/srv/mysite",
        "PROCESSES": {"web": "gunicorn mysite.wsgi --bind unix:{socket}"},
    },
}"""


@dataclass(frozen=True)
class Summary:
    """A line of the list of targets, made without calling anything that HOSTS may name."""

    name: str
    hosts: str
    root: str


def get_target(name: str) -> Target:
    """The target of that name, its callables called; raises ``ConfigError`` with every mistake in it."""
    entries = _read_entries()
    if not entries:
        raise nothing_configured()
    if name not in entries:
        names = [known for known in entries if isinstance(known, str)]
        remedy = did_you_mean(name, names) or f"DEPLOY_TARGETS has: {', '.join(map(str, entries))}."
        raise ConfigError(f"There is no target {name!r}.", remedy=remedy)
    if issue := _name_issue(name):
        raise ConfigError("A target's name is not fit for one.", issues=[issue])
    target = read_target(name, entries[name], settings_module=_settings_module(), resolve=_call)
    if issues := [issue for issue in _taken_roots(entries) if issue.where == setting_path(name, "ROOT")]:
        raise ConfigError(f"The target {name!r} has mistakes.", issues=issues)
    return replace(
        target,
        steps=_fitting_steps(target),
        data_folders=_data_folders(),
        asset_folders=tuple(_asset_folders()),
        static=_served(settings.STATIC_URL, settings.STATIC_ROOT or "static"),
        media=_served(settings.MEDIA_URL, settings.MEDIA_ROOT),
    )


def check_entry(name: str, entry: Mapping[str, object]) -> None:
    """``ConfigError`` with what would be wrong if DEPLOY_TARGETS had this target, too. Calls nothing."""
    if issue := _name_issue(name):
        raise ConfigError("A target's name is not fit for one.", issues=[issue])
    read_target(name, entry, settings_module=_settings_module())
    entries = {**_read_entries(), name: entry}
    if issues := [issue for issue in _taken_roots(entries) if issue.where == setting_path(name, "ROOT")]:
        raise ConfigError(f"The target {name!r} has mistakes.", issues=issues)


def nothing_configured() -> ConfigError:
    """What to say where there is no target at all."""
    return ConfigError("No target is configured.", remedy=f"In the settings, say:\n\n{EXAMPLE}")


def _fitting_steps(target: Target) -> tuple[Step, ...]:
    """Without those whose app is missing here.

    Where the site has other settings it says so itself, but it has no app that this environment lacks.
    """
    has_app = apps.is_installed if target.settings_module == _settings_module() else _is_there
    return tuple(step for step in target.steps if not step.requires_app or has_app(step.requires_app))


def _is_there(package: str) -> bool:
    return importlib.util.find_spec(package.partition(".")[0]) is not None


def _data_folders() -> tuple[str, ...]:
    return tuple(str(folder) for folder in (settings.MEDIA_ROOT, settings.STATIC_ROOT) if folder)


def _served(url: str | None, folder: str | os.PathLike[str]) -> Served | None:
    """None where the address is another host's or all of the site, or where there are no files."""
    path, name = f"/{(url or '').removeprefix('/')}", Path(folder).name
    is_path = re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+/", path)
    return Served(path, name) if is_path and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name) else None


def _asset_folders() -> Iterator[str]:
    """Where the site reads from, beside the folders of its apps."""
    for engine in settings.TEMPLATES:
        yield from map(str, engine.get("DIRS", ()))
    for entry in settings.STATICFILES_DIRS:
        yield str(entry[1] if isinstance(entry, (list, tuple)) else entry)
    yield from map(str, (*settings.LOCALE_PATHS, *settings.FIXTURE_DIRS))


def list_targets() -> tuple[Summary, ...]:
    """All targets in the order of the settings, the mistaken ones too; empty when none is configured."""
    return tuple(Summary(str(name), _hosts(entry), _root(entry)) for name, entry in _read_entries().items())


def list_hosts() -> Mapping[str, tuple[str, ...]]:
    """The hosts of each target as they are written, without calling anything; raises ``ConfigError``."""
    return {str(name): tuple(_host_names(entry)) for name, entry in _read_entries().items()}


def _host_names(entry: object) -> Iterator[str]:
    hosts = entry.get("HOSTS", ()) if isinstance(entry, Mapping) else ()
    for host in hosts if isinstance(hosts, (list, tuple)) else ():
        name = host.get("HOST") if isinstance(host, Mapping) else host
        if isinstance(name, str):
            yield name


def find_issues() -> tuple[Issue, ...]:
    """Every mistake and doubt in DEPLOY_TARGETS.

    Calls nothing: what a callable for HOSTS or ENV would return is not judged.
    """
    try:
        entries = _read_entries()
    except ConfigError as error:
        return error.issues
    found = [issue for name, entry in entries.items() for issue in _entry_issues(name, entry)]
    return (*found, *_taken_roots(entries))


def _taken_roots(entries: Mapping[object, object]) -> Iterator[Issue]:
    """Targets that would replace each other's releases, as their HOSTS are written."""
    owners: dict[tuple[str, str], list[str]] = {}
    for name, entry in entries.items():
        for address in dict.fromkeys(map(_address, _host_names(entry))):
            owners.setdefault((address, _root(entry).rstrip("/")), []).append(str(name))
    for (address, root), names in owners.items():
        for name in names if root and len(names) > 1 else ():
            others = " and ".join(repr(other) for other in names if other != name)
            yield Issue(
                setting_path(name, "ROOT"),
                f"is that of {others}, too, on the same host ({address}): each would replace the other.",
                hint="Give each target a ROOT of its own.",
                id=Kind.ROOT_TAKEN.value,
            )


def _address(host: str) -> str:
    """Of ``user@address:port``: whoever logs in, it is the same machine."""
    return host.rpartition("@")[2]


def _read_entries() -> Mapping[object, object]:
    entries = getattr(settings, "DEPLOY_TARGETS", {})
    if not isinstance(entries, Mapping):
        issue = Issue(setting_path(), "must be a dict of targets.", id=Kind.SHAPE.value)
        raise ConfigError("The settings have a mistake.", issues=[issue])
    return entries


def _entry_issues(name: object, entry: object) -> tuple[Issue, ...]:
    if issue := _name_issue(name):
        return (issue,)
    try:
        target = read_target(str(name), entry, settings_module=_settings_module())
    except ConfigError as error:
        return error.issues
    return warnings_of(target)


def _name_issue(name: object) -> Issue | None:
    if isinstance(name, str) and TARGET_NAME.fullmatch(name):
        return None
    message = "is not a name for a target: use letters, digits, '.', '-' and '_'."
    return Issue(setting_path(name), message, id=Kind.SHAPE.value)


def _settings_module() -> str | None:
    """This project's own; None when it was configured without a module."""
    # While a test overrides settings, they do not know their module.
    module: str | None = settings.SETTINGS_MODULE or os.environ.get(ENVIRONMENT_VARIABLE)
    return module


def _call(value: object) -> object:
    """What the callable, or the dotted path of one, returns."""
    function: Any = import_string(value) if isinstance(value, str) else value
    return function()


def _hosts(entry: object) -> str:
    hosts = entry.get("HOSTS", "") if isinstance(entry, Mapping) else ""
    if isinstance(hosts, (list, tuple)):
        return ", ".join(_text(host.get("HOST") if isinstance(host, Mapping) else host) for host in hosts)
    name = hosts if isinstance(hosts, str) else getattr(hosts, "__qualname__", "?")
    return f"from {name}()" if name else ""


def _root(entry: object) -> str:
    return _text(entry.get("ROOT", "")) if isinstance(entry, Mapping) else ""


def _text(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # a number of more digits than Python writes
        return "?"
