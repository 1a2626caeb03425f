"""What became live when, and by whom: ``.deploy/history.jsonl``, a line for each time."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

from .layout import DESCRIPTION, Layout, write_atomically
from .lock import LAST_TIME
from .protocol import ProtocolError
from .shape import Shape, check

ENTRY: Shape = {
    **DESCRIPTION,
    "at": float,
    **{f"{name}?": str for name in ("action", "release", "by", "backup")},
    **{f"{name}?": (None, str) for name in ("previous", "previous_version")},
    "previous_revision?": DESCRIPTION["revision?"],
    "changes?": (None, [{"name": str, **dict.fromkeys(("before", "after"), (None, str))}]),
    **{f"{name}?": [str] for name in ("left_out", "applied", "unapplied")},
    "phases?": [{"phase": str, "step?": str, **dict.fromkeys(("at", "seconds"), float)}],
}

#: A larger file loses its older half, in bytes: that is about a thousand deployments.
MAX_HISTORY = 1024 * 1024

#: Entries that are told at once.
MAX_ENTRIES = 1000

#: Deployments by which the next one's time is estimated, and the entries among which they are looked for.
MAX_DURATIONS = 5
MAX_LOOKED_AT = 40


def append(layout: Layout, entry: dict[str, Any]) -> None:
    """Note an entry; what its releases were is noted with it, as they may be deleted before."""
    path = layout.private / "history.jsonl"
    described = _description(layout, entry["release"], entry.get("previous"))
    line = json.dumps({"at": round(time.time(), 3), **entry, **described})
    with path.open("a") as file:
        file.write(line + "\n")
    if path.stat().st_size > MAX_HISTORY:
        lines = path.read_text(errors="replace").splitlines(keepends=True)
        write_atomically(path, "".join(lines[len(lines) // 2 :]), 0o644)


def entries(layout: Layout, most: int) -> list[dict[str, Any]]:
    """The last entries, oldest first. A damaged line, of a host that lost its power, is left out."""
    return list(islice(_newest_first(layout), min(max(most, 0), MAX_ENTRIES)))[::-1]


def durations(layout: Layout) -> list[dict[str, float]]:
    """The seconds that the last deployments took, newest first: until all was ``made``, and ``activated``.

    Those count that made a release here; what became live again, or was only restarted, took less. None are
    known where the history cannot be read.
    """
    try:
        entries = list(islice(_newest_first(layout), MAX_LOOKED_AT))
    except OSError:
        return []
    found = []
    for entry in entries:
        seconds = [(phase["phase"], phase["seconds"]) for phase in entry.get("phases", ())]
        if entry.get("action") == "deploy" and "prepare" in dict(seconds):
            activated = sum(took for phase, took in seconds if phase == "activate")
            made = sum(took for phase, took in seconds if phase not in ("activate", "hold"))
            found.append({"made": round(made, 3), "activated": round(activated, 3)})
    return found[:MAX_DURATIONS]


def given_up(layout: Layout) -> set[str]:
    """The releases that somebody went back from, or past, and that did not become live again since.

    A restart makes a copy of a release: what becomes of one has become of the other.
    """
    try:
        entries = list(islice(_newest_first(layout), MAX_ENTRIES))[::-1]
    except OSError:
        return set()
    # Which releases were live on the way to each, those that somebody went back from left out.
    ways: dict[str, list[str]] = {}
    way: list[str] = []
    copies: dict[str, str] = {}
    for entry in entries:
        release, previous = entry.get("release"), entry.get("previous")
        if not release:
            continue
        if previous and entry.get("action") == "restart":
            copies.setdefault(release, copies.get(previous, previous))
        release, previous = copies.get(release, release), copies.get(previous or "", previous)
        if previous and not way:
            way = ways[previous] = [previous]
        if release in ways:
            way = ways[release]
        elif release != previous:
            way = ways[release] = [*way, release] if entry.get("action") != "rollback" else [release]
    left = ways.keys() - way
    return left | {copy for copy, original in copies.items() if original in left}


def _newest_first(layout: Layout) -> Iterator[dict[str, Any]]:
    try:
        lines = (layout.private / "history.jsonl").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    return (entry for entry in map(_parse, reversed(lines)) if entry)


def _parse(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
        check(entry, ENTRY, "entry")
    except (ValueError, ProtocolError):
        return {}
    times = [entry["at"], *(phase[name] for phase in entry.get("phases", ()) for name in ("at", "seconds"))]
    return dict(entry) if all(0 <= at <= LAST_TIME for at in times) else {}


def _description(layout: Layout, release: str, previous: str | None) -> dict[str, Any]:
    """What the release is, and in what it differs from the one before; nothing where that is not known."""
    record, before = _record(layout, release), _record(layout, previous) if previous else {}
    described = {name: record.get(name) for name in ("project", "version", "revision")} if record else {}
    if before:
        described.update(previous_version=before.get("version"), previous_revision=before.get("revision"))
    if record and (before or previous is None):
        described.update(changes=_changes(before, record))
    return described


def _record(layout: Layout, release: str) -> dict[str, Any]:
    return layout.release(release).known_record


def _changes(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """The distributions that differ; one of the same version was made anew, with other content."""
    old, new = before.get("distributions") or {}, after.get("distributions") or {}
    known = {wheel["sha256"] for wheel in before.get("wheels") or ()}
    rebuilt = {wheel["name"] for wheel in after.get("wheels") or () if wheel["sha256"] not in known}
    return [
        {"name": name, "before": old.get(name), "after": new.get(name)}
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) or name in rebuilt
    ]
