"""Reads the log files that supervisord writes: their lines have the time that the site writes."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Callable, Optional

from .commands import MAX_OUTPUT_LINE, LineSplitter
from .logs import LOOK_INTERVAL, LogLine, Source

#: Of each file, so many bytes at its end are looked at.
MAX_TAIL = 4 * 1024 * 1024

#: The time that a line begins with: ISO 8601, as Python's logging and gunicorn write it.
STAMP = re.compile(
    r"\W{0,2}(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,6})\d*)?(?: ?(Z|UTC|[+-]\d\d:?\d\d))?\b"
)


class FileReader:
    """``file_of`` names the file of a process and a release.

    A line that begins with no time has that of the line before, as those of a traceback; while they are
    followed, lines have the time at which they are seen.
    """

    def __init__(self, file_of: Callable[[str, str], Path]) -> None:
        self._file_of = file_of
        self._positions: dict[Path, int] = {}

    def tail(self, sources: Sequence[Source], lines: int, since: Optional[float]) -> list[LogLine]:
        found: list[LogLine] = []
        for source in sources:
            stamped = _stamped(source, self._read(self._file_of(*source), MAX_TAIL))
            found += [line for line in stamped if since is None or line.at >= since][-lines:]
        return sorted(found, key=lambda line: line.at)[-lines:]

    def follow(self, sources: Sequence[Source], is_over: Callable[[], bool]) -> Iterator[LogLine]:
        while not is_over():
            for source in sources:
                for text in self._read(self._file_of(*source), None):
                    yield LogLine(time.time(), *source, text)
            time.sleep(LOOK_INTERVAL)

    def _read(self, path: Path, most: Optional[int]) -> list[str]:
        """The whole lines that are new, at first of the last ``most`` bytes."""
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                start = self._positions.get(path, max(0, size - most) if most is not None else 0)
                file.seek(start if start <= size else 0)  # it was put aside, and there is a new one
                begin, data = file.tell(), file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._positions[path] = begin + len(whole)
        lines: list[str] = []
        splitter = LineSplitter("", lambda _, line: lines.append(line), MAX_OUTPUT_LINE)
        splitter.feed(whole)
        return lines


def _stamped(source: Source, texts: Sequence[str]) -> Iterator[LogLine]:
    at = 0.0
    for text in texts:
        at = _time_of(text) or at
        yield LogLine(at, *source, text)


def _time_of(text: str) -> float:
    """0 for a line that begins with no time; one without a zone is in the host's."""
    match = STAMP.match(text)
    if match is None:
        return 0.0
    day, clock, fraction, zone = match.groups()
    offset = "+00:00" if zone in ("Z", "UTC") else f"{zone[:3]}:{zone[-2:]}" if zone else ""
    try:
        return datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0'):0<6}{offset}").timestamp()
    except ValueError:
        return 0.0
