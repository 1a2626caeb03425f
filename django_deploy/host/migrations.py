"""The migrations of a release on this host: judged ahead of all steps, run in two parts if need be."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Callable, Optional

from .backups import ALWAYS, Backups
from .judgement import ALLOW, EXPAND, PHASED, REFUSE, Code, Migration, Refusal, Verdict, has_contract, judge
from .layout import Layout
from .link import Link
from .protocol import Failure
from .steps import ask_apart

#: Seconds that the live release gets to say what it uses of the database.
TABLES_TIMEOUT = 60.0

#: Seconds that a migration waits for another one of the same database to end.
GUARD_PATIENCE = 60.0

#: Characters of one event about migrations; the deployer takes no event that is much longer.
LONGEST_EVENT = 100_000

#: Asks the release's Django, which may get a time, in seconds.
Ask = Callable[..., dict[str, Any]]

#: Looks at a plan of a release, which answers ``Ask``.
Look = Callable[[Ask, dict[str, Any]], None]


@dataclass(frozen=True)
class Planned:
    """What one ``migrate`` command does.

    ``early`` are the migrations that are applied before the switch; ``now`` are those of them that have to be
    named for that, as they bring the others along. ``deferred`` are applied after confirm. ``is_lossy`` says
    that one of them removes something, or has an unknown effect. When one of ``torn`` fails, a
    part of it may stay.
    """

    command: list[str]
    database: str
    now: list[str]
    deferred: list[str]
    early: list[str]
    is_lossy: bool = False
    place: str = ""
    torn: tuple[str, ...] = ()

    def commands(self) -> list[list[str]]:
        """Those that run before the switch."""
        if not self.deferred:
            return [self.command]
        return [[*self.command, *name.split(".", 1)] for name in self.now]

    def deferred_step(self, message: dict[str, Any]) -> dict[str, Any]:
        """What is kept of a step until it is time for what is ``deferred``."""
        torn = [name for name in self.deferred if name in self.torn]
        kept = {"database": self.database, "place": self.place, "migrations": self.deferred, "torn": torn}
        return {**message, **kept}

    @classmethod
    def of_deferred(cls, step: dict[str, Any]) -> Planned:
        """What such a step does, then; an earlier django-deploy did not note what may be torn."""
        names, torn = step["migrations"], tuple(step.get("torn", ()))
        place = step.get("place", step["database"])
        return cls(step["command"], step["database"], names, [], names, place=place, torn=torn)

    def run(
        self, run: Callable[[dict[str, Any]], dict[str, Any]], message: dict[str, Any], applied: list[str]
    ) -> dict[str, Any]:
        """Run one of its commands; a failure tells of what was ``applied`` before as well: it stays."""
        try:
            return run(message)
        except Failure as failure:
            failure.details["applied"] = [*applied, *failure.details.get("applied", ())]
            if not message["isolated"]:  # such a process does not say what it applied
                self.tell_what_is_torn(failure)
            raise

    def tell_what_is_torn(self, failure: Failure) -> None:
        """Behind those that it says were applied one has failed: a part of that may have stayed."""
        # Behind a space stands the database, where it is another one.
        done = {name.partition(" ")[0] for name in failure.details["applied"]}
        failed = next((name for name in self.early if name not in done), "")
        if failed in self.torn:
            failure.details["torn"] = [failed]
            failure.remedy = (
                f"{failed} may be partly applied, and {self.place} cannot roll that back."
                f" Look at its tables, undo that part by hand or from a backup, and deploy again."
            )


class Migrations:
    """The migrations of one transaction of a target."""

    def __init__(self, layout: Layout, link: Link, keep_open: int, target: str = "") -> None:
        self._layout = layout
        self._link = link
        self._keep_open = keep_open
        self._target = target
        self._message: dict[str, Any] = {}
        self._planned: list[Planned] = []
        #: Commands that cannot be planned yet, with why.
        self.unplanned: dict[tuple[str, ...], str] = {}
        self._backed_up: set[str] = set()

    # Planning

    def plan(self, ask: Ask, message: dict[str, Any]) -> dict[str, Any]:
        """See ``Program._plan_migrations``; refuses what the code that runs could not bear.

        What cannot be planned yet, as an earlier step makes the database say, is planned when its turn comes.
        """
        self._message = message
        plans = []
        for command in message["commands"]:
            reply = ask({"do": "plan_migrations", "command": command})
            if not reply["ok"]:
                self.unplanned[tuple(command)] = reply["error"]
            elif reply["plan"]:
                plans.append((command, reply["plan"]))
        found = self._judge(plans)
        self._tell_unmigrated(ask, message["commands"])
        return found

    def _tell_unmigrated(self, ask: Ask, commands: Sequence[Sequence[str]]) -> None:
        reply = ask({"do": "unmigrated", "commands": commands})
        for database, names in reply.get("unmigrated", {}).items():
            message = f"the database {database!r} has migrations that no step applies: {', '.join(names)}"
            remedy = f'If it is to be migrated, add it to STEPS: "migrate --noinput --database {database}".'
            self._link.report("warning", message=message, remedy=remedy)

    def plan_return(self, ask: Ask, message: dict[str, Any], look: Look) -> dict[str, Any]:
        """The same for an earlier release that is to be live again; ``look`` judges what it lacks.

        Whoever goes back is in a hurry: what cannot be known is no reason to refuse. Migrations of that
        release may be pending, as they were taken back once; they are planned as in a deployment.
        """
        self._message = message
        plans = []
        for command in message["commands"]:
            try:
                reply = ask({"do": "plan_migrations", "command": command})
                if reply["ok"] and reply["plan"]:
                    look(ask, reply["plan"])
            except Failure as failure:
                reply = {"ok": False, "error": failure.message}
            if not reply["ok"]:
                text = f"it is not known whether the release fits the database: {reply['error']}"
                self._link.report("warning", message=text, remedy="")
            elif reply["plan"]:
                plans.append((command, {**reply["plan"], "ahead": []}))
        found = self._judge(plans)
        pending = [name for planned in self._planned for name in (*planned.now, *planned.deferred)]
        return {**found, "pending": pending}

    def plan_late(self, ask: Ask, command: list[str]) -> None:
        """Once more for a step that could not be planned ahead; nobody is asked any more."""
        if self.unplanned.pop(tuple(command), None) is None:
            return
        self._message = {**self._message, "asks": False}
        reply = ask({"do": "plan_migrations", "command": command})
        if reply["ok"]:
            self._judge([(command, reply["plan"])] if reply["plan"] else [])
        else:
            # Nothing may be borne that nobody knows: whose database it is, and what a backup is to have.
            message = f"the migrations cannot be planned: {reply['error']}"
            raise Failure("MigrationsRefused", message, "Fix it and deploy again.")

    def _judge(self, plans: Sequence[tuple[list[str], dict[str, Any]]]) -> dict[str, Any]:
        policy = self._message["policy"]
        for _, plan in plans:
            self.check_owners(plan, self._message["shared_with"])
            _check_leaves(plan)
            self._check_ahead(plan)
        running = self._running([plan for _, plan in plans])
        verdicts = []
        for command, plan in plans:
            users = [] if _is_empty(plan) else running
            verdict = judge(plan["migrations"], users, _policy(plan, policy))
            self._remember(command, plan, verdict)
            self._report(plan, verdict, users)
            verdicts.append(verdict)
        _refuse([refusal for verdict in verdicts for refusal in verdict.refusals], policy)
        opaque = [line for verdict in verdicts for line in verdict.opaque]
        if opaque and not self._message["asks"] and policy != ALLOW:
            self._warn_of(opaque)
        return {"opaque": opaque, "deferred": [name for verdict in verdicts for name in verdict.deferred]}

    def check_owners(self, plan: dict[str, Any], shared_with: Sequence[str]) -> None:
        """Refuse a ``database`` with ``owners`` that are neither this target nor share it with it."""
        for owner in plan["owners"]:
            if owner["target"] not in (self._target, *shared_with):
                when = time.strftime("%Y-%m-%d", time.gmtime(owner["at"]))
                raise Failure(
                    "DatabaseRefused",
                    f"the database {plan['database']!r} of {self._target!r} is that of {owner['target']!r}:"
                    f" {plan['place']}, which {owner['target']!r} ({owner['root']} on {owner['host']})"
                    f" migrated last on {when}",
                    f"Give {self._target!r} a database of its own: look at its ENV and SETTINGS_MODULE."
                    f" If the two are to share it, or {owner['target']!r} was renamed, say"
                    f' "DATABASE_SHARED_WITH": ["{owner["target"]}"] in the entry of {self._target!r}.',
                )

    def _check_ahead(self, plan: dict[str, Any]) -> None:
        if plan["ahead"]:
            names = ", ".join(plan["ahead"])
            self._object(
                f"the database {plan['database']!r} is ahead of this code, which lacks: {names}",
                "Is this an older revision, or another branch? Bring it up to date. If the migrations are"
                " gone for good and it fits the tables nevertheless: deploy --allow-breaking, and then,"
                f" so that the database forgets them: deploy_run {self._target} -- migrate APP --prune.",
            )

    def _object(self, message: str, remedy: str) -> None:
        """Where everything is allowed, it is only said."""
        if self._message["policy"] != ALLOW:
            raise Failure("MigrationsRefused", message, remedy)
        self._link.report("warning", message=message, remedy="")

    def _running(self, plans: Sequence[dict[str, Any]]) -> list[Code]:
        """The code that runs now, here and on other hosts, with what it uses of the database."""
        live = self._layout.live()
        is_asked = any(has_contract(plan["migrations"]) for plan in plans if not _is_empty(plan))
        here = [Code("the live release", self.live_tables() if is_asked else None)] if live else []
        others = [Code(other["name"], other["tables"], other["stays"]) for other in self._message["others"]]
        return [*here, *others]

    def live_tables(self) -> Optional[dict[str, Any]]:
        """What the live release uses of the database; None if it cannot say, for example as it is too old."""
        live = self._layout.live()
        if live is None:
            return None
        reply = ask_apart(
            self._layout.release(live), self._keep_open, {"do": "tables"}, TABLES_TIMEOUT, self._link.lost
        )
        tables: Optional[dict[str, Any]] = reply.get("tables")
        return tables

    def _remember(self, command: list[str], plan: dict[str, Any], verdict: Verdict) -> None:
        early = [migration for migration in plan["migrations"] if migration["name"] not in verdict.deferred]
        needed = {name for migration in early for name in migration["needs"]}
        now = [migration["name"] for migration in early if migration["name"] not in needed]
        is_lossy = any(operation["category"] != EXPAND for m in early for operation in m["operations"])
        names = [migration["name"] for migration in early]
        torn = tuple(m["name"] for m in plan["migrations"] if not m.get("is_whole", True))
        planned = Planned(
            command, plan["database"], now, verdict.deferred, names, is_lossy, plan["place"], torn
        )
        self._planned.append(planned)

    def _report(self, plan: dict[str, Any], verdict: Verdict, running: Sequence[Code]) -> None:
        for migrations in _pieces(verdict.planned):
            self._link.report(
                "migrations.planned",
                database=plan["database"],
                place=plan["place"],
                is_live=bool(running),
                migrations=migrations,
            )

    def _warn_of(self, opaque: Sequence[str]) -> None:
        message = f"it is unknown whether these migrations break the live release: {'; '.join(opaque)}"
        self._link.report("warning", message=message, remedy="Read them before you deploy.")

    # Running

    def find(self, command: list[str]) -> Optional[Planned]:
        """What was planned for a step, if it is one that migrates."""
        return next((planned for planned in self._planned if planned.command == command), None)

    def back_up(self, ask: Ask, planned: Planned) -> None:
        """Dump the database ahead of what was planned, if the target wants that; once, however many steps."""
        wanted = self._message.get("backup")
        if wanted is None or not planned.now or planned.database in self._backed_up:
            return
        if wanted["when"] == ALWAYS or planned.is_lossy:
            names = f"{', '.join(planned.now[:3])}{' and others' if len(planned.now) > 3 else ''}"
            self.dump(ask, planned.database, f"migrating {names}", wanted["keep"])
            self._backed_up.add(planned.database)

    def dump(self, ask: Ask, database: str, before: str, keep: int) -> None:
        """Make a backup; ``before`` says what is to happen to the database."""
        backups = Backups(self._layout, self._link)
        backups.make(ask, database, before=before, target=self._target, keep=keep)

    @contextmanager
    def guard(self, ask: Ask, database: str) -> Iterator[None]:
        """Note whose the database is, and lock it against other migrations for as long as the block lasts."""
        owner = {"target": self._target, "root": str(self._layout.root), "host": os.uname().nodename}
        request = {"do": "guard", "database": database, "owner": owner, "wait": GUARD_PATIENCE}
        reply = ask(request)
        if not reply["ok"]:
            ask({"do": "unguard"})
            raise Failure("StepFailed", f"not migrated: {reply['error']}", "Deploy again.")
        try:
            yield
        finally:
            try:
                ask({"do": "unguard"})
            except Failure:
                pass  # the process has ended, and the lock with it


def _pieces(migrations: Sequence[Migration]) -> Iterator[list[Migration]]:
    """As many as fit into one event; one that is too large for that is told without its operations."""
    piece: list[Migration] = []
    size = 0
    for migration in migrations:
        length = len(json.dumps(migration))
        told = migration if length <= LONGEST_EVENT else {**migration, "operations": []}
        if piece and size + length > LONGEST_EVENT:
            yield piece
            piece, size = [], 0
        piece.append(told)
        size += len(json.dumps(told))
    if piece:
        yield piece


def _check_leaves(plan: dict[str, Any]) -> None:
    for app, names in plan["conflicts"].items():
        raise Failure(
            "MigrationsRefused",
            f"the app {app!r} has several last migrations: {', '.join(names)}",
            "Make one that follows all of them: manage.py makemigrations --merge.",
        )


def _is_empty(plan: dict[str, Any]) -> bool:
    """Whether the database has no tables yet: the code that runs now has another one."""
    return bool(plan.get("is_empty"))


def _policy(plan: dict[str, Any], policy: str) -> str:
    """What is for one app, or back to a certain migration, is done at once or not at all."""
    return REFUSE if policy == PHASED and not plan["is_for_all"] else policy


def _refuse(refusals: Sequence[Refusal], policy: str) -> None:
    if not refusals:
        return
    remedies = list(dict.fromkeys(filter(None, (refusal.remedy for refusal in refusals))))
    if policy == REFUSE:
        remedies.append('What is not needed any more goes after the switch with "MIGRATIONS": "phased".')
    remedies.append(
        "To accept the errors that the live release shows until the switch: deploy --allow-breaking."
    )
    raise Failure(
        "MigrationsRefused",
        "these migrations would break the live release",
        "\n".join(remedies),
        lines=[line for refusal in refusals for line in refusal.lines()],
        operations=[
            {"migration": r.migration, "operation": r.operation, "reason": r.reason} for r in refusals
        ],
    )
