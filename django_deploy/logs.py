"""The logs of all hosts as one: in the order of time, to their end or for as long as one looks on."""

from __future__ import annotations

import queue
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import datetime

from .exceptions import ConfigError, DeployError
from .host.protocol import Event, Report
from .target import Target
from .transport.fleet import Fleet
from .transport.session import HostSession, Reply
from .transport.ssh import Prompts, no_prompts

#: Seconds in which lines of several hosts are gathered, to be shown in the order of time.
SHOW_INTERVAL = 0.3

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Query:
    """Which lines: ``lines`` of each host at most, and those ``since`` (seconds since the epoch).

    ``process`` None means all; ``release`` None the one that is live, and the next when that changes.
    """

    process: str | None = None
    release: str | None = None
    lines: int = 100
    since: float | None = None


def read_logs(
    target: Target,
    query: Query,
    *,
    report: Report,
    fail: Callable[[DeployError], None],
    prompts: Prompts = no_prompts,
    follow: bool = False,
) -> None:
    """Report the lines of all hosts as ``log.line`` events; with ``follow`` until every link has ended.

    ``fail`` gets the error of each host that cannot be read, or no more; the others go on.
    """
    arrived: queue.SimpleQueue[Event] = queue.SimpleQueue()
    with Fleet(target, report=arrived.put, prompts=prompts) as fleet:
        sessions = list(_sessions(fleet, fail))
        asked = [(session, _ask(session, query)) for session in sessions]
        readable = [session for session, future in asked if _succeeds(future, fail)]
        _report_in_order(arrived, report)
        if follow:
            futures = {session.request("follow") for session in readable}
            while futures:
                ended, futures = wait(futures, timeout=SHOW_INTERVAL)
                _report_in_order(arrived, report)
                for future in ended:
                    _succeeds(future, fail)


def _sessions(fleet: Fleet, fail: Callable[[DeployError], None]) -> Iterator[HostSession]:
    for _, found in fleet.outcomes():
        if isinstance(found, DeployError):
            fail(found)
        else:
            yield found


def _ask(session: HostSession, query: Query) -> Future[Reply]:
    return session.request(
        "logs", release=query.release, process=query.process, lines=query.lines, since=query.since
    )


def _succeeds(future: Future[Reply], fail: Callable[[DeployError], None]) -> bool:
    try:
        future.result()
    except DeployError as error:
        fail(error)
        return False
    return True


def _report_in_order(arrived: queue.SimpleQueue[Event], report: Report) -> None:
    """All that has arrived, by the clocks of the hosts; lines of one host stay in their order."""
    events: list[Event] = []
    while not arrived.empty():
        events.append(arrived.get())
    for event in sorted(events, key=lambda event: event.at):
        if event.kind == "log.line":
            report(event)


def parse_since(text: str, now: float) -> float:
    """``10m``, ``2h``, ``1d``, or a time in ISO 8601, in the zone of this machine where it names none."""
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text.strip()):
        return now - float(match[1]) * UNITS[match[2]]
    try:
        return datetime.fromisoformat(text.strip().replace("Z", "+00:00")).timestamp()
    except ValueError:
        raise ConfigError(
            f"--since {text!r} is no time.", remedy="Say 30s, 10m, 2h or 1d, or 2026-11-28T22:40."
        ) from None
