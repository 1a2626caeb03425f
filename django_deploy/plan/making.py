"""A plan is made from what is to be deployed and from what each host says of itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django_deploy.bundle.fitting import HostBundle
from django_deploy.bundle.inventory import Inventory, other_digests
from django_deploy.bundle.manifest import Manifest, Wheel
from django_deploy.bundle.room import NO_ROOM, Room
from django_deploy.exceptions import RolloutFailed
from django_deploy.target import Host, Target

from .estimate import durations_of
from .fitness import empty, idle, lacks_room, problems_of, warnings_of
from .model import Change, HostPlan, Plan
from .record import processes_of
from .releases import REPLACED, code_of, find_release, fingerprint, new_release_id, release_to_join


@dataclass(frozen=True)
class Shipment:
    """What a host has said of itself, in answer to the hello, and what it would get.

    ``bundle`` is what it installs (``fitting.fit``), ``tools`` are the wheels that ``tools_needed`` asked
    for, ``room`` is what the release takes on its disk (``shipment.measure_room``).
    """

    facts: Mapping[str, Any]
    bundle: HostBundle
    tools: Mapping[str, Wheel]
    room: Room


def make_plan(
    target: Target,
    manifest: Manifest,
    shipments: Mapping[Host, Shipment],
    *,
    inventory: Inventory,
    now: float,
) -> Plan:
    """Compare the bundle with what each host said of itself; pure.

    ``inventory`` is what each distribution consists of, ``now`` is in seconds since the epoch. Raises
    ``RolloutFailed`` with every host that is unfit.
    """
    facts = {host: shipments[host].facts for host in target.hosts}
    bundles = {host: shipments[host].bundle for host in target.hosts}
    prints = {host: fingerprint(target.for_host(host), bundles[host]) for host in target.hosts}
    problems = [
        problem
        for host in target.hosts
        for problem in problems_of(host, manifest, bundles[host], facts[host])
    ]
    print_ = fingerprint(target, manifest)
    altered = {host: _altered(facts[host], bundles[host], inventory) for host in target.hosts}
    release = release_to_join(prints, facts, altered) or new_release_id(print_, facts.values(), now)
    codes = {code_of(facts[host], release) for host in target.hosts if facts[host]["live"] == release}
    hosts = [
        _plan_host(
            host,
            shipments[host],
            release=release,
            print_=prints[host],
            codes=codes,
            altered=altered[host],
            processes=processes_of(target.for_host(host)),
        )
        for host in target.hosts
    ]
    problems += [problem for host in hosts for problem in lacks_room(target, host, facts[host.host])]
    if problems:
        raise RolloutFailed("Nothing was changed.", errors=problems)
    warnings = [
        *manifest.warnings,
        *(w for host in target.hosts for w in warnings_of(host, manifest, facts[host])),
        *idle(target),
        *empty(target),
    ]
    return Plan(target, manifest, release, print_, tuple(hosts), tuple(warnings), inventory=inventory)


def _altered(facts: Mapping[str, Any], bundle: HostBundle, inventory: Inventory) -> set[str]:
    """The pins that the live release has in the same version, with other files than there are here."""
    live = find_release(facts, facts["live"])
    versions = live.get("distributions") or {}
    same = {pin.name: pin.version for pin in bundle.pins if versions.get(pin.name) == pin.version}
    return other_digests(live.get("digests") or {}, same, inventory)


def _plan_host(
    host: Host,
    shipment: Shipment,
    *,
    release: str,
    print_: str,
    codes: Collection[str | None],
    altered: Collection[str],
    processes: Iterable[Mapping[str, Any]],
) -> HostPlan:
    """``codes``: what the release is a restart of, or is itself, where it is live.

    ``altered``: pins that changed and have no other version; ``processes``: those of the release.
    """
    facts, bundle, tools = shipment.facts, shipment.bundle, shipment.tools
    live = find_release(facts, facts["live"])
    is_current = code_of(facts, facts["live"]) in codes
    is_installed = not is_current and find_release(facts, release).get("state", "failed") not in REPLACED
    stored = set(facts["store"])
    # An unpacked tool stays in the host's store; both are removed together.
    needed = () if is_current or is_installed else (*bundle.wheels, *tools.values())
    before = dict(live.get("distributions") or {})
    wheels = {wheel["sha256"] for wheel in live.get("wheels") or ()}
    rebuilt = {wheel.name for wheel in bundle.wheels if wheel.sha256 not in wheels}
    changes = _changes(before, bundle.distributions, rebuilt.union(altered))
    return HostPlan(
        host=host,
        bundle=bundle,
        fingerprint=print_,
        live=facts["live"],
        is_current=is_current,
        is_installed=is_installed,
        installer="pip" if "pip" in tools else "uv",
        manager=facts["manager"],
        tools=tools,
        send=tuple(wheel for wheel in needed if wheel.sha256 not in stored),
        changes=changes,
        deferred=tuple(facts["deferred"]),
        same_pins=not altered and all(before.get(pin.name) == pin.version for pin in bundle.pins),
        room=shipment.room if needed else NO_ROOM,
        processes=_process_changes(live.get("processes") or (), processes),
        durations=durations_of(facts),
    )


def _process_changes(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]
) -> tuple[str, ...]:
    old, new = ({str(process["name"]): process for process in processes} for processes in (before, after))
    signs = {name: "~" if name in old and name in new else "+" if name in new else "-" for name in old | new}
    return tuple(
        f"{sign} process {name}" for name, sign in sorted(signs.items()) if old.get(name) != new.get(name)
    )


def _changes(
    before: Mapping[str, str], after: Mapping[str, str], rebuilt: Collection[str]
) -> tuple[Change, ...]:
    return tuple(
        Change(name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) or (name in rebuilt and name in before)
    )
