"""What one host installs of a bundle: its interpreter may need more, or less, than the one here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from django_deploy.bundle.manifest import versions
from django_deploy.bundle.platforms import fits
from django_deploy.bundle.selection import Graph, Node
from django_deploy.bundle.wheels.compiled import lacking_glibc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from packaging.utils import NormalizedName

    from django_deploy.bundle.index.sources import Sources
    from django_deploy.bundle.manifest import Manifest, Pin, Wheel
    from django_deploy.bundle.platforms import HostPlatform


@dataclass(frozen=True)
class HostBundle:
    """What a host gets from its index (``pins``) and from here (``wheels``).

    ``missing`` is what this environment lacks and the host's interpreter needs, as (by whom, name);
    ``added`` are the pins that make up for it. ``left_out`` cannot run there, and nothing there needs it;
    ``idle`` is installed although nothing there needs it. ``refused`` is needed and does not run on the
    host's Python, as (name, what it requires). ``lacking`` are wheels that were compiled for a newer glibc,
    as (file, version); ``built_there`` those distributions whose sdist is sent instead of such a wheel.
    """

    pins: tuple[Pin, ...]
    wheels: tuple[Wheel, ...]
    missing: tuple[tuple[str, str], ...] = ()
    added: tuple[Pin, ...] = ()
    left_out: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    lacking: tuple[tuple[str, str], ...] = ()
    built_there: tuple[str, ...] = ()

    @property
    def distributions(self) -> Mapping[str, str]:
        """Canonical name to version, of everything that will be installed."""
        return versions(self.pins, self.wheels)

    def lock(self, wheel_path: Mapping[str, str]) -> str:
        """The requirements file that installs exactly this, with hashes.

        ``wheel_path`` maps a wheel's sha256 to its ``file://`` address on the host.
        """
        lines = [
            f"{pin.name}=={pin.version}" + "".join(f" --hash=sha256:{sha}" for sha in pin.hashes)
            for pin in self.pins
        ]
        lines += [
            f"{wheel.name} @ {wheel_path[wheel.sha256]} --hash=sha256:{wheel.sha256}" for wheel in self.wheels
        ]
        return "\n".join(sorted(lines)) + "\n"


def fit(
    manifest: Manifest, platform: HostPlatform, sources: Sources, *, cache: Path, is_strict: bool = False
) -> HostBundle:
    """What a host with this interpreter installs.

    Environment markers (PEP 508) go by the patch level: with 3.11.7 here and 3.11.2 there, redis needs
    async-timeout. What is missing is resolved beside the bundle's pins, which stay as they are, unless
    ``is_strict``. Raises ``BundleError`` when it cannot be resolved.
    """
    markers = platform.markers()
    pins = _pins_for(manifest, markers)
    absent = _absent(manifest, markers)
    refused = tuple(
        pair for pair in refused_on_host(manifest, markers["python_full_version"]) if pair[0] not in absent
    )
    if markers == dict(manifest.markers):
        return _with_sdists(HostBundle(pins, manifest.wheels, refused=refused), manifest, platform)
    idle = superfluous_on_host(manifest, markers)
    left_out = frozenset(name for name, _ in refused).intersection(idle)
    kept = tuple(pin for pin in pins if pin.name not in left_out)
    missing = missing_on_host(manifest, markers)
    added: tuple[Pin, ...] = ()
    if missing and not is_strict:
        from django_deploy.bundle.index.resolution import resolve

        added = resolve(_requirements_of(missing, manifest, markers), kept, platform, sources, cache=cache)
    bundle = HostBundle(
        pins=(*kept, *added),
        wheels=tuple(wheel for wheel in manifest.wheels if wheel.name not in left_out),
        added=added,
        missing=missing,
        left_out=tuple(sorted(left_out)),
        idle=tuple(name for name in idle if name not in left_out),
        refused=tuple(pair for pair in refused if pair[0] not in left_out),
    )
    return _with_sdists(bundle, manifest, platform)


def _with_sdists(bundle: HostBundle, manifest: Manifest, platform: HostPlatform) -> HostBundle:
    """The bundle with an sdist for each wheel that the host cannot run, where there is one."""
    sdists = {sdist.name: sdist for sdist in manifest.sdists}
    lacking = {wheel.name: lacking_glibc(wheel, platform) for wheel in bundle.wheels}
    unfit = [wheel for wheel in bundle.wheels if lacking[wheel.name] or not fits(wheel, platform)]
    there = tuple(wheel.name for wheel in unfit if wheel.name in sdists)
    return replace(
        bundle,
        wheels=tuple(sdists[item.name] if item.name in there else item for item in bundle.wheels),
        built_there=there,
        lacking=tuple(
            (item.path.name, lacking[item.name])
            for item in unfit
            if lacking[item.name] and item.name not in there
        ),
    )


def _pins_for(manifest: Manifest, markers: Mapping[str, str]) -> tuple[Pin, ...]:
    """The pins whose own markers let them count on such an interpreter."""
    return tuple(pin for pin in manifest.pins if not pin.marker or Marker(pin.marker).evaluate(markers))


def _absent(manifest: Manifest, markers: Mapping[str, str]) -> frozenset[str]:
    """The names of which no pin counts there."""
    present = {pin.name for pin in _pins_for(manifest, markers)}
    return frozenset(pin.name for pin in manifest.pins if pin.name not in present)


def marker_variables() -> dict[str, str]:
    """The variables of environment markers here, but for the kernel's version, of which nobody asks."""
    unasked = {"platform_release": "", "platform_version": ""}
    return {name: str(value) for name, value in default_environment().items()} | unasked


