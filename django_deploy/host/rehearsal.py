"""A deployment is rehearsed: the release is made aside, and asked what it would change.

It lies beside the store, belongs to no transaction, and is never started or live. The next rehearsal finds it
there, and makes it anew only where it would be another one; the next deployment throws it away.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Optional

from .comparison import compare
from .layout import Layout, Release
from .link import Link
from .migrations import Migrations
from .protocol import Failure
from .release_making import install, write_files
from .release_steps import PREFLIGHT_TIMEOUT, ReleaseSteps, report_new_warnings
from .store import Store

#: Seconds to wait for another one: a deployment that has just ended throws the last one away.
PATIENCE = 5.0


class Rehearsal:
    """Of one release on one host, which has another one live, or none yet."""

    def __init__(self, layout: Layout, link: Link, store: Store) -> None:
        self._layout = layout
        self._link = link
        self._store = store
        self._release = Release(_folder(layout))

    def play(self, message: dict[str, Any]) -> dict[str, Any]:
        """Make the release and compare it with the live one; see ``comparison.COMPARISON``.

        Raises ``Failure`` for whatever the deployment would be refused for until its steps begin.
        """
        name = self._layout.live()
        live = self._layout.release(name) if name else None
        self._layout.create()
        with _alone(self._layout, PATIENCE) as lock:
            before = ReleaseSteps(self._link, lock)
            after = ReleaseSteps(self._link, lock)
            try:
                if live is not None:
                    before.open_if_whole(live, "rehearsal")  # it starts while the other one is made
                self._make(message)
                after.open(self._release, "rehearsal")
                return self._compare(live, before, after, message)
            finally:
                before.kill()
                after.kill()

    def _make(self, message: dict[str, Any]) -> None:
        wanted = {name: message[name] for name in ("lock", "python", "distributions")}
        made = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
        note = self._release.path / "made"
        # Its interpreter is a link, which leads nowhere once the host has another Python.
        if not (self._release.python.exists() and note.is_file() and note.read_text() == made):
            shutil.rmtree(self._release.path, ignore_errors=True)
            self._release.path.mkdir(mode=0o700, parents=True)
            install(self._layout, self._store, self._link, self._release, message)
            note.write_text(made)
        write_files(self._layout, self._release, message["release"], message["environment"], {})

    def _compare(
        self, live: Optional[Release], before: ReleaseSteps, after: ReleaseSteps, message: dict[str, Any]
    ) -> dict[str, Any]:
        _, warnings, _ = after.check_site(message, live)
        report_new_warnings(self._layout, self._link, warnings)
        changes = compare(live, self._release, before, after)
        try:
            self._plan_migrations(after, message["migrations"])
        except Failure as failure:
            failure.details["changes"] = changes
            raise
        return changes

    def _plan_migrations(self, steps: ReleaseSteps, message: dict[str, Any]) -> None:
        if not message["commands"]:
            return
        migrations = Migrations(self._layout, self._link, steps.keep_open, message["target"])
        migrations.plan(lambda request: steps.ask(request, PREFLIGHT_TIMEOUT), message)
        for command, why in migrations.unplanned.items():
            text = f"it is not known what {' '.join(command)} would do: {why}"
            remedy = "The deployment asks again when its turn comes, and ends there if it gets no answer."
            self._link.report("warning", message=text, remedy=remedy)


def forget(layout: Layout) -> None:
    """Throw away what is left of the last rehearsal, unless one is under way."""
    with suppress(Failure), _alone(layout):
        shutil.rmtree(_folder(layout), ignore_errors=True)


def _folder(layout: Layout) -> Path:
    # As deep below ROOT as any release: programs of a release find ROOT by that.
    return layout.private / "rehearsal"


@contextmanager
def _alone(layout: Layout, patience: float = 0.0) -> Iterator[int]:
    """While no other rehearsal is at it, for which it waits so many seconds; gives its lock's descriptor."""
    descriptor = os.open(layout.private / "rehearsal.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, patience)
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, patience: float) -> None:
    until = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                what = "another deploy --plan, or a deploy that will ask, is running there"
                raise Failure("Locked", what, "Try again in a minute.") from None
        time.sleep(0.1)
