"""When each host did what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from django_deploy.host.protocol import Event
from django_deploy.reporters.text import cut, duration

#: What the row of the deployer's own machine is called.
HERE = "this machine"

#: Room in which a bar can be read, in columns.
SHORTEST = 10

#: Kinds of events that begin a span of a host, and those that end it, with the span's name.
_BEGINNINGS: Mapping[str, str] = {
    "upload.progress": "upload",
    "fetch.progress": "fetch",
    "install.started": "install",
    "process.started": "start",
    "lock.waiting": "wait",
}
_MOVING = ("upload.progress", "fetch.progress")
_ENDS: Mapping[str, str] = {"install.finished": "install", "switched": "start"}


@dataclass(frozen=True)
class Span:
    """Something that took a while; ``began`` and ``ended`` are in seconds since the first event."""

    host: str
    name: str
    began: float
    ended: float
    is_failed: bool = False

    @property
    def seconds(self) -> float:
        return self.ended - self.began


class Timeline:
    """Makes spans of events, by the clock of this machine: those of hosts may be wrong."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._open: dict[tuple[str, str], float] = {}
        self._spans: list[Span] = []

    def take(self, event: Event, now: float) -> None:
        """Note an event; ``now`` is monotonic, in seconds."""
        self._first = now if self._first is None else self._first
        at, host = now - self._first, event.host or HERE
        name = str(event.fields.get("phase") or event.fields.get("step") or "")
        if event.kind in ("phase.started", "step.started"):
            if name == "revert":
                self._end_all(at, is_failed=True)
            self._begin(host, name, at)
        elif event.kind in ("phase.finished", "step.finished", "step.skipped"):
            self._end(host, name, at)
        elif event.kind == "host.connected":
            self._spans.append(Span(host, "connect", max(at - _seconds(event), 0.0), at))
        elif event.kind == "host.failed":
            self._end_all(at, is_failed=True, host=host)
        elif event.kind in _ENDS:
            self._end(host, _ENDS[event.kind], at)
        elif event.kind in _BEGINNINGS:
            self._end(host, "wait", at)
            self._begin(host, _BEGINNINGS[event.kind], at)
        if event.kind in _MOVING and event.fields.get("done") == event.fields.get("total"):
            self._end(host, _BEGINNINGS[event.kind], at)

    def close(self, now: float, *, is_failed: bool) -> None:
        """All is over, with an error or without."""
        self._end_all(now - (self._first if self._first is not None else now), is_failed=is_failed)

    @property
    def spans(self) -> tuple[Span, ...]:
        """All that have ended: this machine's first, then host by host, each in the order of time."""
        ordered = sorted(
            self._spans, key=lambda span: (span.host != HERE, _with_numbers(span.host), span.began)
        )
        return tuple(_joined(ordered))

    def _begin(self, host: str, name: str, at: float) -> None:
        self._open.setdefault((host, name), at)

    def _end(self, host: str, name: str, at: float) -> None:
        began = self._open.pop((host, name), None)
        if began is not None:
            self._spans.append(Span(host, name, began, at))

    def _end_all(self, at: float, *, is_failed: bool, host: str | None = None) -> None:
        for place, name in [key for key in self._open if host in (None, key[0])]:
            self._end(place, name, at)
            self._spans[-1] = replace(self._spans[-1], is_failed=is_failed)


def _joined(spans: Iterable[Span]) -> list[Span]:
    """Stages of this machine that follow each other make one phase."""
    joined: list[Span] = []
    for span in spans:
        if joined and span.host == HERE and (joined[-1].host, joined[-1].name) == (HERE, span.name):
            span = replace(span, began=joined.pop().began)
        joined.append(span)
    return joined


def _with_numbers(name: str) -> list[str | int]:
    """For sorting: ``web2`` comes before ``web10``."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def timeline_lines(spans: Sequence[Span], width: int, bar: str) -> Iterator[str]:
    """A line for each span; bars of the character ``bar`` show when it was, on a scale for all of them.

    Where they have no room there are none.
    """
    if not spans:
        return
    whole = max(max(span.ended for span in spans), 0.001)
    names = max(len(span.name) for span in spans)
    hosts = min(max(len(span.host) for span in spans), max(width // 3, len(HERE)))
    failed = "  failed" if any(span.is_failed for span in spans) else ""
    room = width - len(f"  {'':{hosts}}  {'':{names}}   {'':7}{failed}")
    shown = ""
    for span in spans:
        host, shown = cut(span.host, hosts) if span.host != shown else "", span.host
        bars = f"{_bar(span, whole, room, bar):{room}} " if room >= SHORTEST else ""
        line = f"  {host:{hosts}}  {span.name:{names}}  {bars}{duration(span.seconds):>7}"
        yield f"{line}{failed if span.is_failed else ''}"


def _bar(span: Span, whole: float, room: int, bar: str) -> str:
    start = min(round(room * span.began / whole), room - 1)
    length = max(min(round(room * span.seconds / whole), room - start), 1)
    return f"{' ' * start}{bar * length}"


def _seconds(event: Event) -> float:
    seconds = event.fields.get("seconds")
    return float(seconds) if isinstance(seconds, (int, float)) else 0.0
