"""What a release was made of, in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_deploy.bundle.manifest import Revision


def origin(release: Mapping[str, Any]) -> str:
    """``shop 1.4, git 3f9c2a1 (main), by anna@laptop``, as far as it is known."""
    name = f"{release.get('project') or ''} {release.get('version') or ''}".strip()
    author = f"by {release['created_by']}" if release.get("created_by") else ""
    return ", ".join(part for part in (name, _revision(release.get("revision")), author) if part)


def _revision(record: object) -> str:
    if not isinstance(record, Mapping):
        return ""
    vcs, id, branch = (str(record.get(key) or "") for key in ("vcs", "id", "branch"))
    return str(Revision(vcs, id, branch, is_dirty=record.get("dirty") is True))