def missing_on_host(manifest: Manifest, markers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What a host's interpreter needs beyond this environment: (by whom, name) for each.

    ``markers`` are ``HostPlatform.markers()``.
    """
    distributions = _required(manifest, markers)
    start = _start(manifest, (item.name for item in distributions))
    before = dict(manifest.markers)
    here = set(Graph(_required(manifest, before), before).missing(start))
    return tuple(pair for pair in Graph(distributions, markers).missing(start) if pair not in here)


def superfluous_on_host(manifest: Manifest, markers: Mapping[str, str]) -> tuple[str, ...]:
    """What is there only for what a host's interpreter does not need: ``tomli`` on a newer Python."""
    distributions = _required(manifest, markers)
    start = _start(manifest, Graph(distributions, dict(manifest.markers)).roots(frozenset()))
    needed = Graph(distributions, markers).reach(start)
    return tuple(item.name for item in distributions if item.name not in needed)


def refused_on_host(manifest: Manifest, python: str) -> tuple[tuple[str, str], ...]:
    """What does not run on a host's Python, by its own metadata: (name, what it requires) for each.

    It depends on the patch level too: soupsieve 4.1 requires >=3.11.5. ``python`` is the full version.
    """
    return tuple((name, wanted) for name, wanted in manifest.requires_python if not _contains(wanted, python))


def _contains(specifier: str, version: str) -> bool:
    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidSpecifier:  # metadata from before PEP 440
        return True


@dataclass(frozen=True)
class _Required:
    """What the graph has to know of a distribution of a manifest."""

    name: NormalizedName
    requires: tuple[str, ...]


def _required(manifest: Manifest, markers: Mapping[str, str]) -> tuple[_Required, ...]:
    """What there is on such an interpreter."""
    absent = _absent(manifest, markers)
    return tuple(
        _Required(canonicalize_name(name), requires)
        for name, requires in manifest.requires
        if name not in absent
    )


def _start(manifest: Manifest, names: Iterable[NormalizedName]) -> tuple[Node, ...]:
    project = canonicalize_name(manifest.project)
    return (*map(Node, names), *(Node(project, extra) for extra in manifest.extras))


def _requirements_of(
    missing: Iterable[tuple[str, str]], manifest: Manifest, markers: Mapping[str, str]
) -> tuple[str, ...]:
    """The requirements behind what is missing, as their distributions state them."""
    requires = dict(manifest.requires)
    found = {
        f"{name}{_extras(requirement)}{requirement.specifier}"
        for requirer, name in missing
        for requirement in _stated(requires, requirer, name, markers)
    }
    return tuple(sorted(found))


def _stated(
    requires: Mapping[str, tuple[str, ...]], requirer: str, name: str, markers: Mapping[str, str]
) -> Iterator[Requirement]:
    by = Requirement(requirer)
    for text in requires[by.name]:
        requirement = Requirement(text)
        contexts = ({**markers, "extra": extra} for extra in ("", *by.extras))
        is_meant = requirement.marker is None or any(map(requirement.marker.evaluate, contexts))
        if is_meant and canonicalize_name(requirement.name) == name:
            yield requirement


def _extras(requirement: Requirement) -> str:
    return f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
