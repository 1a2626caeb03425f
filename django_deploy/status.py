"""What every host says of itself, once or again and again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from .clock import Clock, interruptible
from .exceptions import DeployError
from .host.protocol import Report, ignore
from .plan.releases import code_of
from .target import Host, Target
from .transport.fleet import Fleet, result_of
from .transport.session import HostSession, Reply
from .transport.ssh import Prompts, no_prompts


@dataclass(frozen=True)
class HostStatus:
    """What one host says of itself; with an ``error`` it said nothing.

    ``behind`` is the newest release that is live on any host, where it is not on this one. ``lock`` has
    ``by``, ``since`` (seconds since the epoch), ``target`` and ``phase`` of who holds it; ``maintenance``,
    while visitors see that page, ``message``, ``by`` and ``since``. ``left_open`` has
    ``release`` and ``phase`` of a deployment that was cut off, and that the next one puts right.
    """

    host: str
    error: str = ""
    live: str | None = None
    behind: str | None = None
    lock: Mapping[str, Any] | None = None
    maintenance: Mapping[str, Any] | None = None
    left_open: Mapping[str, Any] | None = None
    releases: tuple[Mapping[str, Any], ...] = ()
    processes: tuple[Mapping[str, Any], ...] = ()


def look(target: Target, *, report: Report = ignore, prompts: Prompts = no_prompts) -> tuple[HostStatus, ...]:
    """What every host says of itself; one that does not answer says why."""
    with interruptible(Clock(report)), Fleet(target, report=report, prompts=prompts) as fleet:
        return _statuses([(host, _facts(found)) for host, found in fleet.outcomes()])


def watch(target: Target, *, prompts: Prompts = no_prompts) -> Iterator[tuple[HostStatus, ...]]:
    """The status whenever one asks for the next; links stay open, and a broken one is opened anew."""
    fleets: dict[Host, Fleet] = {}
    try:
        while True:
            for host in target.hosts:
                if host not in fleets:
                    fleets[host] = Fleet(replace(target, hosts=(host,)), report=ignore, prompts=prompts)
            asked = [(host, _ask_again(fleets[host])) for host in target.hosts]
            found = [(host, result_of(future)) for host, future in asked]
            for host, facts in found:
                if isinstance(facts, DeployError):
                    fleets.pop(host).dismiss([host])
            yield _statuses(found)
    finally:
        for host, fleet in fleets.items():
            fleet.dismiss([host])


def _ask_again(fleet: Fleet) -> DeployError | Future[Reply]:
    [(_, found)] = fleet.outcomes()
    return found if isinstance(found, DeployError) else found.request("probe")


def _facts(found: DeployError | HostSession) -> DeployError | Reply:
    return found if isinstance(found, DeployError) else found.facts


def _statuses(found: Sequence[tuple[Host, DeployError | Reply]]) -> tuple[HostStatus, ...]:
    answers = [facts for _, facts in found if not isinstance(facts, DeployError)]
    newest = max((facts["current"] for facts in answers if facts["current"]), default=None)
    codes = {code_of(facts, newest) for facts in answers if facts["current"] == newest}
    return tuple(
        HostStatus(host.name, error=str(facts))
        if isinstance(facts, DeployError)
        else _describe(host, facts, newest, codes)
        for host, facts in found
    )


def _describe(
    host: Host, facts: Mapping[str, Any], newest: str | None, codes: Collection[str | None]
) -> HostStatus:
    """``codes``: what the newest live release is a restart of, or is itself."""
    return HostStatus(
        host.name,
        live=facts["current"],
        behind=None if code_of(facts, facts["current"]) in codes else newest,
        lock=facts["lock"],
        maintenance=facts["maintenance"],
        left_open=facts["transaction"] if facts["unfinished"] and not facts["lock"] else None,
        releases=tuple(facts["releases"]),
        processes=tuple(facts["processes"]),
    )
