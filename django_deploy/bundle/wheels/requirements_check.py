"""What wheels require is deployed with them, or the bundle is refused."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from django_deploy.bundle.selection import is_needed_on_hosts
from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from packaging.utils import NormalizedName

    from django_deploy.bundle.environment import Distribution
    from django_deploy.bundle.manifest import Revision
    from django_deploy.bundle.wheels.builder import BuiltWheel


def check_requirements(
    built: Iterable[BuiltWheel],
    kept: Iterable[Distribution],
    environment: Iterable[Distribution],
    revision: Revision | None = None,
    file: str = "",
    *,
    extras: Iterable[Requirement] = (),
) -> None:
    """``BundleError`` when a wheel requires what will not be deployed.

    The metadata of an editable installation is as old as its ``pip install -e``; the wheel's is new, or
    that of another ``revision``. Where a ``file`` says what is deployed, it is what counts. ``extras`` are
    asked for by the target, others by what is deployed.
    """
    wheels, kept = tuple(built), tuple(kept)
    asked = _extras_of((*extras, *_with_extras(kept, wheels)))
    deployed = {item.name: item.version for item in kept}
    deployed |= {canonicalize_name(item.wheel.name): item.wheel.version for item in wheels}
    there = deployed if file else {item.name: item.version for item in environment}
    place = f"in {file}" if file else "installed here"
    problems = [
        f"{item.wheel.name} {item.wheel.version} requires {text}, {_what_is(requirement, there, place)}"
        for item in wheels
        for text, requirement in ((text, Requirement(text)) for text in item.requires)
        if is_needed_on_hosts(item.wheel.name, canonicalize_name(requirement.name))
        and not _is_satisfied(requirement, deployed, asked[canonicalize_name(item.wheel.name)])
    ]
    if problems and revision is not None:
        raise BundleError(
            f"The environment is not what {revision} requires: {'; '.join(problems)}.",
            remedy="Install what it requires, or deploy it from an environment of its own.",
        )
    if problems and file:
        raise BundleError(
            f"{file} is not what the sources now require: {'; '.join(problems)}.",
            remedy=f"Bring {file} up to date, and the environment with it.",
        )
    if problems:
        raise BundleError(
            f"The environment is not what its sources now require: {'; '.join(problems)}.",
            remedy="Install them again with `pip install -e`, so that the environment follows.",
        )


def _with_extras(kept: Iterable[Distribution], wheels: Iterable[BuiltWheel]) -> Iterator[Requirement]:
    """The requirements that ask for extras. Of what is built the wheel's metadata count; few have any."""
    current: dict[str, tuple[str, ...]] = {item.name: item.requires for item in kept}
    current |= {item.wheel.name: item.requires for item in wheels}
    for text in (text for requires in current.values() for text in requires):
        head, _, marker = text.partition(";")
        if "[" in head and "extra" not in marker:
            with suppress(InvalidRequirement):
                requirement = Requirement(text)
                if requirement.marker is None or requirement.marker.evaluate():
                    yield requirement


def _extras_of(requirements: Iterable[Requirement]) -> Mapping[NormalizedName, set[str]]:
    found: defaultdict[NormalizedName, set[str]] = defaultdict(lambda: {""})
    for requirement in requirements:
        found[canonicalize_name(requirement.name)] |= requirement.extras
    return found


def _is_satisfied(
    requirement: Requirement, deployed: Mapping[NormalizedName, str], extras: Iterable[str]
) -> bool:
    marker = requirement.marker
    if marker is not None and not any(marker.evaluate({"extra": extra}) for extra in extras):
        return True
    version = deployed.get(canonicalize_name(requirement.name))
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _what_is(requirement: Requirement, there: Mapping[NormalizedName, str], place: str) -> str:
    version = there.get(canonicalize_name(requirement.name))
    if version is None:
        return f"which is not {place}"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"but {version} is {place}"
    return f"which is {place} but was left out"
