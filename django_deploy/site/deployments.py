"""What the history of this host tells about deployments, for the admin's page."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from django.conf import settings
from django.utils.timezone import get_current_timezone

from django_deploy.host import history
from django_deploy.host.layout import Layout
from django_deploy.host.protocol import Failure

from .release import Revision
from .versions import is_downgrade

NOT_DEPLOYED = (
    "This process does not run from a release, or was started without its environment (DJANGO_DEPLOY_ROOT):"
    " there is no history to show. On a site that django-deploy has started there is one."
)

#: What was done, for people, by the history's word for it.
ACTIONS = {
    "deploy": "Deployed",
    "rollback": "Rolled back",
    "restart": "Restarted",
    "environment": "Environment changed",
    "restore": "Backup restored",
    "migrate": "Migrations after the switch",
}


@dataclass(frozen=True)
class Change:
    """One distribution; ``before`` or ``after`` is None where it was added or removed."""

    name: str
    before: str | None
    after: str | None

    @property
    def kind(self) -> str:
        if self.before is None or self.after is None:
            return "added" if self.before is None else "removed"
        if self.before == self.after:
            return "rebuilt"
        return {True: "downgraded", False: "upgraded", None: "changed"}[is_downgrade(self.before, self.after)]


@dataclass(frozen=True)
class Phase:
    """A part of a deployment on this host; it ``began`` so many seconds after the first one."""

    name: str
    step: str
    began: float
    seconds: float


@dataclass(frozen=True)
class Deployment:
    """One entry of the history. ``changes`` is None where it does not say what changed."""

    key: int
    at: datetime
    action: str
    release: str
    previous: str | None
    by: str
    version: str
    previous_version: str
    revision: Revision | None
    previous_revision: Revision | None
    left_out: Sequence[str]
    backup: str
    changes: Sequence[Change] | None
    applied: Sequence[str]
    unapplied: Sequence[str]
    phases: Sequence[Phase]
    seconds: float
    is_live: bool

    @property
    def title(self) -> str:
        return ACTIONS.get(self.action, self.action)

    @property
    def versions(self) -> str:
        return _range(self.previous_version, self.version)

    @property
    def revisions(self) -> str:
        """From which to which, with the branch and what else the new one has to be told."""
        before, after = self.previous_revision, self.revision
        if before is None or after is None or before.id == after.id:
            return str(after or "")
        return str(after).replace(after.id[:12], _range(before.id[:12], after.id[:12]), 1)


@dataclass(frozen=True)
class History:
    """Of one ``host``, the newest first; ``problem`` says why there is none."""

    host: str
    live: str | None = None
    deployments: Sequence[Deployment] = ()
    problem: str = ""

    @property
    def live_deployment(self) -> Deployment | None:
        return next((deployment for deployment in self.deployments if deployment.is_live), None)

    def find(self, key: int) -> Deployment | None:
        return next((deployment for deployment in self.deployments if deployment.key == key), None)


def read_history() -> History:
    """The history of the site that this process belongs to."""
    host, root = os.uname().nodename, os.environ.get("DJANGO_DEPLOY_ROOT")
    if not root:
        return History(host, problem=NOT_DEPLOYED)
    try:
        layout = Layout(root)
        live, entries = layout.live(), history.entries(layout, history.MAX_ENTRIES)
    except Failure as failure:
        return History(host, problem=f"The history cannot be read: {failure.message}.")
    except OSError as error:
        return History(host, problem=_why_not_readable(layout.private, error))
    return History(host, live, _deployments(entries[::-1], live))


def _why_not_readable(folder: Path, error: OSError) -> str:
    problem = f"The history in {folder} cannot be read by {_user(os.geteuid())}, the user of the site: "
    problem += error.strerror or str(error)
    try:
        owner = _user(folder.stat().st_uid)
    except OSError:
        return f"{problem}."
    return f"{problem}. It is {owner}'s. What it says: manage.py deploy_history TARGET."


def _user(id: int) -> str:
    try:
        return pwd.getpwuid(id).pw_name
    except KeyError:
        return f"the user {id}"


def _deployments(entries: Iterable[Mapping[str, Any]], live: str | None) -> list[Deployment]:
    """The last one that made the live release live is it."""
    found: list[Deployment] = []
    is_found = False
    for entry in entries:
        is_switch = entry.get("action") not in ("restore", "migrate")
        is_live = not is_found and is_switch and live is not None and entry.get("release") == live
        is_found = is_found or is_live
        found.append(_deployment(entry, is_live=is_live))
    return found


def _deployment(entry: Mapping[str, Any], *, is_live: bool) -> Deployment:
    told = entry.get("phases", ())
    start = min((phase["at"] for phase in told), default=entry["at"])
    phases = [Phase(p["phase"], p.get("step", ""), p["at"] - start, p["seconds"]) for p in told]
    changes = entry.get("changes")
    return Deployment(
        key=round(entry["at"] * 1000),
        at=_time(entry["at"]),
        action=entry.get("action", ""),
        release=entry.get("release", ""),
        previous=entry.get("previous"),
        by=entry.get("by", ""),
        version=entry.get("version") or "",
        previous_version=entry.get("previous_version") or "",
        revision=_revision(entry.get("revision")),
        previous_revision=_revision(entry.get("previous_revision")),
        left_out=entry.get("left_out", ()),
        backup=entry.get("backup", ""),
        changes=None if changes is None else [Change(c["name"], c["before"], c["after"]) for c in changes],
        applied=entry.get("applied", ()),
        unapplied=entry.get("unapplied", ()),
        phases=phases,
        seconds=max([entry["at"] - start, *(phase.began + phase.seconds for phase in phases)]),
        is_live=is_live,
    )


def _time(seconds: float) -> datetime:
    """In the zone of the site's visitor, as templates show times."""
    if settings.USE_TZ:
        return datetime.fromtimestamp(seconds, timezone.utc).astimezone(get_current_timezone())
    return datetime.fromtimestamp(seconds)


def _revision(entries: Mapping[str, Any] | None) -> Revision | None:
    """What was noted by another version of ours may lack something."""
    if not entries or not entries.get("id"):
        return None
    return Revision(
        vcs=str(entries.get("vcs") or ""),
        id=str(entries["id"]),
        branch=str(entries.get("branch") or ""),
        is_dirty=bool(entries.get("dirty")),
    )


def _range(before: str, after: str) -> str:
    return f"{before} → {after}" if before and after and before != after else after
