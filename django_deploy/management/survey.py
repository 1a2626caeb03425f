"""What a project is made of, as far as its first deployment wants to know."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.urls import get_resolver
from django.urls.resolvers import URLPattern

from django_deploy.exceptions import DeployError
from django_deploy.management.settings_source import (
    ServerSettings,
    constants,
    file_of,
    own_values,
    server_settings,
    statements,
    values,
    variables,
)
from django_deploy.site.health import health

#: How each server takes the socket, by its package; the first one that is installed is proposed.
WSGI_SERVERS = {
    "gunicorn": "gunicorn {module} --bind unix:{{socket}}",
    "granian": "granian --interface wsgi --uds {{socket}} {module}:application",
    "waitress": "waitress-serve --unix-socket={{socket}} {module}:application",
}
ASGI_SERVERS = {
    "uvicorn": "uvicorn {module}:application --uds {{socket}}",
    "daphne": "daphne -u {{socket}} {module}:application",
    "hypercorn": "hypercorn --bind unix:{{socket}} {module}:application",
    "granian": "granian --interface asgi --uds {{socket}} {module}:application",
}

#: Apps whose workers are commands of manage.py.
WORKERS = {
    "django_rq": "python manage.py rqworker default",
    "huey.contrib.djhuey": "python manage.py run_huey",
    "django_q": "python manage.py qcluster",
    "procrastinate.contrib.django": "python manage.py procrastinate worker",
}


@dataclass(frozen=True)
class Survey:
    """Facts of a project. ``health_path`` is empty where no URL leads to a health view.

    ``processes`` are as in DEPLOY_TARGETS, with ``{shared}`` for the target's shared folder. ``lacking`` are
    distributions that they need and that are not installed. ``constants`` are settings that say the same
    everywhere, and should not; ``variables`` are read from the environment and have to be there.
    ``sqlite_files`` are names of files by alias, of databases that lie in the project's folder; ``media`` is
    MEDIA_ROOT where that lies there. ``has_logging``: it is said where messages go. ``server``: the settings
    that servers run, where these are others; then all of this is true of them, as far as it can be known.
    """

    name: str
    folder: Path
    settings_module: str
    settings_file: Path
    urls_file: Path | None
    health_path: str
    processes: Mapping[str, Any]
    lacking: tuple[str, ...]
    constants: frozenset[str]
    variables: tuple[str, ...]
    sqlite_files: Mapping[str, str]
    media: str
    needs_static_root: bool
    has_logging: bool
    has_vcs: bool
    server: ServerSettings | None = None


def survey() -> Survey:
    """Look at the project whose settings are loaded; raises ``DeployError`` when they come from no file."""
    settings_module = settings.SETTINGS_MODULE
    settings_file = file_of(settings_module)
    if settings_file is None:
        remedy = "Write DEPLOY_TARGETS where they are made."
        raise DeployError("The settings come from no file.", remedy=remedy)
    folder = _project_folder(settings_file)
    package = settings_module.partition(".")[0]
    web, lacking = _web(package)
    server = server_settings(settings_module, _application(package), folder)
    found, names = _understood(settings_module, server, folder)
    unknown = _unknown(settings_module, server)
    return Survey(
        name=folder.name,
        folder=folder,
        settings_module=settings_module,
        settings_file=settings_file,
        urls_file=file_of(getattr(settings, "ROOT_URLCONF", "")),
        health_path=_health_path(),
        processes={"web": web, **_workers(package)},
        lacking=lacking,
        constants=found,
        variables=names,
        sqlite_files={} if "DATABASES" in unknown else _sqlite_files(folder),
        media="" if "MEDIA_ROOT" in unknown else _relative(settings.MEDIA_ROOT, folder),
        needs_static_root="STATIC_ROOT" not in unknown and _needs_static_root(folder),
        has_logging=bool(settings.LOGGING) or "LOGGING" in unknown,
        has_vcs=_has_vcs(folder),
        server=server,
    )


def _project_folder(settings_file: Path) -> Path:
    """The nearest folder above the settings that has a manage.py, else the one of their top package."""
    for folder in settings_file.parents[:3]:
        if (folder / "manage.py").is_file():
            return folder
    return settings_file.parent.parent


def _has_vcs(folder: Path) -> bool:
    places = (folder, *folder.parents)
    return any((place / kind).exists() for place in places for kind in (".git", ".hg"))


# Settings


def _understood(
    here: str, server: ServerSettings | None, folder: Path
) -> tuple[frozenset[str], tuple[str, ...]]:
    """The constants that a server must have other values of, and the variables, of the settings it runs."""
    there = [*statements(server.module if server else here, folder)]
    found = {*constants(values(there))}
    hosts = own_values(server.module).get("ALLOWED_HOSTS") if server else None
    if isinstance(hosts, (ast.List, ast.Tuple)) and hosts.elts:  # of a server, and hence meant so
        found.discard("ALLOWED_HOSTS")
    return frozenset(found), tuple(sorted({*variables(there)}))


def _unknown(here: str, server: ServerSettings | None) -> frozenset[str]:
    """What one of the two says for itself: what is loaded here need not be true of it there."""
    return frozenset({*own_values(here), *own_values(server.module)} if server else ())


# Processes


def _web(package: str) -> tuple[str, tuple[str, ...]]:
    """The site's server, and what has to be installed for it."""
    if getattr(settings, "ASGI_APPLICATION", None):  # only those who want it name it
        return _serve(_fitting(ASGI_SERVERS), _application(package))
    return _serve(WSGI_SERVERS, _application(package))


