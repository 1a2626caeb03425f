"""Wheels for hosts without an index: one for each pin, chosen for the host, fetched or built here."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.markers import Marker
from packaging.utils import canonicalize_name

from django_deploy.bundle.cache import digest, prune, read_record, write_aside, write_record
from django_deploy.bundle.environment import Distribution
from django_deploy.bundle.manifest import Wheel
from django_deploy.bundle.platforms import best_wheel, fits, supports
from django_deploy.bundle.wheels.compiled import lacking_glibc
from django_deploy.exceptions import BundleError
from django_deploy.host.protocol import Event, Report, ignore
from django_deploy.wording import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from django_deploy.bundle.index.pages import File, Index
    from django_deploy.bundle.index.sources import Sources
    from django_deploy.bundle.manifest import Pin
    from django_deploy.bundle.platforms import HostPlatform

DOWNLOADS_AT_ONCE = 8

#: Seconds after which a file that was not used leaves the cache.
KEPT_FOR = 60 * 24 * 3600

#: How many tags of wheels that do not fit are named.
TAGS_NAMED = 6


@dataclass(frozen=True)
class _Found:
    """A ``wheel`` that fits, an ``sdist`` to build one from, or the ``problem`` why there is neither.

    ``has_failed`` when an index did not answer as it should, so that another time may be better.
    """

    wheel: Path | None = None
    sdist: Path | None = None
    problem: str = ""
    has_failed: bool = False


def vendor(
    pins: Iterable[Pin],
    platform: HostPlatform,
    sources: Sources,
    *,
    cache: Path,
    report: Report = ignore,
    stock: Iterable[Wheel] = (),
) -> tuple[Wheel, ...]:
    """The wheel that the host installs for each pin whose marker is true there, in the same order.

    Only files that the pins' hashes allow are taken. What has no wheel for the host is built here from
    its sdist, if the result fits. Files are kept in ``cache``; nothing is asked when all of them are
    there, or in ``stock``, which a bundle file brings along. Raises one ``BundleError`` that names every pin
    without a file for this host.
    """
    markers = platform.markers()
    wanted = [pin for pin in pins if not pin.marker or Marker(pin.marker).evaluate(markers)]
    at_hand = _fitting_best(stock, platform)
    wheels = {pin: at_hand.get((pin.name, pin.version)) or _recall(pin, platform, cache) for pin in wanted}
    unknown = [pin for pin, wheel in wheels.items() if wheel is None]
    if unknown:
        started = time.monotonic()
        report(Event("vendor.started", fields={"distributions": len(unknown)}))
        fetched = _Vendor(platform, sources, cache, report).provide(unknown)
        seconds = round(time.monotonic() - started, 3)
        size = sum(wheel.size for wheel in fetched.values())
        fields = {"distributions": len(fetched), "bytes": size, "seconds": seconds}
        report(Event("vendor.finished", fields=fields))
        prune(cache / "files", "*", unused_for=KEPT_FOR)
        wheels |= fetched
    return tuple(wheel for wheel in wheels.values() if wheel is not None)


def _fitting_best(stock: Iterable[Wheel], platform: HostPlatform) -> dict[tuple[str, str], Wheel]:
    """Of the wheels at hand, by name and version, those that fit the host best."""
    from django_deploy.bundle.index.pages import File

    wheels = {wheel.path.name: wheel for wheel in stock}
    same: dict[tuple[str, str], list[File]] = {}
    for name, wheel in wheels.items():
        same.setdefault((wheel.name, wheel.version), []).append(File(name, ""))
    best = {key: best_wheel(files, platform) for key, files in same.items()}
    return {key: wheels[file.filename] for key, file in best.items() if file is not None}


def _record_file(pin: Pin, platform: HostPlatform, cache: Path) -> Path:
    # The hashes say which files there are to choose from, so the answer cannot change.
    key = digest(pin.name, pin.version, sorted(pin.hashes), repr(platform))
    return cache / "vendored" / key[:2] / f"{key}.json"


def _recall(pin: Pin, platform: HostPlatform, cache: Path) -> Wheel | None:
    """The wheel that was chosen before, if its file is still there."""
    record = read_record(_record_file(pin, platform, cache))
    if record is None:
        return None
    path = cache / "files" / record["sha256"] / record["file"]
    if not path.is_file() or path.stat().st_size != record["size"]:
        return None
    path.touch()  # keeps it from being pruned
    return Wheel(pin.name, pin.version, path, record["sha256"], record["size"])


def _remember(wheel: Wheel, pin: Pin, platform: HostPlatform, cache: Path) -> None:
    fields = {"sha256": wheel.sha256, "file": wheel.path.name, "size": wheel.size}
    write_record(_record_file(pin, platform, cache), fields)


class _Vendor:
    """Provides wheels for one kind of host."""

    def __init__(self, platform: HostPlatform, sources: Sources, cache: Path, report: Report) -> None:
        self._platform = platform
        self._sources = sources
        self._cache = cache
        self._report = report

    def provide(self, pins: Sequence[Pin]) -> dict[Pin, Wheel]:
        """A wheel for every pin; ``BundleError`` when that cannot be."""
        found = self._find(pins)
        found |= self._build({pin: item.sdist for pin, item in found.items() if item.sdist is not None})
        lacking = {pin: item for pin, item in found.items() if item.problem}
        wheels = {pin: _describe(pin, item.wheel) for pin, item in found.items() if item.wheel is not None}
        for pin, wheel in wheels.items():
            _remember(wheel, pin, self._platform, self._cache)
        if lacking:
            raise _missing(lacking, self._platform)
        return wheels

    def _find(self, pins: Sequence[Pin]) -> dict[Pin, _Found]:
        from django_deploy.bundle.index.pages import Index

        index = Index(self._sources)
        try:
            with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
                found = pool.map(lambda pin: self._fetch(pin, index), pins)
                return dict(zip(pins, found, strict=True))
        finally:
            index.close()

    def _fetch(self, pin: Pin, index: Index) -> _Found:
        """The pin's best file, downloaded."""
        from django_deploy.bundle.index.client import IndexFailure

        folder = self._cache / "files"
        try:
            files = index.files_of_version(canonicalize_name(pin.name), pin.version)
            allowed = [file for file in files if file.sha256 in ("", *pin.hashes)]
            wheel = best_wheel(allowed, self._platform)
            if wheel is not None:
                return _Found(wheel=index.fetch(wheel, folder, pin.hashes))
            sdist = next((file for file in allowed if self._can_build(file)), None)
            if sdist is not None:
                return _Found(sdist=index.fetch(sdist, folder, pin.hashes))
        except IndexFailure as error:
            return _Found(problem=str(error), has_failed=True)
        return _Found(problem=self._why_none(files, allowed))

    def _can_build(self, file: File) -> bool:
        return not file.filename.endswith(".whl") and supports(file, self._platform)

    def _why_none(self, files: Sequence[File], allowed: Sequence[File]) -> str:
        """Why none of the version's files will do."""
        if not files:
            return "no index has this version"
        other = best_wheel(files, self._platform)
        if other is not None:
            return f"{other.filename} would fit, but its sha256 is not among those of the lock"
        if not allowed:
            return "no file of this version on the indexes has a sha256 that the lock allows"
        wanted = sorted({file.requires_python for file in allowed if not supports(file, self._platform)})
        if wanted:
            return f"its files require Python {' or '.join(wanted)}"
        names = [file.filename for file in allowed if file.filename.endswith(".whl")]
        tags = sorted({"-".join(name.removesuffix(".whl").split("-")[-3:]) for name in names})
        return f"there is no sdist, and wheels only for {listed(tags, TAGS_NAMED)}"

    def _build(self, sdists: Mapping[Pin, Path]) -> dict[Pin, _Found]:
        """Wheels of what has none for this host."""
        from django_deploy.bundle.wheels.builder import BUILDS_AT_ONCE

        if not sdists:
            return {}
        with ThreadPoolExecutor(BUILDS_AT_ONCE) as pool:
            built = pool.map(lambda item: self._build_one(*item), sdists.items())
            return dict(zip(sdists, built, strict=True))

    def _build_one(self, pin: Pin, sdist: Path) -> _Found:
        from django_deploy.bundle.wheels.builder import WheelBuilder

        name = canonicalize_name(pin.name)
        distribution = Distribution(name, pin.version, "local", (), sdist.parent, source=sdist)
        try:
            wheel = WheelBuilder(self._cache, self._report, sources=self._sources).build(distribution).wheel
        except BundleError as error:
            return _Found(problem=error.message)
        if not fits(wheel, self._platform):
            return _Found(problem=f"it has an sdist, but what that gives here is {wheel.path.name}")
        if needed := lacking_glibc(wheel, self._platform):
            return _Found(problem=f"it has an sdist, but what that gives here needs glibc {needed}")
        return _Found(wheel=_keep(wheel, self._cache / "files"))


def _keep(wheel: Wheel, folder: Path) -> Path:
    """A wheel that was built here, in its place by content."""
    place = folder / wheel.sha256 / wheel.path.name
    if not place.is_file():
        with write_aside(place) as aside:
            shutil.copyfile(wheel.path, aside)
    return place


def _describe(pin: Pin, path: Path) -> Wheel:
    """A wheel of the cache, whose folder has the name of its digest."""
    return Wheel(pin.name, pin.version, path, path.parent.name, path.stat().st_size)


def _missing(lacking: Mapping[Pin, _Found], platform: HostPlatform) -> BundleError:
    lines = "\n".join(f"  {pin.name} {pin.version}: {item.problem}" for pin, item in lacking.items())
    remedy = (
        "Install versions here that have wheels for it, or deploy from a machine like the host: there "
        "wheels are built from sdists."
    )
    if all(item.has_failed for item in lacking.values()):
        remedy = "Fix the index or the connection to it, and deploy again: what was fetched is kept."
    return BundleError(f"There is no file of these distributions for {platform}:\n{lines}", remedy=remedy)
