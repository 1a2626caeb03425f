"""Which release is running."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Revision:
    """What the VCS (``git`` or ``hg``) said of the project's tree when the release was built."""

    vcs: str
    id: str
    branch: str
    is_dirty: bool

    def __str__(self) -> str:
        dirty = " with uncommitted changes" if self.is_dirty else ""
        return f"{self.vcs} {self.id[:12]}{f' ({self.branch})' if self.branch else ''}{dirty}"


@dataclass(frozen=True)
class Release:
    """A deployed release; ``created`` has a time zone, ``created_by`` is ``user@machine``."""

    id: str
    project: str
    version: str
    revision: Revision | None
    created: datetime | None
    created_by: str


def release() -> Release | None:
    """The release that this process runs from; None where nothing was deployed (development).

    Reads ``release.json`` in the folder that the environment calls DJANGO_DEPLOY_RELEASE_DIR, once.
    A folder without a readable one is a broken release: ``OSError`` or ``ValueError``.
    """
    folder = os.environ.get("DJANGO_DEPLOY_RELEASE_DIR")
    return _read(Path(folder, "release.json")) if folder else None


def is_deployed() -> bool:
    """Whether this process runs from a release, on a server."""
    return bool(os.environ.get("DJANGO_DEPLOY_RELEASE_DIR"))


def is_in_release(path: Path) -> bool:
    """Whether a path lies in the folder of the release that this process runs from."""
    folder = os.environ.get("DJANGO_DEPLOY_RELEASE_DIR")
    return folder is not None and path.resolve().is_relative_to(Path(folder).resolve())


@cache
def _read(path: Path) -> Release:
    entries = json.loads(path.read_text(encoding="utf-8"))
    created = entries.get("created")
    return Release(
        id=entries["id"],
        project=entries.get("project", ""),
        version=entries.get("version", ""),
        revision=_revision(entries.get("revision")),
        created=None if created is None else datetime.fromtimestamp(created, timezone.utc),
        created_by=entries.get("created_by", ""),
    )


def _revision(entries: Mapping[str, Any] | None) -> Revision | None:
    if not entries:
        return None
    return Revision(
        vcs=entries["vcs"],
        id=entries["id"],
        branch=entries.get("branch", ""),
        is_dirty=bool(entries.get("dirty", False)),
    )