def _application(package: str) -> str:
    """The module that the server loads."""
    asgi = _module(getattr(settings, "ASGI_APPLICATION", None))
    return asgi or _module(settings.WSGI_APPLICATION) or f"{package}.wsgi"


def _fitting(servers: Mapping[str, str]) -> dict[str, str]:
    """First the server that is one of the apps; with Channels no uvicorn that knows no WebSockets."""
    if apps.is_installed("daphne"):
        return {"daphne": servers["daphne"], **servers}
    is_mute = apps.is_installed("channels") and not (find_spec("websockets") or find_spec("wsproto"))
    return {name: command for name, command in servers.items() if not (is_mute and name == "uvicorn")}


def _serve(servers: Mapping[str, str], module: str) -> tuple[str, tuple[str, ...]]:
    installed = [name for name in servers if find_spec(name)]
    name = installed[0] if installed else next(iter(servers))
    return servers[name].format(module=module), () if installed else (name,)


def _module(application: str | None) -> str | None:
    return application.rpartition(".")[0] if application else None


def _workers(package: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    celery = file_of(f"{package}.celery")
    if find_spec("celery") and celery is not None:
        found["worker"] = f"celery -A {package} worker"
        if apps.is_installed("django_celery_beat"):
            scheduler = "--scheduler django_celery_beat.schedulers:DatabaseScheduler"
            found["beat"] = {"COMMAND": f"celery -A {package} beat {scheduler}", "SINGLETON": True}
        elif getattr(settings, "CELERY_BEAT_SCHEDULE", None) or _has_schedule(celery):
            schedule = "--schedule {shared}/celerybeat-schedule"
            found["beat"] = {"COMMAND": f"celery -A {package} beat {schedule}", "SINGLETON": True}
    for app, command in WORKERS.items():
        if apps.is_installed(app):
            found.setdefault("worker", command)
    return found


def _has_schedule(celery: Path) -> bool:
    """Whether the file of the Celery app says of tasks when they are due; ``app.conf.beat_schedule`` say."""
    words = {"beat_schedule", "add_periodic_task"}
    nodes = ast.walk(ast.parse(celery.read_bytes()))
    return any(
        (isinstance(node, ast.Attribute) and node.attr in words)
        or (isinstance(node, ast.keyword) and node.arg in words)
        for node in nodes
    )


# Files


def _sqlite_files(folder: Path) -> dict[str, str]:
    return {
        alias: Path(entry["NAME"]).name
        for alias, entry in settings.DATABASES.items()
        if str(entry["ENGINE"]).endswith("sqlite3") and _relative(entry.get("NAME"), folder)
    }


def _relative(path: object, folder: Path) -> str:
    """A path of the settings as seen from the project's folder; empty when it is not inside of it."""
    if not path or not Path(str(path)).absolute().is_relative_to(folder):
        return ""
    return str(Path(str(path)).absolute().relative_to(folder))


def _needs_static_root(folder: Path) -> bool:
    is_lost = not settings.STATIC_ROOT or bool(_relative(settings.STATIC_ROOT, folder))
    return is_lost and apps.is_installed("django.contrib.staticfiles")


def _health_path() -> str:
    """The path of our health view, or of one that has the usual name."""
    if not getattr(settings, "ROOT_URLCONF", None):
        return ""
    for pattern in get_resolver().url_patterns:
        path = str(pattern.pattern)
        if isinstance(pattern, URLPattern) and (
            pattern.callback is health or path.strip("/") in {"healthz", "health"}
        ):
            return f"/{path}"
    return ""
