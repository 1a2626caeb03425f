"""The words that both sides of the channel share: events, errors, framing.

Standard library only and fit for Python 3.9: it runs on the host as well.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable, NoReturn

VERSION = 1

#: Seconds between two heartbeats, and of silence after which the other side is given up.
HEARTBEAT = 5.0
SILENCE = 15.0

#: No line may be longer, in bytes: what comes from the other side is bounded.
MAX_LINE = 4 * 1024 * 1024

#: How deep lists and objects of a message may lie in each other, and how many characters a number has.
MAX_DEPTH = 32
MAX_DIGITS = 40

#: Every kind of event with its fields, in the order of a deployment.
EVENTS = {
    "phase.started": "phase",
    "phase.finished": "phase seconds",
    "host.connected": "address seconds",
    "build.started": "distribution",
    "build.finished": "distribution wheel cached seconds",
    "bundle.ready": "distributions wheels bytes revision",
    "bundle.read": "file bytes sha256 key",
    "bundle.written": "file bytes sha256 key",
    "sbom.written": "file components",
    "bundle.promoted": "target release sha256",
    "vendor.started": "distributions",
    "vendor.finished": "distributions bytes seconds",
    "plan.ready": "plan",
    "setup.planned": "to_do there script",
    "lock.waiting": "holder",
    "recovered": "release action",
    "upload.progress": "done total",
    "install.started": "installer distributions",
    "install.output": "line",
    "install.finished": "installer distributions seconds",
    "changes.found": "hosts environment settings static",
    "migrations.planned": "database place is_live migrations",
    "reversal.planned": "database place release migrations kept",
    "backup.started": "database place name bytes",
    "backup.finished": "database place name bytes seconds",
    "restore.started": "database place name bytes",
    "restore.finished": "database place name seconds",
    "copy.started": "database place bytes",
    "anonymize.started": "database callable",
    "anonymize.finished": "database callable seconds",
    "copy.finished": "database place bytes seconds",
    "fetch.progress": "done total",
    "fetch.finished": "file bytes sent",
    "step.started": "step",
    "step.output": "step stream line",
    "step.finished": "step seconds result",
    "step.awaited": "step",
    "step.skipped": "step reason",
    "process.started": "process release",
    "process.stopping": "process release",
    "health.checked": "address status seconds",
    "switched": "release previous",
    "confirmed": "release previous",
    "interrupted": "",
    "reverted": "release live reason",
    "pruned": "releases",
    "warning": "message remedy",
    "host.failed": "message remedy lines id",
    "host.status": "error live behind lock maintenance left_open releases processes",
    "host.environment": "settings on_host",
    "history.entry": "action release previous by left_out project version revision previous_version"
    " previous_revision changes applied unapplied backup phases",
    "host.backup": "name database place before release bytes",
    "log.line": "process release line",
    "checked": "check outcome message remedy",
    "rollout.finished": "outcome release url left_out seconds phases",
}

#: Those of them that hosts report: a line of output, of which there may be very many, or anything else.
OUTPUT_EVENTS = frozenset({"install.output", "step.output"})
HOST_EVENTS = OUTPUT_EVENTS | {
    "log.line",
    *("lock.waiting", "recovered", "install.started", "install.finished"),
    *("reversal.planned", "backup.started", "backup.finished", "restore.started", "restore.finished"),
    *("copy.started", "copy.finished", "anonymize.started", "anonymize.finished"),
    *("migrations.planned", "step.started", "step.finished", "step.awaited", "step.skipped"),
    *("process.started", "process.stopping"),
    *("health.checked", "switched", "confirmed", "reverted", "pruned", "warning"),
}


@dataclass(frozen=True)
class Event:
    """A typed, timestamped fact: the only way work reports.

    ``kind`` is a key of ``EVENTS``; ``host`` is the host's name, empty for this machine; ``at`` is in
    seconds since the epoch, by the clock of whoever saw it.
    """

    kind: str
    host: str = ""
    at: float = field(default_factory=time.time)
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def as_dict(self) -> dict[str, Any]:
        return {"event": self.kind, "host": self.host, "at": round(self.at, 3), **self.fields}


#: What work is given to report with.
Report = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The reporter of those who do not listen."""


class ProtocolError(Exception):
    """The other side said something that is not the protocol."""


def encode(message: Mapping[str, Any]) -> bytes:
    """One message as one line. Text that is not UTF-8 travels as surrogate escapes, in ASCII."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The message of one line; raises ``ProtocolError``.

    Whoever reads it need not fear its depth or its numbers: all are finite, and short.
    """
    try:
        message = json.loads(line, parse_int=_whole_number, parse_float=_number, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise ProtocolError(f"not a message: {line[:200]!r}") from None
    if not isinstance(message, dict):
        raise ProtocolError(f"not a message: {line[:200]!r}")
    # Brackets are counted, which is fast and may be too many, before anybody looks closer.
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and _is_deep(message):
        raise ProtocolError(f"a message of more than {MAX_DEPTH} levels: {line[:200]!r}")
    return message


def _whole_number(text: str) -> int:
    return int(text) if len(text) <= MAX_DIGITS else _refuse(text)


def _number(text: str) -> float:
    number = float(text) if len(text) <= MAX_DIGITS else math.nan
    return number if math.isfinite(number) else _refuse(text)


def _refuse(text: str) -> NoReturn:
    raise ValueError(text[:MAX_DIGITS])


def _is_deep(message: Any) -> bool:
    level = [message]
    for _ in range(MAX_DEPTH):
        level = [
            item
            for value in level
            for item in (value.values() if isinstance(value, dict) else value)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return False
    return True


class Failure(Exception):
    """An expected failure on the host, on its way to the deployer as fields.

    ``type`` tells what failed: ``Locked``, ``Changed``, ``NoSpace``, ``StoreCorrupt``, ``InstallFailed``,
    ``PreflightFailed``, ``DatabaseRefused``, ``MigrationsRefused``, ``BackupFailed``, ``NoSuchBackup``,
    ``RestoreFailed``, ``CopyFailed``, ``MediaFailed``, ``StepFailed``, ``ProcessFailed``,
    ``HealthCheckFailed``, ``RestartFailed``, ``NoSuchRelease``, ``CommandFailed``, ``Timeout``, ``Aborted``,
    ``BadRequest``, ``HostUnfit``.
    """

    def __init__(self, type: str, message: str, remedy: str = "", **details: Any) -> None:
        super().__init__(message)
        self.type = type
        self.message = message
        self.remedy = remedy
        self.details = details

    def as_dict(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "message": self.message,
            "remedy": self.remedy,
            "details": self.details,
        }


class PulseMonitor:
    """Tells whether the other side is silent, by looking again and again instead of by the clock.

    Who was stopped for a while, or got no processor, has not listened either: what came meanwhile is still
    unread, and no silence of the other's.
    """

    def __init__(self, looks: float) -> None:
        self._patience = looks
        self._in_vain = 0

    def hear(self) -> None:
        """Something came."""
        self._in_vain = 0

    def looks_in_vain(self) -> bool:
        """Look; gives whether nothing came for more looks than one has patience for."""
        self._in_vain += 1
        return self._in_vain > self._patience
