"""What the processes of a release write: the last lines, and those to come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional, Protocol

from .commands import MAX_OUTPUT_LINE
from .layout import Layout, Release
from .protocol import Failure

#: The most lines that are told at once.
MAX_LINES = 100_000

#: Seconds between two looks for what is new.
LOOK_INTERVAL = 0.2

#: A process of a release.
Source = tuple[str, str]


@dataclass(frozen=True)
class LogLine:
    """``at`` is in seconds since the epoch, 0 where nobody knows."""

    at: float
    process: str
    release: str
    text: str


class LogReader(Protocol):
    """Reads what a process manager keeps; ``follow`` goes on where reading has ended."""

    def tail(self, sources: Sequence[Source], lines: int, since: Optional[float]) -> list[LogLine]:
        """The last lines of all sources together, in order."""

    def follow(self, sources: Sequence[Source], is_over: Callable[[], bool]) -> Iterator[LogLine]:
        """Lines as they come, until ``is_over``."""


def is_meant(wanted: Optional[str], name: str) -> bool:
    """Whether who says ``web`` means this process: all instances are; ``web.2`` is the one."""
    return wanted is None or wanted in (name, name.partition(".")[0])


class Logs:
    """The log of one release, or of whatever is live."""

    def __init__(
        self,
        layout: Layout,
        open_reader: Callable[[Release], LogReader],
        release: Optional[str],
        process: Optional[str],
    ) -> None:
        live = release or layout.live()
        if live is None:
            raise Failure("NoSuchRelease", "nothing is live there", "Deploy first.")
        self.release = layout.release(live)
        self._layout = layout
        self._is_of_live = release is None
        self._process = process
        self._sources = self._find_sources(self.release)
        self._reader = open_reader(self.release)

    def tail(self, lines: int, since: Optional[float]) -> list[LogLine]:
        return self._reader.tail(self._sources, lines, since)

    def follow(self, is_over: Callable[[], bool]) -> Iterator[LogLine]:
        """Where the live release is followed, its successor is as well, from its first line on."""
        while not is_over():
            yield from self._reader.follow(self._sources, lambda: is_over() or self._successor() is not None)
            successor = self._successor()
            if successor is not None:
                self._sources += self._find_sources(successor)
                self.release = successor

    def _successor(self) -> Optional[Release]:
        live = self._layout.live() if self._is_of_live else None
        return None if live in (None, self.release.id) else self._layout.release(live)

    def _find_sources(self, release: Release) -> list[Source]:
        names = [str(process["name"]) for process in release.record["processes"]]
        wanted = [name for name in names if is_meant(self._process, name)]
        if not wanted:
            there = f"There is: {', '.join(names)}." if names else "It has none that this tool manages."
            message = f"release {release.id} has no process {self._process or 'at all'}"
            raise Failure("BadRequest", message, there)
        return [(name, release.id) for name in wanted]


def as_event(line: LogLine) -> dict[str, Any]:
    """The fields of a ``log.line``."""
    return {
        "at": round(line.at, 6),
        "process": line.process,
        "release": line.release,
        "line": line.text[:MAX_OUTPUT_LINE],
    }
