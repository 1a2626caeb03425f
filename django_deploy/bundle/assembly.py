"""Makes the bundle of a target: environment, selection, lock and wheels, manifest."""

from __future__ import annotations

import getpass
import os
import platform
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from django_deploy.bundle.audit import provides_module
from django_deploy.bundle.cache import default_cache
from django_deploy.bundle.environment import discover
from django_deploy.bundle.fitting import marker_variables
from django_deploy.bundle.lock import lock
from django_deploy.bundle.manifest import Manifest
from django_deploy.bundle.project import find_project
from django_deploy.bundle.revision import require_clean
from django_deploy.bundle.selection import SELF, select
from django_deploy.bundle.sources import read_sources
from django_deploy.bundle.wheels import build_wheels, check_requirements
from django_deploy.exceptions import BundleError
from django_deploy.host.protocol import Event, Report, ignore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from django_deploy.bundle.environment import Distribution
    from django_deploy.bundle.manifest import Pin
    from django_deploy.bundle.sources import Sources
    from django_deploy.bundle.wheels import BuiltWheel
    from django_deploy.target import Target


def build_bundle(
    target: Target,
    *,
    report: Report = ignore,
    cache: Path | None = None,
    ignored_folders: Iterable[Path] = (),
) -> Manifest:
    """What the target's hosts will install: this environment, as it is now.

    ``ignored_folders`` (MEDIA_ROOT, STATIC_ROOT) are no part of any source tree. Raises
    ``BundleError``; nothing outside of ``cache`` is changed.
    """
    cache = cache or default_cache()
    environment = discover()
    project = find_project(target.settings_module, environment.distributions)
    if target.require_clean and project.source is not None:
        require_clean(project.source)
    _check_ourselves(environment.distributions)
    selection = select(
        environment.distributions,
        target.requirements,
        project=project,
        extras=target.extras,
        exclude=target.exclude,
        include=target.include,
    )
    ignored = frozenset(folder.resolve() for folder in ignored_folders)
    build = partial(build_wheels, cache=cache, report=report, ignored_folders=ignored)
    built, pins = _build_and_lock(selection.kept, build, read_sources(target.index_url), cache)
    check_requirements(built, selection.kept, environment.distributions)
    _check_settings_module(target.settings_module, project, built)

    manifest = Manifest(
        project=project.name,
        version=_version_of(project, built),
        python=platform.python_version(),
        wheels=tuple(item.wheel for item in built),
        pins=pins,
        created=time.time(),
        created_by=deployer(),
        left_out=tuple(item.name for item in selection.left_out),
        revision=next((item.wheel.revision for item in built if item.wheel.name == project.name), None),
        warnings=(*environment.warnings, *selection.warnings, *_warnings_of(built)),
        requires=tuple(_requirements_of(selection.kept, built).items()),
        extras=target.extras,
        requires_python=tuple((item.name, item.requires_python) for item in selection.kept),
        markers=tuple(marker_variables().items()),
    )
    report(_ready(manifest))
    return manifest


def _check_ourselves(distributions: Iterable[Distribution]) -> None:
    """``BundleError`` when the hosts could not get the commands that they run."""
    if SELF not in (item.name for item in distributions):
        raise BundleError(
            "django-deploy runs here from a folder on the path, but is not installed: no host would get it.",
            remedy="Run `pip install django-deploy`, or `pip install -e` in its folder.",
        )


def _build_and_lock(
    kept: Sequence[Distribution],
    build: Callable[[Iterable[Distribution]], tuple[BuiltWheel, ...]],
    sources: Sources,
    cache: Path,
) -> tuple[tuple[BuiltWheel, ...], tuple[Pin, ...]]:
    """Wheels of what no host could get elsewhere, and pins of the rest, at the same time."""
    with ThreadPoolExecutor(1) as pool:
        locking = pool.submit(lock, [item for item in kept if item.kind == "index"], sources, cache=cache)
        built = build(item for item in kept if item.kind != "index")
        locked = locking.result()
    return (*built, *build(_from_archives(kept, locked.archives))), locked.pins


def _from_archives(kept: Iterable[Distribution], archives: Mapping[str, Path]) -> tuple[Distribution, ...]:
    """Distributions that came from a folder of archives: no host can reach it, so they are sent."""
    return tuple(
        replace(item, kind="local", source=archives[item.name]) for item in kept if item.name in archives
    )


def _check_settings_module(module: str, project: Distribution, built: Iterable[BuiltWheel]) -> None:
    """``BundleError`` when the project's build leaves out what the site starts with."""
    for item in built:
        if item.wheel.name == project.name and not provides_module(item.wheel.path, module):
            raise BundleError(
                f"The wheel of {project.name} does not hold the settings module {module}.",
                remedy=f"Name its package in the build settings of {project.source}.",
            )


def _version_of(project: Distribution, built: Iterable[BuiltWheel]) -> str:
    versions = (item.wheel.version for item in built if item.wheel.name == project.name)
    return next(versions, project.version)


def _requirements_of(kept: Iterable[Distribution], built: Iterable[BuiltWheel]) -> dict[str, tuple[str, ...]]:
    """What each distribution requires; a wheel's own metadata are newer than the environment's."""
    installed: dict[str, tuple[str, ...]] = {item.name: item.requires for item in kept}
    return installed | {item.wheel.name: item.requires for item in built}


def _warnings_of(built: Iterable[BuiltWheel]) -> tuple[str, ...]:
    return tuple(warning for item in built for warning in item.warnings)


def deployer() -> str:
    """user@machine of whoever deploys."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a uid without a name, in a container
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _ready(manifest: Manifest) -> Event:
    fields = {
        "distributions": len(manifest.distributions),
        "wheels": len(manifest.wheels),
        "bytes": sum(wheel.size for wheel in manifest.wheels),
        "revision": str(manifest.revision) if manifest.revision else "",
    }
    return Event("bundle.ready", fields=fields)
