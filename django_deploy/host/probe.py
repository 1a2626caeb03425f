"""What a host is and has: the answer to the hello."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any

from . import history, maintenance, virtualenv
from .layout import Layout, Release
from .lock import Lock
from .processes import choose_manager, has_systemd, lingers, open_manager
from .protocol import Failure
from .serving import names_with_sockets
from .store import Store
from .transaction_journal import CONFIRM, read_journal
from .users import user_name

#: Seconds after confirm in which the old processes should have been stopped.
DRAINED_AFTER = 60.0

#: Fields of ``release.json`` that the deployer plans and reports with.
RELEASE_FIELDS = (
    *("project", "version", "revision", "created", "created_by", "fingerprint"),
    *("distributions", "wheels", "manager", "processes", "same_as", "made_of"),
)


def probe(layout: Layout, store: Store, lock: Lock, python: str, manager: str | None) -> dict[str, Any]:
    """Facts only; nothing is created or changed.

    ``live`` is what a transaction that begins now finds live: it undoes one that was cut off. Until then
    ``current`` is served; ``linked`` tells whether the link of that name, and those of the sockets, are as we
    made them.
    """
    journal, holder = read_journal(layout), lock.holder()
    is_cut_off = bool(journal) and journal["phase"] != CONFIRM and holder is None
    return {
        "user": user_name(),
        "node": os.uname().nodename,
        "python": virtualenv.describe_python(python),
        "uv": virtualenv.find_uv() is not None,
        "supervisor": shutil.which("supervisord") is not None,
        "manager": choose_manager(manager),
        "systemd": has_systemd(),
        "lingers": lingers(),
        "lock": holder,
        "maintenance": maintenance.notice(layout),
        "live": journal["previous"] if is_cut_off else layout.live(),
        "current": layout.live(),
        "linked": layout.links_to(layout.live()) and _leads_to_sockets(layout),
        "releases": _releases(layout),
        "deferred": _deferred(layout),
        "durations": history.durations(layout),
        "store": store.names(),
        "tools": sorted(os.listdir(layout.private / "tools")) if (layout.private / "tools").is_dir() else [],
        "processes": _processes(layout),
        **_free(layout),
        "obstacle": _obstacle(layout),
        "unfinished": _is_unfinished(journal),
        "transaction": {name: journal.get(name) for name in ("release", "phase")},
        "cleanup_failed": _read(layout, "cleanup-failed"),
    }


def _leads_to_sockets(layout: Layout) -> bool:
    """Whether web servers find the live release, or the page that is shown instead."""
    live = layout.live()
    if live is None:
        return True
    page = None if maintenance.notice(layout) is None else maintenance.socket(layout)
    try:
        names = names_with_sockets(layout.release(live).record["processes"])
        wanted = {layout.socket_link(name): page or layout.socket(name, live) for name in names}
        return all(os.readlink(link) == socket.name for link, socket in wanted.items())
    except (Failure, OSError):
        return False


def _is_unfinished(journal: dict[str, Any]) -> bool:
    """A transaction is open, or was left open; one that was confirmed just now still drains."""
    if journal.get("phase") == CONFIRM:
        return abs(time.time() - float(journal.get("at", 0))) > DRAINED_AFTER
    return bool(journal)


def _releases(layout: Layout) -> list[dict[str, Any]]:
    live, given_up = layout.live(), history.given_up(layout)
    return [
        {**_describe(release, live), "given_up": release.id in given_up} for release in layout.all_releases()
    ]


def _describe(release: Release, live: str | None) -> dict[str, Any]:
    """Of the live one also the digests of its distributions, which is much to tell."""
    record = release.known_record
    names = (*RELEASE_FIELDS, "digests") if release.id == live else RELEASE_FIELDS
    return {"id": release.id, "state": release.state, **{name: record.get(name) for name in names}}


def _deferred(layout: Layout) -> list[str]:
    """The migrations of the live release that were to be run after confirm, and were not."""
    live = layout.live()
    steps = layout.release(live).deferred if live else []
    return [str(name) for step in steps for name in step["migrations"]]


def _processes(layout: Layout) -> list[dict[str, Any]]:
    """The processes of the live release, by the manager that started them."""
    live = layout.live()
    if live is None:
        return []
    try:
        record = layout.release(live).record
        states = open_manager(record["manager"], layout, None).states() if record["processes"] else []
    except (Failure, OSError):
        return []
    found = [state.as_dict() for state in states]
    known = {(state.name, state.release) for state in states}
    missing = [p["name"] for p in record["processes"] if (p["name"], live) not in known]
    stopped = [
        {"name": name, "release": live, "state": "stopped", "since": 0.0, "pid": 0} for name in missing
    ]
    return found + stopped


def _free(layout: Layout) -> dict[str, int | None]:
    """For this user, where ROOT is or will be; file systems that make inodes as they need them say none."""
    folder = layout.root
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        found = os.statvfs(folder)
    except OSError:
        return {"free_bytes": None, "free_inodes": None}
    return {
        "free_bytes": found.f_bavail * found.f_frsize,
        "free_inodes": found.f_favail if found.f_files else None,
    }


def _obstacle(layout: Layout) -> dict[str, Any] | None:
    found = layout.obstacle()
    return found.as_dict() if found is not None else None


def _read(layout: Layout, name: str) -> str:
    try:
        return (layout.private / name).read_text()[:500].strip()
    except OSError:
        return ""
