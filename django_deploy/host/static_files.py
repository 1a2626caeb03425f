"""Static files of other releases, for pages that visitors have open: they name files that only those have."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from .layout import LIVE, RETIRED, Layout, Release, write_atomically


def carry_static_files(layout: Layout, release: Release) -> int:
    """Link what the kept releases collected into this one's STATIC_ROOT, unless it has the name itself.

    Gives how many it has now that are not its own. A STATIC_ROOT outside of the release is everybody's
    and needs none of this.
    """
    root, carried = static_root(release), _carried(release)
    if root is None or not root.is_dir():
        return 0
    wanted: dict[str, str] = {}
    for other in layout.all_releases():
        if other.id != release.id and other.state in (LIVE, RETIRED):
            wanted.update(_own_files(other))
    for name in carried - wanted.keys():
        (root / name).unlink(missing_ok=True)
    added = {name for name, path in wanted.items() if _link(path, os.path.join(root, name))}
    carried = (carried & wanted.keys()) | added
    write_atomically(_list(release), json.dumps(sorted(carried)))
    return len(carried)


def static_root(release: Release) -> Optional[Path]:
    """Its STATIC_ROOT; None when that is not inside of the release."""
    folder = Path(release.site.get("static_root") or "/")
    return folder if release.path in folder.parents else None


def _own_files(release: Release) -> Iterator[tuple[str, str]]:
    """Name in its STATIC_ROOT, and path; a site may have very many."""
    root, carried = str(static_root(release) or ""), _carried(release)
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            relative = path[len(root) + 1 :]
            if relative not in carried:
                yield relative, path


def _link(path: str, to: str) -> bool:
    if os.path.lexists(to):
        return False
    os.makedirs(os.path.dirname(to), exist_ok=True)
    os.link(path, to)
    return True


def _carried(release: Release) -> set[str]:
    try:
        return set(json.loads(_list(release).read_text()))
    except (OSError, ValueError):
        return set()


def _list(release: Release) -> Path:
    return release.path / "carried.json"
