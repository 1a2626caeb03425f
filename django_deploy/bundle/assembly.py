"""Makes the bundle of a target: environment, selection, lock and wheels, manifest."""

from __future__ import annotations

import platform
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from django_deploy.bundle.cache import default_cache
from django_deploy.bundle.environment import discover
from django_deploy.bundle.fitting import marker_variables
from django_deploy.bundle.index.lock import lock
from django_deploy.bundle.index.sources import read_sources
from django_deploy.bundle.manifest import Manifest, bundle_ready
from django_deploy.bundle.plain.contents import Rules, find_idle_patterns, read_contents
from django_deploy.bundle.plain.patterns import Patterns
from django_deploy.bundle.plain.wheel import (
    find_hidden_modules,
    refuse_hidden_modules,
    refuse_what_needs_metadata,
)
from django_deploy.bundle.project import find_project
from django_deploy.bundle.requirements.meaning import select_for
from django_deploy.bundle.running import find_unowned_modules
from django_deploy.bundle.selection import SELF
from django_deploy.bundle.wheels.audit import provides_module
from django_deploy.bundle.wheels.builder import build_sdists, build_wheels
from django_deploy.bundle.wheels.checkout import source_trees
from django_deploy.bundle.wheels.requirements_check import check_requirements
from django_deploy.bundle.wheels.revision import find_root, ignored_files, require_clean
from django_deploy.deployer import deployer
from django_deploy.exceptions import BundleError
from django_deploy.host.protocol import Report, ignore
from django_deploy.wording import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import ModuleType

    from django_deploy.bundle.environment import Distribution, Environment
    from django_deploy.bundle.index.lock import Lock
    from django_deploy.bundle.manifest import Pin, Revision, Wheel
    from django_deploy.bundle.plain.contents import Contents
    from django_deploy.bundle.selection import Selection
    from django_deploy.bundle.wheels.builder import BuiltWheel
    from django_deploy.target import Target


#: How many names of files that a revision lacks are told.
IGNORED_SHOWN = 10


def build_bundle(
    target: Target,
    *,
    report: Report = ignore,
    cache: Path | None = None,
    ignored_folders: Iterable[Path] = (),
    revision: str | None = None,
    modules: Mapping[str, ModuleType] | None = None,
) -> Manifest:
    """What the target's hosts will install: this environment, as it is now.

    With a ``revision``, the project and what lies in its repository are as they were at that revision.
    ``modules`` are those that the project runs here, if it does: such as nobody would deploy are told.
    ``ignored_folders`` are no part of any source tree, beside the target's data folders. Raises
    ``BundleError``; nothing outside of ``cache`` is changed.
    """
    cache = cache or default_cache()
    environment, project = survey(target)
    distributions = environment.distributions
    _check_ourselves(distributions)
    unowned = find_unowned_modules(modules or {}, distributions)
    sources = read_sources(target.index_url)
    selection = select_for(target, distributions, project, sources, cache=cache)
    with source_trees(selection.kept, project, revision, cache=cache) as trees:
        if target.require_clean:
            require_clean(sorted(trees.working_folders, key=lambda folder: folder != project.source))
        rules = trees.rules(rules_of(target, ignored_folders))
        build = partial(build_wheels, cache=cache, report=report, rules=rules, sources=sources)
        find_pins = partial(lock, sources=sources, cache=cache, stated=selection.stated)
        built, pins = _build_and_lock(trees.distributions, selection.elsewhere, build, find_pins)
        check_requirements(
            built,
            trees.distributions,
            distributions,
            revision=trees.revision,
            file=selection.file,
            extras=_asked_extras(target, project),
        )
        sdists: tuple[Wheel, ...] = ()
        if target.build_on_host:
            sdists = build_sdists(
                trees.distributions, built, cache=cache, report=report, rules=rules, sources=sources
            )
        _check_settings_module(target.settings_module, project, built, trees.revision)
        _check_hidden_modules(project, trees.distributions, built)
    notes = _ignored_by_vcs(target, project, built, ignored_folders) if revision is not None else ()
    built = tuple(map(trees.with_origin, built))

    manifest = _describe(
        target,
        environment,
        project,
        selection,
        kept=trees.distributions,
        built=built,
        pins=pins,
        sdists=sdists,
        warnings=(
            *environment.warnings,
            *unowned,
            *selection.warnings,
            *trees.warnings,
            *notes,
            *_warnings_of(built),
            *_idle_patterns(built, rules),
            *_idle_names(target.allow_altered, pins),
        ),
    )
    report(bundle_ready(manifest))
    return manifest


