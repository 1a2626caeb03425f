"""The transaction of one host: build aside, start aside, switch, confirm; and the way back from anywhere.

Before each phase that has an effect outside the new release's own folder, the journal says what is about to
happen (``transaction_journal.py``). ``undo`` works from the journal alone, so a transaction whose program was
killed is undone, or finished, by the next one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

from . import environment, history, rehearsal
from .comparison import compare
from .context import Context
from .copies import Copies
from .layout import (
    FAILED,
    LIVE,
    PREPARING,
    READY,
    RENEWED,
    RETIRED,
    Layout,
    Release,
    write_atomically,
)
from .link import Link
from .migrations import Migrations, Planned
from .protocol import Failure
from .pruning import note_cleanup, prune
from .release_making import install, write_files
from .release_steps import PREFLIGHT_TIMEOUT, ReleaseSteps, report_new_warnings
from .renewal import copy_release
from .serving import names_in
from .static_files import carry_static_files, static_root
from .store import Store
from .transaction_journal import CONFIRM, PREPARE, START, SWITCH, Journal, read_journal
from .way_back import WayBack

#: Seconds that undoing a deployment waits for processes to end; they do so without us as well.
UNDO_PATIENCE = 30.0

#: Seconds between two looks at a release that is watched before it is confirmed.
HOLD_INTERVAL = 1.0


class Transaction:
    """One deployment or rollback on this host, from ``begin`` to ``confirm`` or ``undo``."""

    def __init__(self, layout: Layout, link: Link, store: Store, keep_open: int) -> None:
        """``keep_open`` is the lock's descriptor: what outlives us still holds the lock."""
        self._layout = layout
        self._link = link
        self._store = store
        self.context = Context(layout, link, keep_open)
        self._steps = self.context.steps
        self._serving = self.context.serving
        self._migrations: Optional[Migrations] = None
        self._way_back: Optional[WayBack] = None
        self._made: Optional[Release] = None
        self._journal = Journal(layout)

    # Begin

    def begin(self, expect_live: Optional[str]) -> dict[str, Any]:
        """Fix what a killed program left, then check that the host is as the plan saw it."""
        self._recover()
        live = self._layout.live()
        if live != expect_live:
            raise Failure(
                "Changed",
                f"the live release is {live or 'none'} now; the plan was made for {expect_live or 'none'}",
                "Somebody else deployed in the meantime: deploy again.",
            )
        self._mend(live)
        self._tell_of_killed(live)
        return {"live": live}

    def _mend(self, live: Optional[str]) -> None:
        """Links and states say what is so, whoever has had a hand in them."""
        for release in self._layout.all_releases():
            state = release.state
            if not release.has_known_state:
                self._link.report(
                    "warning",
                    message=f"the state of {release.id} cannot be read: it counts as"
                    f" {LIVE if release.id == live else FAILED}",
                    remedy="",
                )
            if release.id == live:
                release.mark(LIVE)
            elif state in (PREPARING, READY) or not release.has_known_state:
                release.mark(FAILED)
        if live is not None:
            self._serving.point(self._layout.current, f"releases/{live}")

    def _tell_of_killed(self, live: Optional[str]) -> None:
        """Processes of earlier releases that did not stop in their time, which was after we had left."""
        for manager in self._serving.managers():
            for state in manager.states():
                if state.release != live and state.state == "killed":
                    self._serving.report_killed(state.name, state.release)
                    manager.disable(state.release, [state.name])
                    manager.forget(state.release, [state.name])

    def _recover(self) -> None:
        self._journal.notes = read_journal(self._layout)
        if self._journal.phase == CONFIRM:
            # It drains still, or was killed then. What it left is swept at the end of this transaction,
            # or by itself, should this one end before its first note.
            self._settle_states()
        elif self._journal.notes:
            release = self._journal.release
            self.undo("its host program was killed")
            self._link.report("recovered", release=release, action="undone")
        self._journal.notes = {}

    def explain(self, failure: Failure) -> Failure:
        """The same, or a better reason: somebody has deleted what was being made."""
        if self._made is None or (self._made.path / "state").exists():
            return failure
        return Failure(
            "NoSuchRelease",
            f"somebody has deleted the release {self._made.id} on the host meanwhile",
            "Deploy again.",
            **failure.details,
        )

    # Prepare

    def prepare(self, message: dict[str, Any]) -> dict[str, Any]:
        """Build the release's folder and virtualenv; nothing that is live is touched."""
        record = message["release"]
        release = self._make_folder(record["id"])
        tools = install(self._layout, self._store, self._link, release, message)
        write_files(self._layout, release, record, message["environment"], tools)
        return {"release": release.id}

    def renew(self, message: dict[str, Any]) -> dict[str, Any]:
        """Make the live release once more, as it is or with a changed environment."""
        live = self._layout.release(self._layout.live() or "")
        release = self._make_folder(message["release"])
        copy_release(live, release)
        release.mark(PREPARING)
        record = {**release.record, "id": release.id, "renews": None, "same_as": None}
        if message["environment"] is None:
            record.update(renews=live.id, same_as=live.record.get("same_as") or live.id)
        else:
            record.update(made_of=live.id)
            environment.change(release, **message["environment"])
        write_atomically(release.path / "release.json", json.dumps(record, indent=1), 0o600)
        return {"release": release.id}

    def _make_folder(self, id: str) -> Release:
        release = self._layout.release(id)
        self._journal.note(PREPARE, release=release.id, previous=self._layout.live(), was=FAILED)
        if release.path.is_dir() and release.state in (FAILED, PREPARING):
            self._layout.delete_discarded()
            release.discard()  # an earlier try at a release that other hosts serve by now
        release.path.mkdir(mode=0o755)
        release.mark(PREPARING)
        self._made = release
        return release

    # Steps

    def preflight(self, message: dict[str, Any]) -> dict[str, Any]:
        """Start the new release's Django once and let it check itself with the target's settings."""
        release = self._layout.release(self._journal.release)
        live = self._layout.live()
        was = self._layout.release(live) if live else None
        with self._open_beside(was if message["compare"] else None) as before:
            self._steps.open(release, "preflight")
            site, warnings, databases = self._steps.check_site(message, was)
            report_new_warnings(self._layout, self._link, warnings)
            write_atomically(release.path / "site.json", json.dumps({**site, "warnings": warnings}), 0o600)
            changes = compare(was, release, before, self._steps) if message["compare"] else None
        return {"site": site, "warnings": warnings, "databases": databases, "changes": changes}

    @contextmanager
    def _open_beside(self, release: Optional[Release]) -> Iterator[ReleaseSteps]:
        """The Django of another release, if there is one; it starts while one does something else."""
        steps = ReleaseSteps(self._link, self.context.keep_open)
        try:
            if release is not None:
                steps.open_if_whole(release, "preflight")
            yield steps
        finally:
            steps.kill()

    def plan_migrations(self, message: dict[str, Any]) -> dict[str, Any]:
        """Judge what the ``migrate`` steps will do, ahead of all steps."""
        self._steps.name = "preflight"
        self._migrations = self.context.migrations(message["target"])
        return self._migrations.plan(lambda request: self._steps.ask(request, PREFLIGHT_TIMEOUT), message)

    def step(self, message: dict[str, Any]) -> dict[str, Any]:
        """Run one ``manage.py`` command of the new release to its end."""
        self._link.stop_if_lost()
        name = " ".join(message["command"])
        with self._steps.running(name):  # before it is told: who hears of it may undo at once
            self._link.report("step.started", step=name)
            self._warn_of_clearing(message["command"])
            started = time.monotonic()
            result = self._run_planned(message)
        seconds = round(time.monotonic() - started, 3)
        if result.get("skipped"):
            self._link.report("step.skipped", step=name, reason=result["skipped"])
        else:
            self._link.report("step.finished", step=name, seconds=seconds, result=result.get("result", {}))
        return {"seconds": seconds, **result}

    def _run_planned(self, message: dict[str, Any]) -> dict[str, Any]:
        if self._migrations is None:
            return self._steps.run(message)
        self._migrations.plan_late(self._steps.ask, message["command"])
        planned = self._migrations.find(message["command"])
        return self._migrate(self._migrations, planned, message) if planned else self._steps.run(message)

    def _migrate(self, migrations: Migrations, planned: Planned, message: dict[str, Any]) -> dict[str, Any]:
        """The migrations of a step that do not wait for confirm, with the database to ourselves."""
        if planned.deferred:
            release = self._layout.release(self._journal.release)
            release.defer(planned.deferred_step(message))
        if not planned.commands():
            reason = "its migrations wait until the release is confirmed"
            return {"skipped": reason, "deferred": planned.deferred}
        applied: list[str] = []
        with migrations.guard(self._steps.ask, planned.database):
            migrations.back_up(self._steps.ask_until_lost, planned)
            for command in planned.commands():
                result = planned.run(self._steps.run, {**message, "command": command}, applied)
                applied += result.get("result", {}).get("applied", ())
        if message["isolated"]:
            applied = planned.early
        done = {**result.get("result", {}), "applied": applied}
        return {**result, "result": done, "deferred": planned.deferred}

    def _warn_of_clearing(self, command: list[str]) -> None:
        release = self._layout.release(self._journal.release)
        folder = release.site.get("static_root")
        is_shared = folder and static_root(release) is None and self._layout.live()
        if is_shared and command[0] == "collectstatic" and {"--clear", "-c"} & set(command):
            message = f"collectstatic --clear empties {folder}, where the live release has its files, too"
            remedy = "Leave --clear out, or put STATIC_ROOT into the release's own folder."
            self._link.report("warning", message=message, remedy=remedy)

    def tell_what_runs(self) -> None:
        """Once we are to undo, from any thread: the step that is waited for first."""
        self._steps.tell_what_runs()

    def close_steps(self) -> None:
        """Wait until the step process, which holds the lock with us, has gone."""
        self._steps.close()

    # The way back

    def plan_rollback(self, message: dict[str, Any]) -> dict[str, Any]:
        """Whether an earlier release lives with the database as it is now, and what it has pending."""
        release = self._layout.release(message["release"])
        if release.state not in (LIVE, RETIRED) or not release.python.exists():
            return {}  # activate() refuses it
        self._journal.note(PREPARE, release=release.id, previous=self._layout.live(), was=release.state)
        self._steps.open(release, "preflight")
        self._migrations = self.context.migrations(message["target"])
        self._way_back = WayBack(
            self._layout, self._link, self.context.keep_open, release, self._steps.on_line
        )
        self._tell_what_has_begun(release)

        def ask(request: dict[str, Any]) -> dict[str, Any]:
            return self._steps.ask(request, PREFLIGHT_TIMEOUT)

        with self._way_back.planning():
            found = self._migrations.plan_return(ask, message, self._way_back.plan)
        if any(reversal.needed for reversal in self._way_back.reversals):
            self._check_that_it_starts(release)  # nothing is to be lost for a release that does not
        return {**found, "reversals": [reversal.as_dict() for reversal in self._way_back.reversals]}

    def _tell_what_has_begun(self, release: Release) -> None:
        """The database does not record what a migration has done that failed half-way."""
        live = self._layout.live()
        if live and (names := ", ".join(self._layout.release(live).begun)):
            self._link.report(
                "warning",
                message=f"{names} may be partly applied since {live} was confirmed; it"
                f" is not known whether {release.id} works with that",
                remedy="Look at the tables; undo that part by hand or with a backup: deploy_restore.",
            )

    def _check_that_it_starts(self, release: Release) -> None:
        try:
            self._steps.check_site({"commands": [], "required": [], "identify": None}, None)
        except Failure as failure:
            failure.message = failure.message.replace("the new release", f"the release {release.id}")
            failure.remedy = "Choose another one: deploy_status shows what there is."
            raise

    def reverse(self, message: dict[str, Any]) -> dict[str, Any]:
        """Take back what was planned; from here on, undoing applies it again."""
        self._link.stop_if_lost()
        if self._way_back is None or self._migrations is None:
            raise Failure("BadRequest", "no migrations were planned to be reversed")
        self._journal.note(self._journal.phase, reversed=self._way_back.moves())
        try:
            names = self._way_back.reverse(self._migrations, message["backup"])
        except Failure:
            self._journal.note(self._journal.phase, reversed=self._way_back.moves())
            raise
        return {"result": {"unapplied": names}}

    def _apply_again(self) -> Optional[Failure]:
        """What the way back had taken back, as the release that stays live needs it."""
        moved = self._journal.notes.get("reversed")
        if not moved:
            return None
        live = self._layout.release(self._journal.previous)
        way_back = WayBack(self._layout, self._link, self.context.keep_open, live, self._steps.on_line)
        try:
            names = ", ".join(way_back.apply_again(moved))
        except Failure as failure:
            failure.remedy = f"On the host: {live.path / 'manage.py'} migrate"
            return failure
        if names:
            message = (
                f"reversed and applied again: {names}. Data that only they had room for, as in columns that"
                " they add, is lost"
            )
            self._link.report("warning", message=message, remedy="A backup may have it: deploy_restore.")
        return None

    # Activate

    def activate(self, message: dict[str, Any]) -> dict[str, Any]:
        """Start the release beside the live one, ask its health, then switch."""
        self._link.stop_if_lost()
        release = self._layout.release(message["release"])
        record, previous = release.record, self._layout.live()
        is_noted = self._journal.notes.get("release") == release.id
        was = self._journal.was if is_noted else release.state
        if was == READY or not release.python.exists():
            raise Failure("NoSuchRelease", f"release {release.id} was never live")
        self._steps.dismiss()
        if was == FAILED:
            release.mark(READY)
        self._journal.note(START, release=release.id, previous=previous, was=was)
        self._carry_static_files(release)
        checked = self._serving.start(release, record, previous)
        self._link.stop_if_lost()
        self._journal.note(SWITCH)
        # Both releases start with the host until confirm, so that wherever the links point is served.
        self._serving.manager_of(release).enable(release.id, names_in(record))
        self._serving.switch(record["processes"], release.id)
        self._link.report("switched", release=release.id, previous=previous)
        self._serving.run_restart_commands(record)
        checked += self._serving.check_address(release, record)
        return {"release": release.id, "previous": previous, "checked": checked}

    def _carry_static_files(self, release: Release) -> None:
        """Before any process looks for what there is."""
        try:
            carry_static_files(self._layout, release)
        except OSError as error:
            message = f"pages that are open may lack static files of earlier releases: {error}"
            self._link.report("warning", message=message, remedy="")

    def hold(self, message: dict[str, Any]) -> dict[str, Any]:
        """See that the processes are those still that were started, and for ``seconds`` that they answer."""
        until = time.monotonic() + message["seconds"]
        while True:
            self._link.stop_if_lost()
            self._serving.look()
            if time.monotonic() >= until:
                return {}
            self._serving.look_at_health(self._layout.release(self._journal.release))
            self._link.pause(min(HOLD_INTERVAL, max(until - time.monotonic(), 0.0)))

    # Confirm

    def confirm(self, message: dict[str, Any], done: dict[str, Any]) -> dict[str, Any]:
        """The commit point: from here on the release is live, whatever becomes of the deployer.

        ``done``: what the history is to know of the way here, see ``Timeline``.
        """
        if self._journal.phase != SWITCH:
            raise Failure("BadRequest", "nothing was activated")
        self._link.stop_if_lost()
        release, previous = self._journal.release, self._journal.previous
        self._serving.point(self._layout.current, f"releases/{release}")
        self._journal.note(CONFIRM, at=round(time.time(), 3))
        with self.context.tidying(f"{release} is live, but"):
            self._settle_states()
            self._disable(previous)
            self._record_history(message, done)
        self._link.report("confirmed", release=release, previous=previous)
        return {"release": release, "previous": previous}

    def _settle_states(self) -> None:
        release, previous = self._journal.release, self._journal.previous
        if previous not in (None, release):
            is_renewed = self._layout.release(release).known_record.get("renews") == previous
            self._layout.release(previous).mark(RENEWED if is_renewed else RETIRED)
        self._layout.release(release).mark(LIVE)
        environment.keep(self._layout, self._layout.release(release))

    def _disable(self, previous: Optional[str]) -> None:
        """The old release goes on until it is drained, and does not come back when the host starts."""
        if previous in (None, self._journal.release):
            return
        release = self._layout.release(previous)
        try:
            self._serving.manager_of(release).disable(release.id, names_in(release.record))
        except Failure:
            pass  # its record is damaged: the sweep goes by what runs

    def _record_history(self, message: dict[str, Any], done: dict[str, Any]) -> None:
        entry = {
            "action": message.get("action", "deploy"),
            "release": self._journal.release,
            "previous": self._journal.previous,
            "by": message.get("by", ""),
            "left_out": message.get("left_out", []),
            **done,
        }
        history.append(self._layout, entry)

    def settled_release(self) -> Release:
        """The live release, unless a deployment could still take it back."""
        live = self._layout.live()
        if live is None or self._journal.phase not in ("", CONFIRM):
            raise Failure("BadRequest", "no release was confirmed")
        return self._layout.release(live)

    def finish(self, keep: int) -> None:
        """After confirm and a while: let the old processes go, prune, close the journal.

        Nothing is left to do where another deployment has begun since: it sweeps as well.
        """
        if not self.is_to_be_finished():
            return
        release = self._journal.release
        left = self._serving.stop_all_but(release, patience=0.0)
        with self.context.tidying(f"{release} is live, but"):
            self._settle_states()
            self._serving.remove_sockets(release, left)
            self._journal.delete_file()
            self._prune(keep)

    def is_to_be_finished(self) -> bool:
        """Whether what it has confirmed still drains, and no other one has begun to change anything."""
        found = read_journal(self._layout)
        return (found.get("phase"), found.get("release")) == (CONFIRM, self._journal.release)

    def _prune(self, keep: int) -> None:
        """Also after a failure: failed releases are not to fill the disk."""
        managers = self._serving.managers()
        try:
            removed = prune(self._layout, self._store, keep)
            rehearsal.forget(self._layout)
            Copies(self._layout, self._link).forget_old()
            for manager in managers:
                for release in removed:
                    manager.drop(release)
        except OSError as error:
            note_cleanup(self._layout, str(error))
        else:
            note_cleanup(self._layout, "")
            if removed:
                self._link.report("pruned", releases=removed)

    # Undo

    def undo(self, reason: str) -> dict[str, Any]:
        """Put everything back as the journal found it; safe to repeat. Gives the live release."""
        if not self._journal.notes:
            self._steps.kill()
        if self._journal.phase in ("", CONFIRM):
            return {"live": self._layout.live()}
        release, previous = self._journal.release, self._journal.previous
        self._steps.kill()
        self._layout.give_up_reserve()
        failure = self._apply_again()
        if self._journal.phase == SWITCH:
            self._serving.switch_back(previous)
        if self._journal.phase in (START, SWITCH) and previous is not None:
            self._serving.start_again(release, previous)
        left = self._serving.stop_all_but(previous, patience=UNDO_PATIENCE)
        if previous is None:
            for manager in self._serving.managers():
                manager.close()
        if self._journal.phase == SWITCH and previous is not None:
            self._serving.restart_old(self._layout.release(previous))
        with self.context.tidying(f"{previous or 'nothing'} is live as before, but"):
            self._layout.release(release).mark(self._journal.was)
            self._serving.remove_sockets(previous, left)
            self._journal.delete_file()
            self._prune(sys.maxsize)
        self._journal.notes = {}
        if failure is not None:
            raise failure
        self._link.report("reverted", release=release, live=previous, reason=reason)
        return {"live": previous}
