"""What decides which wheels a host can use, and which of them fits best."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags, sys_tags
from packaging.utils import BuildTag, InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django_deploy.bundle.index.pages import File
    from django_deploy.bundle.manifest import Wheel

#: The oldest glibc that wheels are made for, by architecture; all others: 2.17.
_OLDEST_GLIBC = {"x86_64": (2, 5), "i686": (2, 5)}

#: Names of platform tags from before they told the glibc version.
_LEGACY_TAGS = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}


@dataclass(frozen=True)
class HostPlatform:
    """What decides which wheels a host can use.

    ``version`` is Python's, ``implementation`` as in ``sys.implementation.name``, ``machine`` as in
    ``platform.machine()``. ``glibc`` or ``musl`` is the C library's version, say ``"2.36"``, and None
    where the host has another. ``system`` is as in ``sys.platform``.
    """

    version: tuple[int, int, int]
    implementation: str = "cpython"
    machine: str = "x86_64"
    glibc: str | None = None
    musl: str | None = None
    is_free_threaded: bool = False
    system: str = "linux"

    def __str__(self) -> str:
        """For people: ``Python 3.11.2 on x86_64 (glibc 2.36)``."""
        libc = f"glibc {self.glibc}" if self.glibc else f"musl {self.musl}" if self.musl else self.system
        build = " free-threaded" if self.is_free_threaded else ""
        return f"Python {'.'.join(map(str, self.version))}{build} on {self.machine} ({libc})"

    def tags(self) -> Iterator[Tag]:
        """The tags that the host's own ``packaging`` would list, most specific first."""
        if self.system != "linux":
            yield from self._tags_of_this_machine()
            return
        platforms = list(self._platforms())
        minor = self.version[:2]
        interpreter = f"{'cp' if self.implementation == 'cpython' else 'pp'}{minor[0]}{minor[1]}"
        if self.implementation == "cpython":
            abis = [f"{interpreter}{'t' if self.is_free_threaded else ''}"]
            yield from cpython_tags(minor, abis=abis, platforms=platforms)
        yield from compatible_tags(minor, interpreter, platforms)

    def markers(self) -> dict[str, str]:
        """The variables of environment markers (PEP 508) there, but for the kernel's version."""
        full_version = ".".join(map(str, self.version))
        is_cpython = self.implementation == "cpython"
        return {
            "implementation_name": self.implementation,
            "implementation_version": full_version,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython" if is_cpython else "PyPy",
            "platform_release": "",
            "platform_system": self.system.capitalize(),
            "platform_version": "",
            "python_full_version": full_version,
            "python_version": ".".join(map(str, self.version[:2])),
            "sys_platform": self.system,
        }

    def _tags_of_this_machine(self) -> Iterator[Tag]:
        if (self.system, self.machine) != (sys.platform, platform.machine()):
            raise BundleError(
                f"Wheels for {self.system} on {self.machine} can be chosen on such a machine only."
            )
        yield from sys_tags()

    def _platforms(self) -> Iterator[str]:
        machine = self.machine
        yield f"linux_{machine}"
        if self.glibc is not None:
            yield from _manylinux_tags(_two_numbers(self.glibc), machine)
        if self.musl is not None:
            major, newest = _two_numbers(self.musl)
            yield from (f"musllinux_{major}_{minor}_{machine}" for minor in range(newest, -1, -1))


def _two_numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _manylinux_tags(glibc: tuple[int, int], machine: str) -> Iterator[str]:
    """Platform tags of all glibc versions up to the host's (PEP 600), newest first."""
    oldest = _OLDEST_GLIBC.get(machine, (2, 17))
    for minor in range(glibc[1], oldest[1] - 1, -1):
        yield f"manylinux_{glibc[0]}_{minor}_{machine}"
        legacy = _LEGACY_TAGS.get((glibc[0], minor))
        if legacy:
            yield f"{legacy}_{machine}"


def choose_wheel(files: Iterable[File], platform: HostPlatform) -> File | None:
    """The newest stable wheel that fits; of one version, the one that fits best."""
    stable = [
        (version, fit, file)
        for version, fit, file in _fitting(files, platform)
        if not file.is_yanked and not version.is_prerelease
    ]
    return max(stable, key=lambda found: found[:2])[2] if stable else None


def best_wheel(files: Iterable[File], platform: HostPlatform) -> File | None:
    """The wheel that fits best, of files of one version; it was chosen, so it may be yanked."""
    fitting = list(_fitting(files, platform))
    return max(fitting, key=lambda found: found[1])[2] if fitting else None


def _fitting(
    files: Iterable[File], platform: HostPlatform
) -> Iterator[tuple[Version, tuple[int, BuildTag], File]]:
    """Version and fitness of each wheel that the host can use; the greater fits better."""
    ranks = _ranks(platform)
    for file in files:
        if not file.filename.endswith(".whl"):
            continue
        try:
            _, version, build, tags = parse_wheel_filename(file.filename)
        except InvalidWheelFilename:
            continue
        rank = min((ranks[tag] for tag in tags if tag in ranks), default=None)
        if rank is not None and supports(file, platform):
            yield version, (-rank, build), file


@lru_cache(maxsize=16)
def _ranks(platform: HostPlatform) -> Mapping[Tag, int]:
    """The place of each tag among those of the host; a tag may come twice."""
    return {tag: rank for rank, tag in reversed(list(enumerate(platform.tags())))}


def fits(wheel: Wheel, platform: HostPlatform) -> bool:
    """Whether the host can install the wheel, by its tags; an sdist it can build."""
    if wheel.path.suffix != ".whl":
        return True
    tags = parse_wheel_filename(wheel.path.name)[3]
    return any(tag.abi == "none" and tag.platform == "any" for tag in tags) or not tags.isdisjoint(
        platform.tags()
    )


def supports(file: File, platform: HostPlatform) -> bool:
    """Whether the file is for the host's Python, by what its index says (``Requires-Python``)."""
    try:
        return SpecifierSet(file.requires_python).contains(".".join(map(str, platform.version)))
    except InvalidSpecifier:
        return True
