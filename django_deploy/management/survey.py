"""What a project is made of, as far as its first deployment wants to know."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.urls import get_resolver
from django.urls.resolvers import URLPattern

from django_deploy.exceptions import DeployError
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
    MEDIA_ROOT where that lies there. ``has_logging``: it is said where messages go.
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


def survey() -> Survey:
    """Look at the project whose settings are loaded; raises ``DeployError`` when they come from no file."""
    settings_module = settings.SETTINGS_MODULE
    settings_file = _file_of(settings_module)
    if settings_file is None:
        remedy = "Write DEPLOY_TARGETS where they are made."
        raise DeployError("The settings come from no file.", remedy=remedy)
    folder, tree = _project_folder(settings_file), ast.parse(settings_file.read_bytes())
    package = settings_module.partition(".")[0]
    web, lacking = _web(package)
    return Survey(
        name=folder.name,
        folder=folder,
        settings_module=settings_module,
        settings_file=settings_file,
        urls_file=_file_of(getattr(settings, "ROOT_URLCONF", "")),
        health_path=_health_path(),
        processes={"web": web, **_workers(package)},
        lacking=lacking,
        constants=frozenset(_constants(tree)),
        variables=tuple(sorted({*_variables(tree)})),
        sqlite_files=_sqlite_files(folder),
        media=_relative(settings.MEDIA_ROOT, folder),
        needs_static_root=apps.is_installed("django.contrib.staticfiles") and _is_lost(folder),
        has_logging=bool(settings.LOGGING),
        has_vcs=any(
            (place / kind).exists() for place in (folder, *folder.parents) for kind in (".git", ".hg")
        ),
    )


def _file_of(module: str) -> Path | None:
    try:
        spec = find_spec(module) if module else None
    except (ImportError, ValueError):
        return None
    origin = Path(spec.origin) if spec and spec.origin else None
    return origin if origin is not None and origin.suffix == ".py" and origin.is_file() else None


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


def _constants(tree: ast.Module) -> Iterator[str]:
    """Those of DEBUG, SECRET_KEY and ALLOWED_HOSTS that a server must have other values of."""
    values = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for name in ("DEBUG", "SECRET_KEY", "ALLOWED_HOSTS"):
        if name in values and _is_constant(values[name]) and ast.unparse(values[name]) != "False":
            yield name


def _is_constant(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except ValueError:
        return False
    return True


def _variables(tree: ast.Module) -> Iterator[str]:
    """The names in ``os.environ["NAME"]``, but for those that every release has."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) in {"os.environ", "environ"}:
            name = node.slice.value if isinstance(node.slice, ast.Constant) else None
            if isinstance(name, str) and not name.startswith("DJANGO_"):
                yield name


# Processes


def _web(package: str) -> tuple[str, tuple[str, ...]]:
    """The site's server, and what has to be installed for it."""
    asgi = _module(getattr(settings, "ASGI_APPLICATION", None))
    if asgi is not None:  # only those who want it name it
        return _serve(_fitting(ASGI_SERVERS), asgi)
    return _serve(WSGI_SERVERS, _module(settings.WSGI_APPLICATION) or f"{package}.wsgi")


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
    celery = _file_of(f"{package}.celery")
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


def _is_lost(folder: Path) -> bool:
    return not settings.STATIC_ROOT or bool(_relative(settings.STATIC_ROOT, folder))


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


def os_is_imported(settings_module: str) -> bool:
    """Whether the settings know ``os`` already."""
    return getattr(sys.modules.get(settings_module), "os", None) is sys.modules["os"]
