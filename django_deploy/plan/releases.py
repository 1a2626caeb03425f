"""The releases that hosts have, and the name of the next."""

from __future__ import annotations

import calendar
import hashlib
import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from django_deploy.bundle.fitting import HostBundle
from django_deploy.bundle.manifest import Manifest
from django_deploy.target import Host, Target

from .record import health_of, processes_of

#: The states in which a live release's process needs no help.
UP = ("running", "starting")

#: The states in which a release that a host has is of no use: it is made once more.
REPLACED = ("failed", "preparing")

#: Where year, month, day, hour, minute and second stand in a release id.
_TIME_PARTS = ((0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15))


def find_release(facts: Mapping[str, Any], id: str | None) -> Mapping[str, Any]:
    """What a host says of one of its releases; empty where it has none of that id."""
    return next((release for release in facts["releases"] if release["id"] == id), {})


def code_of(facts: Mapping[str, Any], release: str | None) -> str | None:
    """The release that this one is a restart of; by itself it is its own."""
    return find_release(facts, release).get("same_as") or release


def fingerprint(target: Target, bundle: Manifest | HostBundle) -> str:
    """The sha256 of everything that makes a release what it is: code, pins, environment, processes, steps."""
    ingredients = {
        "pins": sorted((pin.name, pin.version) for pin in bundle.pins),
        "wheels": sorted(wheel.sha256 for wheel in bundle.wheels),
        "python": target.python,
        "settings": target.settings_module,
        "environment": sorted(target.env.items()),
        "processes": processes_of(target),
        "manager": target.process_manager,
        "steps": [asdict(step) for step in target.steps],
        "health": health_of(target),
        "restart": [list(command) for command in target.restart],
    }
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


def new_release_id(print_: str, facts: Iterable[Mapping[str, Any]], now: float) -> str:
    """Its time, and the start of its fingerprint."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(_after(now, list(facts))))
    return f"{stamp}-{print_[:7]}"


def _after(now: float, facts: Sequence[Mapping[str, Any]] | Any) -> float:
    """A time later than that of every release there is: ids sort in the order of deployment."""
    newest = max((release["id"][:16] for fact in facts for release in fact["releases"]), default="")
    if newest and newest >= time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)):
        return _seconds(newest) + 1
    return now


def _seconds(stamp: str) -> int:
    """Of a release id's time, which may name a day that its month does not have."""
    return calendar.timegm((*(int(stamp[slice(*part)]) for part in _TIME_PARTS), 0, 0, 0))


def release_to_join(
    prints: Mapping[Host, str],
    facts: Mapping[Host, Mapping[str, Any]],
    altered: Mapping[Host, Collection[str]],
) -> str | None:
    """The newest release that hosts serve and that is what this plan would make; the others join them.

    None where there is none, or where a host has something else of that name, as some of it is ``altered``,
    or it does not run well there: then a new release is for all hosts.
    """
    serving = [
        host
        for host, print_ in prints.items()
        if find_release(facts[host], facts[host]["live"]).get("fingerprint") == print_
    ]
    if any(altered[host] for host in serving):
        return None
    newest = max((facts[host]["live"] for host in serving), default=None)
    if newest is None or not all(_can_join(facts[host], newest, print_) for host, print_ in prints.items()):
        return None
    return str(newest)


def _can_join(facts: Mapping[str, Any], release: str, print_: str) -> bool:
    found = find_release(facts, release)
    if facts["live"] == release and not _is_up(facts):
        return False
    return found.get("state", "failed") in REPLACED or found["fingerprint"] == print_


def _is_up(facts: Mapping[str, Any]) -> bool:
    processes = [process for process in facts["processes"] if process["release"] == facts["live"]]
    is_whole = facts["linked"] and not facts["unfinished"]
    return is_whole and all(process["state"] in UP for process in processes)
