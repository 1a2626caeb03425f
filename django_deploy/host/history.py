"""What became live when, and by whom: ``.deploy/history.jsonl``, a line for each time."""

from __future__ import annotations

import json
import time
from typing import Any

from .layout import DESCRIPTION, Layout, write_atomically
from .protocol import Failure, ProtocolError
from .shape import Shape, check

ENTRY: Shape = {
    **DESCRIPTION,
    "at": float,
    **{f"{name}?": str for name in ("action", "release", "by")},
    "previous?": (None, str),
    "left_out?": [str],
}

#: A larger file loses its older half, in bytes: that is about a thousand deployments.
MAX_HISTORY = 256 * 1024

#: Entries that are told at once.
MAX_ENTRIES = 1000


def append(layout: Layout, entry: dict[str, Any]) -> None:
    """Note an entry; what its release was is noted with it, as that may be deleted before."""
    path = layout.private / "history.jsonl"
    line = json.dumps({"at": round(time.time(), 3), **entry, **_description(layout, entry["release"])})
    with path.open("a") as file:
        file.write(line + "\n")
    if path.stat().st_size > MAX_HISTORY:
        lines = path.read_text(errors="replace").splitlines(keepends=True)
        write_atomically(path, "".join(lines[len(lines) // 2 :]), 0o644)


def entries(layout: Layout, most: int) -> list[dict[str, Any]]:
    """The last entries, oldest first. A damaged line, of a host that lost its power, is left out."""
    try:
        lines = (layout.private / "history.jsonl").read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found = [entry for entry in map(_parse, lines) if entry]
    return found[-min(most, MAX_ENTRIES) :] if most > 0 else []


def _parse(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
        check(entry, ENTRY, "entry")
    except (ValueError, ProtocolError):
        return {}
    return dict(entry)


def _description(layout: Layout, release: str) -> dict[str, Any]:
    try:
        record = layout.release(release).record
    except Failure:
        return {}
    return {name: record.get(name) for name in ("project", "version", "revision")}