def _describe(
    target: Target,
    environment: Environment,
    project: Distribution,
    selection: Selection,
    *,
    kept: Sequence[Distribution],
    built: tuple[BuiltWheel, ...],
    pins: tuple[Pin, ...],
    sdists: tuple[Wheel, ...],
    warnings: tuple[str, ...],
) -> Manifest:
    """The manifest of what was ``built`` of the trees that were ``kept``, and of the pins of the rest."""
    pinned = {(pin.name, pin.version) for pin in pins}
    return Manifest(
        project=project.name,
        version=_version_of(project, built),
        python=platform.python_version(),
        wheels=tuple(item.wheel for item in built),
        pins=pins,
        created=time.time(),
        created_by=deployer(),
        left_out=tuple(item.name for item in selection.left_out),
        revision=next((item.wheel.revision for item in built if item.wheel.name == project.name), None),
        warnings=warnings,
        contents=next((item.contents for item in built if item.contents is not None), None),
        requires=_requirements_of((*selection.elsewhere, *kept), built, {project.name: selection.further}),
        extras=target.extras,
        requires_python=tuple((item.name, item.requires_python) for item in kept),
        markers=tuple(marker_variables().items()),
        sdists=sdists,
        installed=tuple(
            (item.name, item.version, item.metadata_folder)
            for item in environment.distributions
            if item.kind == "index" and (item.name, item.version) in pinned
        ),
    )


def survey(target: Target) -> tuple[Environment, Distribution]:
    """What is installed here, and which of it is the project; one that is no package counts as installed."""
    environment = discover()
    project = find_project(target.settings_module, environment.distributions)
    if project.kind == "plain":
        refuse_what_needs_metadata(target, project)
        environment = replace(environment, distributions=(*environment.distributions, project))
    return environment, project


def rules_of(target: Target, ignored_folders: Iterable[Path] = ()) -> Rules:
    """Which files are deployed and which are data, by the target and the settings that it was read with."""
    data = [*map(Path, target.data_folders), *ignored_folders]
    if any(host.is_local for host in target.hosts):
        data.append(Path(target.root))
    return Rules(
        include=Patterns(target.project_include),
        exclude=Patterns(target.project_exclude),
        ignored=frozenset((*map(Path.absolute, data), *map(Path.resolve, data))),
        named=frozenset(Path(folder).resolve() for folder in target.asset_folders),
    )


def list_project(target: Target) -> Contents | None:
    """The files of a plain project, and what stays here of it; None where the project is a package."""
    project = find_project(target.settings_module, discover().distributions)
    if project.kind != "plain" or project.source is None:
        return None
    return read_contents(project.source, rules_of(target))


def _check_ourselves(distributions: Iterable[Distribution]) -> None:
    """``BundleError`` when the hosts could not get the commands that they run."""
    if SELF not in (item.name for item in distributions):
        raise BundleError(
            "django-deploy runs here from a folder on the path, but is not installed: no host would get it.",
            remedy="Run `pip install django-deploy`, or `pip install -e` in its folder.",
        )


def _build_and_lock(
    kept: Sequence[Distribution],
    elsewhere: Sequence[Distribution],
    build: Callable[[Iterable[Distribution]], tuple[BuiltWheel, ...]],
    find_pins: Callable[[Iterable[Distribution]], Lock],
) -> tuple[tuple[BuiltWheel, ...], tuple[Pin, ...]]:
    """Wheels of what no host could get elsewhere, and pins of the rest, at the same time.

    Of a name that is pinned for several interpreters, the pin for this one comes last.
    """
    with ThreadPoolExecutor(1) as pool:
        locking = pool.submit(find_pins, [item for item in (*elsewhere, *kept) if item.kind == "index"])
        built = build(item for item in kept if item.kind != "index")
        locked = locking.result()
    return (*built, *build(_from_archives(kept, locked.archives))), locked.pins


def _from_archives(kept: Iterable[Distribution], archives: Mapping[str, Path]) -> tuple[Distribution, ...]:
    """Distributions that came from a folder of archives: no host can reach it, so they are sent."""
    return tuple(
        replace(item, kind="local", source=archives[item.name]) for item in kept if item.name in archives
    )


