"""What a deployment would change, on the whole and on each host: values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from django_deploy.bundle.delta import Delta
from django_deploy.bundle.fitting import HostBundle
from django_deploy.bundle.inventory import Inventory
from django_deploy.bundle.manifest import Manifest, Wheel
from django_deploy.bundle.room import NO_ROOM, Room
from django_deploy.bundle.wheels.revision import Commits
from django_deploy.exceptions import DeployError
from django_deploy.target import Host, Target

from .estimate import Estimate, PastDeployment, estimate
from .record import record
from .shown import as_dict, lines_of


@dataclass(frozen=True)
class Change:
    """One distribution that differs: ``before`` or ``after`` is None when it is added or removed."""

    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"+ {self.name} {self.after}"
        if self.after is None:
            return f"- {self.name} {self.before}"
        if self.before == self.after:
            return f"~ {self.name} {self.after} (other content)"
        return f"~ {self.name} {self.before} -> {self.after}"


@dataclass(frozen=True)
class HostPlan:
    """What would happen on one host. ``send`` are wheels and tools that its store lacks.

    Nothing happens where the release ``is_current``, unless migrations of it are ``deferred`` still; one that
    ``is_installed`` is only made live.

    Those whose sha256 is in ``deltas`` are sent as their difference to what it has. ``room`` is what it
    takes of the host's disk. ``processes`` are those that differ from the live release's, ``durations`` what
    the last deployments took, ``rehearsal`` is what the host itself found to change (``host/comparison.py``),
    None where it was not asked.
    """

    host: Host
    bundle: HostBundle
    fingerprint: str
    live: str | None
    is_current: bool
    installer: str
    manager: str
    tools: Mapping[str, Wheel]
    send: tuple[Wheel, ...]
    changes: tuple[Change, ...]
    same_pins: bool
    deltas: Mapping[str, Delta] = field(default_factory=dict)
    is_installed: bool = False
    deferred: tuple[str, ...] = ()
    room: Room = NO_ROOM
    processes: tuple[str, ...] = ()
    durations: tuple[PastDeployment, ...] = ()
    rehearsal: Mapping[str, Any] | None = None

    @property
    def needed(self) -> tuple[Wheel, ...]:
        """The wheels and tools that its store must have to make the release."""
        return (*self.bundle.wheels, *self.tools.values())

    @property
    def bytes_to_send(self) -> int:
        return sum(self.deltas.get(wheel.sha256, wheel).size for wheel in self.send)


@dataclass(frozen=True)
class Plan:
    """A release and what it takes on each host; empty when every host runs it already.

    Where some hosts run it, it is theirs, and the others are brought up to it.

    A host whose interpreter needs more, or less, has a ``fingerprint`` of its own; the release is one.
    ``commits`` lie between the live release and this one, where that is known. ``refusals`` are what hosts
    that were asked would refuse it for. ``inventory`` is what hosts must find in what they install.
    """

    target: Target
    manifest: Manifest
    release: str
    fingerprint: str
    hosts: tuple[HostPlan, ...]
    warnings: tuple[str, ...] = ()
    commits: Commits | None = None
    refusals: tuple[DeployError, ...] = ()
    inventory: Inventory = field(default_factory=dict, repr=False)

    @property
    def is_empty(self) -> bool:
        return all(host.is_current for host in self.hosts)

    @property
    def changing(self) -> tuple[Host, ...]:
        """The hosts on which the release becomes live."""
        return tuple(host.host for host in self.hosts if not host.is_current)

    @property
    def installing(self) -> tuple[Host, ...]:
        """Those of them on which it is made first."""
        return tuple(host.host for host in self.hosts if not (host.is_current or host.is_installed))

    @property
    def deferring(self) -> tuple[Host, ...]:
        """The hosts that serve the release, and where migrations wait that were to follow its confirm."""
        return tuple(host.host for host in self.hosts if host.is_current and host.deferred)

    def host(self, name: str) -> HostPlan:
        return next(plan for plan in self.hosts if plan.host.name == name)

    @property
    def estimate(self) -> Estimate | None:
        """How long it will take once everything is sent; None where nobody knows."""
        return estimate(self)

    def record(self, host: HostPlan) -> dict[str, Any]:
        """What the host keeps of the release in ``release.json``."""
        return record(self, host)

    def as_dict(self) -> dict[str, Any]:
        """The ``plan`` of the event ``plan.ready`` (docs/reference/events.rst)."""
        return as_dict(self)

    def lines(self) -> list[str]:
        """For people, who have been told the warnings before."""
        return lines_of(self)

    def lock(self, host: HostPlan) -> str:
        """The host's requirements file, with the wheels' places in its store."""
        store = f"file://{quote(str(self.target.root))}/.deploy/store"
        wheels = host.bundle.wheels
        return host.bundle.lock(
            {wheel.sha256: f"{store}/{wheel.sha256}/{quote(wheel.path.name)}" for wheel in wheels}
        )
