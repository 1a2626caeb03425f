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
from django_deploy.exceptions import ConfigError, DeployError
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


def _after(now: float, facts: Sequence[Mapping[str, Any]]) -> float:
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


def choose_release(facts: Sequence[Mapping[str, Any]], wanted: str | None) -> str:
    """The release to go back to; raises ``DeployError`` that names what there is.

    Only releases that were live once, and that every host has, are offered. By default it is what was live
    before a change of the environment, else the newest that is older than the live one and that nobody went
    back from; a restart makes no release older or newer, and stands for what it has made once more.
    """
    offered: set[str] = set.intersection(
        *({r["id"] for r in fact["releases"] if r["state"] in ("live", "retired")} for fact in facts)
    )
    live = {fact["current"] for fact in facts}
    if wanted is not None:
        if wanted in offered:
            return wanted
        others = sorted(offered - live)
        remedy = f"There is: {', '.join(others) or 'no other release'}."
        if not any(wanted == release["id"] for fact in facts for release in fact["releases"]):
            raise ConfigError(f"There is no release {wanted!r}.", remedy=remedy)
        raise DeployError(f"Not every host has a release {wanted} that was live.", remedy=remedy)
    codes = {name: code_of(facts[0], name) or name for name in offered}
    origins = {_origin(fact) for fact in facts}
    made_of = [name for name in offered - live if codes[name] in origins]
    if len(origins) == 1 and made_of:
        return max(made_of)
    newest_live = max(filter(None, (code_of(fact, fact["current"]) for fact in facts)), default=None)
    given_up = {r["id"] for fact in facts for r in fact["releases"] if r.get("given_up")}
    left = offered - live - given_up
    older = [name for name in left if newest_live is not None and codes[name] < newest_live]
    if not older:
        raise DeployError(
            "There is no earlier release to go back to.", remedy="deploy_status shows what there is."
        )
    return max(older, key=lambda name: (codes[name], name))


def _origin(facts: Mapping[str, Any]) -> str | None:
    """What the environment of the live release was changed from."""
    return code_of(facts, find_release(facts, facts["current"]).get("made_of"))
