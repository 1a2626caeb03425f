"""The way back to an earlier release: does it work with the database as it is now, and what helps if not?

The database has migrations that the earlier release does not know, as they were applied for a newer one. Most
of them, such as one that adds a column, do no harm. Those that do are taken back, by a release that has their
files. If the way back fails, they are applied again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from . import environment
from .commands import OnLine
from .databases import Database, find_database
from .judgement import OPAQUE, REFUSE, Code, judge, with_dependents
from .layout import LIVE, RELEASE_ID, RETIRED, Layout, Release
from .link import Link
from .migrations import Migrations
from .protocol import Failure
from .shape import Shape
from .steps import StepProcess

#: Seconds that a release's Django gets to start and to tell what it makes of the database.
TIMEOUT = 300.0

#: What was taken back, as the journal has it.
MOVES: Shape = [{"owner": RELEASE_ID, "database": str, "migrations": [str]}]

#: What is told of one database, at most: migrations, and operations of all of them.
MOST_TOLD = 200

Ask = Callable[..., dict[str, Any]]


@dataclass
class Files:
    """What the releases of this host know of the migrations ``names``, from their files.

    ``migrations`` is what they do; ``lacks`` are those that no release has a file of. ``owner`` is a release
    that has all files and uses the same database; ``elsewhere`` is one that has all files and uses another
    database, and the place of that.
    """

    names: list[str]
    migrations: list[dict[str, Any]] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)
    owner: Optional[str] = None
    elsewhere: Optional[tuple[str, str]] = None


@dataclass
class Reversal:
    """What is to be taken back in one database; ``owner`` is the release that has the files for that.

    ``needed`` are the migrations that have to be taken back, or the earlier release does not work; they are
    in their order. ``kept`` are the others. ``irreversible`` says which of the needed ones cannot be taken
    back, and why. When one of ``torn`` fails, a part of it may stay. ``done`` are those that were taken back,
    None as long as nothing was tried.
    """

    database: str
    place: str
    owner: Optional[str] = None
    needed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    irreversible: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    done: Optional[list[str]] = None

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("database", "place", "needed", "kept", "irreversible")}

    def tell_what_is_torn(self, failure: Failure) -> None:
        """Have the failure say so where a part of the migration that failed may have been taken back."""
        failed = next((name for name in reversed(self.needed) if name not in (self.done or ())), "")
        if failed in self.torn:
            failure.details["torn"] = [failed]
            failure.remedy = (
                f"{failed} may be partly reversed, and {self.place} cannot undo that. Look"
                " at its tables, apply that part again by hand or restore a backup,"
                " and roll back again."
            )


class WayBack:
    """From the live release to ``release``, on this host."""

    def __init__(self, layout: Layout, link: Link, keep_open: int, release: Release, on_line: OnLine) -> None:
        self._layout = layout
        self._link = link
        self._keep_open = keep_open
        self._release = release
        self._on_line = on_line
        self.reversals: list[Reversal] = []
        self._seen: set[str] = set()
        self._live_ask: Optional[Ask] = None

    @contextmanager
    def planning(self) -> Iterator[None]:
        """Keep the live release's Django open for as long as the block lasts: it is asked more than once."""
        live = self._layout.live()
        if live is None or not self._layout.release(live).python.exists():
            yield
            return
        with self.opened(self._layout.release(live)) as self._live_ask:
            yield
        self._live_ask = None

    def plan(self, ask: Ask, plan: dict[str, Any]) -> None:
        """Judge the migrations that are ``ahead`` of the release's ``plan``; the release answers ``ask``."""
        database, ahead = plan["database"], plan["ahead"]
        if database in self._seen:
            return
        self._seen.add(database)
        own = find_database(ask, database, plan["place"])
        self._tell_of_another(own, database)
        if ahead:
            reversal = Reversal(database, own.place)
            self._look_at(reversal, self._read_files(own, database, ahead), ask)
            self.reversals.append(reversal)

    def _tell_of_another(self, own: Database, database: str) -> None:
        """Warn if the release uses another database: the site would go on with other data than it has now."""
        live = self._layout.live()
        if live is None or self._live_ask is None:
            return
        other = find_database(self._live_ask, database, "")
        if not other.place or other.is_same(own):
            return
        differ = environment.compare(self._layout.release(live), self._release)
        names = ", ".join(sorted({name for kind in differ.values() for name in kind}))
        why = f"Their ENV differs in {names}. " if names else ""
        self._link.report(
            "warning",
            message=f"the database {database!r} of {self._release.id} is another one: {own.place}; that of"
            f" the live release is {other.place}, and data written there will no longer be used",
            remedy=f"{why}To go back with the code alone, deploy it again: manage.py deploy --revision.",
        )

    def _look_at(self, reversal: Reversal, files: Files, ask: Ask) -> None:
        """Find out what has to be taken back, what that loses, and whether it can be; report it."""
        if files.lacks:
            reversal.needed = files.names
            reversal.irreversible = [f"{name}: no release of this host has its file" for name in files.lacks]
            return
        running = [Code(f"the release {self._release.id}", ask({"do": "tables"}).get("tables"))]
        self._judge(reversal, files.migrations, running)
        reversal.owner = files.owner
        if reversal.needed and files.owner is None:
            names = ", ".join(reversal.needed)
            reversal.irreversible.append(f"{names}: {self._why_nobody_can(files, reversal.place)}")
        self._report(reversal, files.migrations, running, self._losses(reversal))

    def _why_nobody_can(self, files: Files, place: str) -> str:
        if files.elsewhere is None:
            return f"no single release of this host has the files of all that {self._release.id} lacks"
        release, other = files.elsewhere
        own = self._release.id
        return (
            f"{release}, which has the files, uses {other}, and {own} uses {place}: reverse it there"
            f" by hand, or deploy the code of {own} again"
        )

    def _losses(self, reversal: Reversal) -> list[dict[str, Any]]:
        if reversal.owner is None or not reversal.needed:
            return []
        with self.opened(self._layout.release(reversal.owner)) as ask:
            reply = ask({"do": "losses", "database": reversal.database, "migrations": reversal.needed})
        found: list[dict[str, Any]] = reply.get("losses", [])
        return found

    def _judge(self, reversal: Reversal, migrations: Sequence[dict[str, Any]], running: list[Code]) -> None:
        """As for a deployment, the other way round: which of them took away what this release uses?"""
        unsafe = {refusal.migration for refusal in judge(migrations, running, REFUSE).refusals}
        reversal.needed = with_dependents(migrations, unsafe)
        reversal.kept = [m["name"] for m in migrations if m["name"] not in reversal.needed]
        reversal.torn = [m["name"] for m in migrations if not m.get("is_whole", True)]
        reversal.irreversible = [
            f"{m['name']}: {operation['words']}"
            for m in migrations
            if m["name"] in reversal.needed
            for operation in m["operations"]
            if not operation["reversible"]
        ]
        opaque = [
            f"{m['name']}: {operation['words']}"
            for m in migrations
            if m["name"] in reversal.kept
            for operation in m["operations"]
            if operation["category"] == OPAQUE
        ]
        if opaque:
            message = (
                f"it is not known whether {self._release.id} works with what these did: {'; '.join(opaque)}"
            )
            self._link.report("warning", message=message, remedy="")

    def _report(
        self,
        reversal: Reversal,
        migrations: Sequence[dict[str, Any]],
        running: list[Code],
        losses: Sequence[dict[str, Any]],
    ) -> None:
        reasons: dict[str, list[str]] = {}
        for refusal in judge(migrations, running, REFUSE).refusals:
            reasons.setdefault(refusal.migration, []).append(refusal.reason)
        told = [
            {
                "name": name,
                "reasons": reasons.get(name, []),
                "losses": [
                    {key: loss[key] for key in ("words", "what", "rows")}
                    for loss in losses
                    if loss["migration"] == name
                ],
            }
            for name in reversed(reversal.needed[-MOST_TOLD:])
        ]
        self._link.report(
            "reversal.planned",
            database=reversal.database,
            place=reversal.place,
            release=self._release.id,
            migrations=told,
            kept=reversal.kept[:MOST_TOLD],
        )

    def _read_files(self, own: Database, database: str, names: Sequence[str]) -> Files:
        """Ask the releases of this host that have the files of these migrations what they have done.

        It may take several releases to know about all of them. But only one that has all the files can take
        them back, as others do not know all that is in the tables; and it has to use the same database.
        """
        files = Files(list(names), lacks=list(names))
        known: dict[str, Any] = {}
        for release in self._others():
            with self.opened(release) as ask:
                reply = _answer(ask, {"do": "judge_applied", "database": database, "migrations": list(names)})
                if reply is None:
                    continue
                applied = reply["applied"]
                other = find_database(ask, database, applied["place"])
            has_all = not applied["lacks"]
            if has_all and other.is_same(own):
                return Files(files.names, applied["migrations"], owner=release.id)
            if has_all and files.elsewhere is None:
                files.elsewhere = release.id, other.place
            for migration in applied["migrations"]:
                if migration["name"] in files.lacks:
                    known[migration["name"]] = migration
            files.lacks = [name for name in files.lacks if name in applied["lacks"]]
        files.migrations = [known[name] for name in names if name in known]
        return files

    def _others(self) -> list[Release]:
        """All releases that could be asked: the live one, then the newest."""
        live = self._layout.live()
        good = [
            release
            for release in self._layout.all_releases()
            if release.state in (LIVE, RETIRED) and release.id != self._release.id and release.python.exists()
        ]
        return sorted(good, key=lambda release: (release.id == live, release.id), reverse=True)

    @contextmanager
    def opened(self, release: Release) -> Iterator[Ask]:
        """Run a release's Django for as long as the block lasts; gives what asks it."""
        if self._live_ask is not None and release.id == self._layout.live():
            yield self._live_ask
            return
        steps = StepProcess(release, self._keep_open, self._on_line)
        try:
            yield lambda request, timeout=TIMEOUT, stop=None: steps.ask(request, timeout, stop)
        finally:
            steps.close()

    # What is done

    def reverse(self, migrations: Migrations, backup: Optional[dict[str, Any]]) -> list[str]:
        """Take back what has to be taken back; gives the names.

        The details of a ``Failure`` tell what was ``unapplied`` before, and what of it may be ``torn``.
        """
        for reversal in self.reversals:
            reversal.done = []
        try:
            for reversal in self.reversals:
                if reversal.needed:
                    self._reverse_one(migrations, reversal, backup)
        except Failure as failure:
            failure.details["unapplied"] = self._done()
            raise
        return self._done()

    def _done(self) -> list[str]:
        return [name for reversal in self.reversals for name in reversal.done or ()]

    def _reverse_one(
        self, migrations: Migrations, reversal: Reversal, backup: Optional[dict[str, Any]]
    ) -> None:
        assert reversal.owner is not None
        owner = self._layout.release(reversal.owner)
        with self.opened(owner) as ask, migrations.guard(ask, reversal.database):
            self._back_up(ask, migrations, reversal, backup)
            try:
                self._move(ask, reversal.database, reversal.needed, backwards=True)
            except Failure as failure:
                reversal.done = self._look_again(owner, reversal.database, reversal.needed)
                reversal.tell_what_is_torn(failure)
                raise
            reversal.done = list(reversal.needed)

    def _back_up(
        self, ask: Ask, migrations: Migrations, reversal: Reversal, backup: Optional[dict[str, Any]]
    ) -> None:
        def ask_until_lost(request: dict[str, Any], timeout: Optional[float]) -> dict[str, Any]:
            return ask(request, timeout, self._link.lost)

        if backup is not None:
            before = f"reversing {', '.join(reversal.needed[:3])}"
            migrations.dump(ask_until_lost, reversal.database, before, backup["keep"])

    def moves(self) -> list[dict[str, Any]]:
        """For ``apply_again``: what ``reverse`` is to take back or, once it has ended, has taken back."""
        moved = [(each, each.needed if each.done is None else each.done) for each in self.reversals]
        return [
            {"owner": each.owner, "database": each.database, "migrations": names}
            for each, names in moved
            if names
        ]

    def apply_again(self, moved: Sequence[dict[str, Any]]) -> list[str]:
        """Apply again what was taken back, as the way back has failed and the live release stays.

        Gives the names of those that were in fact taken back: the program that did it may have been killed.
        """
        applied: list[str] = []
        for entry in moved:
            owner, database = self._layout.release(entry["owner"]), entry["database"]
            names = list(entry["migrations"])
            try:
                with self.opened(owner) as ask:
                    if names := _pending(ask, database, names):
                        self._move(ask, database, names, backwards=False)
            except (Failure, OSError) as error:
                left = ", ".join(self._look_again(owner, database, names))
                raise Failure("StepFailed", f"reversed, and not applied again: {left}: {error}") from None
            applied += names
        return applied

    def _look_again(self, owner: Release, database: str, names: Sequence[str]) -> list[str]:
        """Which of them are not applied, as a process says that is started anew: the other may be dead."""
        try:
            with self.opened(owner) as ask:
                return _pending(ask, database, names)
        except OSError:
            return list(names)

    def _move(self, ask: Ask, database: str, names: Sequence[str], *, backwards: bool) -> None:
        step = f"{'reverse' if backwards else 'apply again'} {', '.join(names)}"
        self._link.report("step.started", step=step)
        request = {"do": "move", "database": database, "migrations": list(names), "backwards": backwards}
        remedy = "Fix it, and roll back again."
        try:
            reply = ask(request, None)
        except Failure as failure:
            raise Failure(
                "StepFailed", f"could not {step}: {failure.message}", remedy, **failure.details
            ) from None
        if not reply["ok"]:
            raise Failure("StepFailed", f"could not {step}: {reply['error']}", remedy)
        result, seconds = reply.get("result", {}), reply.get("seconds", 0.0)
        self._link.report("step.finished", step=step, seconds=seconds, result=result)


def _pending(ask: Ask, database: str, names: Sequence[str]) -> list[str]:
    """Which of them are not applied; all of them where nobody can tell."""
    reply = _answer(ask, {"do": "plan_migrations", "command": ["migrate", "--database", database]}) or {}
    if reply.get("plan") is None:
        return list(names)
    pending = {migration["name"] for migration in reply["plan"]["migrations"]}
    return [name for name in names if name in pending]


def _answer(ask: Ask, request: dict[str, Any]) -> Optional[dict[str, Any]]:
    """None where the release does not start any more, or is too old to know the question."""
    try:
        reply = ask(request)
    except Failure:
        return None
    return reply if reply["ok"] else None