def _check_settings_module(
    module: str, project: Distribution, built: Iterable[BuiltWheel], revision: Revision | None
) -> None:
    """``BundleError`` when the build, of a ``revision`` perhaps, leaves out what the site starts with."""
    for item in built:
        if item.wheel.name == project.name and not provides_module(item.wheel.path, module):
            raise BundleError(
                f"The wheel of {project.name} does not hold the settings module {module}.",
                remedy=_remedy_for_settings(project, revision),
            )


def _remedy_for_settings(project: Distribution, revision: Revision | None) -> str:
    if revision is not None:
        return f"Is it in {revision}, and not ignored there? SETTINGS_MODULE may have to be another for it."
    if project.kind == "plain":
        return "PROJECT_EXCLUDE or a rule for all projects leaves it out: name it in PROJECT_INCLUDE."
    return (
        f"Name its package in the build settings of {project.source}, or uninstall {project.name}:"
        " then the folder of manage.py is deployed as it stands."
    )


def _check_hidden_modules(
    project: Distribution, kept: Iterable[Distribution], built: Iterable[BuiltWheel]
) -> None:
    """``BundleError`` when a server would import something else in the place of a plain project's modules."""
    wheels = {item.wheel.name: item for item in built}
    contents = wheels[project.name].contents if project.name in wheels else None
    if contents is not None and project.source is not None:
        paths = {name: item.wheel.path for name, item in wheels.items()}
        refuse_hidden_modules(find_hidden_modules(project, contents, kept, paths), project.source)


def _asked_extras(target: Target, project: Distribution) -> Iterator[Requirement]:
    """EXTRAS, and those of INCLUDE."""
    yield Requirement(f"{project.name}[{','.join(target.extras)}]")
    yield from map(Requirement, target.include)


def _ignored_by_vcs(
    target: Target, project: Distribution, built: Iterable[BuiltWheel], ignored_folders: Iterable[Path]
) -> tuple[str, ...]:
    """A warning of files that a deployment without --revision would send, and that no revision ever has."""
    sent = next((item.contents for item in built if item.contents is not None), None)
    if sent is None or project.source is None:
        return ()
    here = read_contents(project.source, rules_of(target, ignored_folders))
    lacking = sorted({file.name for file in here.files} - {file.name for file in sent.files})
    beyond = tuple(name for name in lacking if _is_beyond(project.source, name))
    reasons = {
        "the VCS ignores": ignored_files(project.source, [name for name in lacking if name not in beyond]),
        "is outside its repository": beyond,
    }
    return tuple(
        f"The revision lacks what {reason}, which a deployment without --revision has:"
        f" {listed(names, IGNORED_SHOWN)}."
        for reason, names in reasons.items()
        if names
    )


def _is_beyond(project: Path, name: str) -> bool:
    """Whether a file that comes along from beside the project's folder is in no repository, or in another."""
    place = find_root(project.resolve())
    return place is not None and not (project / name).resolve().is_relative_to(place[1])


def _version_of(project: Distribution, built: Iterable[BuiltWheel]) -> str:
    versions = (item.wheel.version for item in built if item.wheel.name == project.name)
    return next(versions, project.version)


def _requirements_of(
    kept: Iterable[Distribution], built: Iterable[BuiltWheel], further: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """What each distribution requires, by name; a wheel's own metadata are newer than the environment's.

    ``further`` is required by what a file says.
    """
    found: dict[str, tuple[str, ...]] = {item.name: item.requires for item in kept}
    found |= {item.wheel.name: item.requires for item in built}
    return tuple((name, (*requires, *further.get(name, ()))) for name, requires in found.items())


def _warnings_of(built: Iterable[BuiltWheel]) -> tuple[str, ...]:
    return tuple(warning for item in built for warning in item.warnings)


def _idle_patterns(built: Iterable[BuiltWheel], rules: Rules) -> Iterator[str]:
    for item in built:
        if item.contents is not None:
            yield from find_idle_patterns(item.contents, rules)


def _idle_names(altered: Iterable[str], pins: Iterable[Pin]) -> Iterator[str]:
    """A mistyped name lets a difference through that nobody has looked at, or would have none."""
    pinned = {pin.name for pin in pins}
    for name in altered:
        if canonicalize_name(name) not in pinned:
            yield f"ALLOW_ALTERED: {name!r} names nothing that hosts get from an index."
