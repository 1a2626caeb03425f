"""The bundle and its table of contents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django_deploy.host.protocol import Event

if TYPE_CHECKING:
    from django_deploy.bundle.plain.contents import Contents
    from django_deploy.bundle.platforms import HostPlatform


@dataclass(frozen=True)
class Revision:
    """Where a source tree stands in its VCS: ``git`` or ``hg``, full id, branch, dirty or not."""

    vcs: str
    id: str
    branch: str = ""
    is_dirty: bool = False

    def __str__(self) -> str:
        dirty = " with uncommitted changes" if self.is_dirty else ""
        return f"{self.vcs} {self.id[:12]}{f' ({self.branch})' if self.branch else ''}{dirty}"


@dataclass(frozen=True)
class Wheel:
    """A wheel that was built here or lies here, to be sent. ``size`` is in bytes."""

    name: str
    version: str
    path: Path
    sha256: str
    size: int
    source: str = ""
    revision: Revision | None = None

    def as_dict(self) -> dict[str, Any]:
        """For ``release.json``; no path of this machine is in it."""
        return {
            "name": self.name,
            "version": self.version,
            "file": self.path.name,
            "sha256": self.sha256,
            "size": self.size,
            "revision": _revision_dict(self.revision),
        }


@dataclass(frozen=True)
class Pin:
    """A distribution that hosts install from their index: exact version, all its files' sha256.

    ``marker`` (PEP 508) says on which interpreters, empty on all. ``is_source`` where there is no wheel, so
    that each machine builds its own.
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    marker: str = ""
    is_source: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds and where it came from. ``created`` is in seconds since the epoch.

    ``requires`` is what each distribution's metadata requires, ``extras`` are those of the project that
    were asked for, ``markers`` the environment's variables (PEP 508): a host with others may need more or
    less, or be refused by what ``requires_python`` says; see ``fitting``. ``contents`` are the files of a
    plain project, ``vendored`` the wheels for pins that a bundle file brings along, ``tools``
    those of uv and the like.
    ``sdists`` take the place of wheels of the same name on hosts that cannot run these (BUILD_ON_HOST).
    ``origin`` tells where a bundle comes from that was not made here, ``only_for`` the one interpreter that
    it can be installed for.
    ``installed`` are name, version and ``.dist-info`` folder of the pins that are installed here.
    """

    project: str
    version: str
    python: str
    wheels: tuple[Wheel, ...]
    pins: tuple[Pin, ...]
    created: float
    created_by: str
    left_out: tuple[str, ...] = ()
    revision: Revision | None = None
    warnings: tuple[str, ...] = field(default=())
    requires: tuple[tuple[str, tuple[str, ...]], ...] = field(default=(), repr=False)
    extras: tuple[str, ...] = ()
    requires_python: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    contents: Contents | None = field(default=None, repr=False)
    markers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    vendored: tuple[Wheel, ...] = field(default=(), repr=False)
    tools: tuple[Wheel, ...] = field(default=(), repr=False)
    sdists: tuple[Wheel, ...] = field(default=(), repr=False)
    origin: str = ""
    only_for: HostPlatform | None = None
    installed: tuple[tuple[str, str, Path], ...] = field(default=(), repr=False)

    @property
    def distributions(self) -> Mapping[str, str]:
        """Canonical name to version, of everything that will be installed."""
        return versions(self.pins, self.wheels)

    @property
    def files(self) -> tuple[Wheel, ...]:
        """All files that a bundle file holds beside its manifest."""
        return (*self.wheels, *self.stock, *self.sdists)

    @property
    def stock(self) -> tuple[Wheel, ...]:
        """Wheels that a bundle file has brought along for whichever host needs them."""
        return (*self.vendored, *self.tools)

    def as_dict(self) -> dict[str, Any]:
        """For ``release.json`` and ``--json``; no path of this machine is in it."""
        return {
            "project": self.project,
            "version": self.version,
            "python": self.python,
            "created": round(self.created, 3),
            "created_by": self.created_by,
            "revision": _revision_dict(self.revision),
            "distributions": dict(sorted(self.distributions.items())),
            "wheels": [wheel.as_dict() for wheel in self.wheels],
            "left_out": list(self.left_out),
        }


def versions(pins: Iterable[Pin], wheels: Iterable[Wheel]) -> dict[str, str]:
    """Canonical name to version."""
    pinned = {pin.name: pin.version for pin in pins}
    return {**pinned, **{wheel.name: wheel.version for wheel in wheels}}


def _revision_dict(revision: Revision | None) -> dict[str, Any] | None:
    if revision is None:
        return None
    return {
        "vcs": revision.vcs,
        "id": revision.id,
        "branch": revision.branch,
        "dirty": revision.is_dirty,
    }


def bundle_ready(manifest: Manifest) -> Event:
    """The event that tells what a bundle has."""
    fields = {
        "distributions": len(manifest.distributions),
        "wheels": len(manifest.wheels),
        "bytes": sum(wheel.size for wheel in manifest.wheels),
        "revision": str(manifest.revision) if manifest.revision else "",
    }
    return Event("bundle.ready", fields=fields)
