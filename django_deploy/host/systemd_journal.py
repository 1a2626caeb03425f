"""Reads the lines of user units from systemd's journal."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable, Optional

from .commands import LineSplitter, Output, end_group
from .logs import LOOK_INTERVAL, LogLine, Source
from .protocol import Failure
from .users import user_name

#: An entry may be much longer than its text, in bytes.
MAX_ENTRY = 1 << 20

ENTRIES = [
    *("journalctl", "--no-pager", "--quiet", "--all", "--output=json"),
    "--output-fields=MESSAGE,_SYSTEMD_USER_UNIT,USER_UNIT",
]


class JournalReader:
    """``unit_of`` names the unit of a process and a release."""

    def __init__(self, unit_of: Callable[[str, str], str]) -> None:
        self._unit_of = unit_of
        self._cursor = ""
        self._started = time.time()

    def tail(self, sources: Sequence[Source], lines: int, since: Optional[float]) -> list[LogLine]:
        limits = [f"--lines={lines}"] + ([f"--since=@{since:.0f}"] if since is not None else [])
        found = list(self._read(sources, limits, lambda: False))
        return [line for line in found if since is None or line.at >= since]

    def follow(self, sources: Sequence[Source], is_over: Callable[[], bool]) -> Iterator[LogLine]:
        start = f"--after-cursor={self._cursor}" if self._cursor else f"--since=@{self._started:.0f}"
        return self._read(sources, ["--follow", "--no-tail", start], is_over)

    def _read(
        self, sources: Sequence[Source], words: Sequence[str], is_over: Callable[[], bool]
    ) -> Iterator[LogLine]:
        units = {self._unit_of(*source): source for source in sources}
        process = subprocess.Popen(
            [*ENTRIES, *words, *_matches(units)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        entries: list[str] = []
        assert process.stdout is not None and process.stderr is not None
        with process.stdout, process.stderr:
            output = Output({"stderr": process.stderr}, lambda stream, line: None)
            output.add(
                process.stdout, LineSplitter("stdout", lambda _, line: entries.append(line), MAX_ENTRY)
            )
            try:
                while output.is_open and not is_over():
                    output.read(LOOK_INTERVAL)
                    yield from self._take(entries, units)
                    entries.clear()
                yield from self._take(entries, units)
            finally:
                end_group(process)
        if process.returncode > 0 and output.last:
            raise Failure(
                "HostUnfit",
                "the journal cannot be read",
                f"On the host, as root: usermod -aG systemd-journal {user_name()}",
                lines=list(output.last),
            )

    def _take(self, entries: Sequence[str], units: Mapping[str, Source]) -> Iterator[LogLine]:
        for text in entries:
            try:
                entry = json.loads(text)
            except ValueError:
                continue  # cut: of more than MAX_ENTRY
            self._cursor = str(entry.get("__CURSOR", self._cursor))
            # What systemd says of a unit comes from its own.
            named = (entry.get("USER_UNIT"), entry.get("_SYSTEMD_USER_UNIT"))
            source = next((units[unit] for unit in named if isinstance(unit, str) and unit in units), None)
            if source is not None:
                at = int(entry.get("__REALTIME_TIMESTAMP") or 0) / 1e6
                for line in _text(entry.get("MESSAGE")).splitlines():
                    yield LogLine(at, *source, line)


def _matches(units: Mapping[str, Source]) -> list[str]:
    """What they write, and what our own systemd says of them; not what another user says that they say."""
    uid = f"_UID={os.geteuid()}"
    by, of = ([f"{field}={unit}" for unit in units] for field in ("_SYSTEMD_USER_UNIT", "USER_UNIT"))
    return [uid, *by, "+", uid, *of]


def _text(message: Any) -> str:
    """Bytes that are no UTF-8 come as numbers."""
    if isinstance(message, list):
        return bytes(byte for byte in message if isinstance(byte, int)).decode("utf-8", "replace")
    return str(message) if message is not None else ""
