"""What a host may say, and how much of it; anything else is no answer and ends the session."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django_deploy.host.backups import BACKUP, COPY, SINCE
from django_deploy.host.backups import NAME as BACKUP_NAME
from django_deploy.host.comparison import COMPARISON
from django_deploy.host.history import ENTRY
from django_deploy.host.layout import DESCRIPTION, RELEASE_ID, SHA256, STATES
from django_deploy.host.media import FILE
from django_deploy.host.protocol import HOST_EVENTS, OUTPUT_EVENTS, ProtocolError
from django_deploy.host.shape import Shape, check, shown
from django_deploy.wording import size_text

#: Bytes of output of steps and installers that one session passes on.
MAX_OUTPUT = 64 * 1024 * 1024

#: Other events of one session, at most.
MAX_EVENTS = 10_000

#: Bytes of one event: a line of output has 8 kB, or six times as much in JSON.
MAX_EVENT = 256 * 1024

#: Of an error: characters of its texts and lines, and how many lines.
MAX_TEXT = 4_000
MAX_LINES = 200

_VERSION_PART = range(1000)
_LIBC = re.compile(r"\d{1,3}\.\d{1,3}(\.[\w.-]{1,40})?")

_PYTHON: Shape = (
    {"error": str},
    {
        "version": [_VERSION_PART, _VERSION_PART, _VERSION_PART],
        "implementation": re.compile(r"[a-z0-9_]{1,40}"),
        "machine": re.compile(r"[A-Za-z0-9_.-]{1,40}"),
        "system": re.compile(r"[a-z0-9_.-]{1,40}"),
        "glibc": (None, _LIBC),
        "musl": (None, _LIBC),
        "free_threaded": bool,
    },
)

#: The answer to the hello, see ``host/probe.py``.
FACTS: Shape = {
    **dict.fromkeys(("user", "node", "cleanup_failed"), str),
    **dict.fromkeys(("uv", "supervisor", "systemd", "lingers", "linked", "unfinished"), bool),
    **dict.fromkeys(("live", "current"), (None, RELEASE_ID)),
    "python": _PYTHON,
    "manager": re.compile("systemd|supervisor"),
    "lock": (None, {str: object}),
    "maintenance": (None, {str: object}),
    "releases": [{"id": RELEASE_ID, "state": re.compile("|".join(STATES)), **DESCRIPTION}],
    "deferred": [str],
    "durations": [dict.fromkeys(("made", "activated"), float)],
    "store": [SHA256],
    "tools": [str],
    "processes": [{**dict.fromkeys(("name", "release", "state"), str), "since": float, "restarts?": int}],
    **dict.fromkeys(("free_bytes", "free_inodes"), (None, int)),
    "obstacle": (None, dict.fromkeys(("message", "remedy"), str)),
    "transaction": {"release": (None, str), "phase": (None, str)},
}

#: What the answers to requests have that we look at, or show to another host.
_REPLY: Shape = {
    "checked?": [str],
    "result?": {"applied?": [str], "unapplied?": [str]},
    "opaque?": [str],
    "reversals?": [
        {"database": str, "place": str, **{name: [str] for name in ("needed", "kept", "irreversible")}}
    ],
    "pending?": [str],
    "deferred?": [str],
    "tables?": (None, {str: {"model": str, "columns": {str: str}, "marks": [str]}}),
    "since?": SINCE,
    "safe?": (None, BACKUP_NAME),
    "databases?": {str: {"vendor": str, "place": str, "fingerprint?": str, "error?": str}},
    "changes?": (None, COMPARISON),
}

#: See ``host/examination.py``.
EXAMINATION: Shape = {
    "disks": [
        {
            "path": str,
            **dict.fromkeys(("bytes", "free_bytes"), int),
            **dict.fromkeys(("inodes", "free_inodes"), (None, int)),
            "is_read_only": bool,
        }
    ],
    "interpreter": (None, dict.fromkeys(("made", "now", "error"), str)),
    "manager": str,
    "left_to_hand": [str],
    "sockets": [
        {
            **dict.fromkeys(("process", "link", "leads_to", "own"), str),
            "is_in_maintenance": bool,
            "failure": (None, {**dict.fromkeys(("message", "remedy"), str), "lines": [str]}),
        }
    ],
    "way": [
        {
            "path": str,
            **dict.fromkeys(("mode", "uid", "gid"), int),
            **dict.fromkeys(("is_folder", "has_acl"), bool),
        }
    ],
    "servers": [
        {**dict.fromkeys(("name", "user"), str), "is_running": bool, "uid": int, "groups": [int]},
    ],
    "configuration": (None, {"server": str, "files": [str], "status": (None, int), "lines": [str]}),
    "index": (None, {**dict.fromkeys(("address", "error"), str), "status": (None, int)}),
    "time": float,
}
_REPLIES: Mapping[str, Shape] = {
    "hello": FACTS,
    "probe": FACTS,
    "examine": EXAMINATION,
    "reach_databases": {"databases": {str: dict.fromkeys(("vendor", "place", "error?", "open_file?"), str)}},
    "environment": {"settings": [str], "host": [str]},
    "history": {"entries": [ENTRY]},
    "backups": {"backups": [BACKUP], "damaged": {str: str}},
    "rehearse": COMPARISON,
    "copy_database": {"copy": COPY},
    "find_copy": {"copy": (None, COPY)},
    "list_media": {"files": [FILE], "more": bool, "left_out": [str], "unreadable": [str]},
}
_ERROR: Shape = {
    **dict.fromkeys(("type", "message"), str),
    "remedy?": str,
    "reverted?": bool,
    "details?": {
        **{name: [str] for name in ("lines?", "applied?", "unapplied?", "torn?")},
        "damaged?": bool,
        "changes?": COMPARISON,
    },
}

_MESSAGES = ("event", "id", "wanted", "heartbeat")


def kind_of(message: Mapping[str, Any]) -> str:
    """Which message of the protocol it is; raises ``ProtocolError``."""
    for kind in _MESSAGES:
        if kind in message:
            return kind
    raise ProtocolError(f"an unknown message with {shown(next(iter(message), ''))}")


def read_reply(id: int, request: str, message: Mapping[str, Any]) -> dict[str, Any]:
    """The result of the request ``id``, of that name."""
    check(message, {"result": _REPLIES.get(request, _REPLY)}, f"reply {id}")
    result: dict[str, Any] = message["result"]
    return result


def read_error(id: int, error: Any) -> dict[str, Any]:
    """An error's fields, shortened to what people read."""
    check(error, _ERROR, f"error {id}")
    details = error.get("details", {})
    lines = [line[:MAX_TEXT] for line in details.get("lines", ())[-MAX_LINES:]]
    return {
        "type": error["type"][:MAX_TEXT],
        "message": error["message"][:MAX_TEXT],
        "remedy": error.get("remedy", "")[:MAX_TEXT],
        "details": {**details, "lines": lines} if lines else details,
        "reverted": error.get("reverted", True),
    }


class Budget:
    """How many events one session may still report."""

    def __init__(self) -> None:
        self._output = MAX_OUTPUT
        self._events = MAX_EVENTS

    def spend(self, event: Mapping[str, Any], size: int) -> bool:
        """Whether an event of ``size`` bytes is passed on; raises ``ProtocolError`` for what is none."""
        if size > MAX_EVENT:
            raise ProtocolError(f"an event of {size_text(size)}")
        check(event, {"event": str, "at": float}, "event")
        if event["event"] not in HOST_EVENTS:
            raise ProtocolError(f"an unknown event {shown(event['event'])}")
        if event["event"] == "log.line":
            return True  # somebody looks on, for as long as he likes
        if event["event"] not in OUTPUT_EVENTS:
            self._events -= 1
            if self._events < 0:
                raise ProtocolError(f"more than {MAX_EVENTS} events")
            return True
        was, self._output = self._output, self._output - size
        return was > 0

    @property
    def is_output_over(self) -> bool:
        return self._output <= 0
