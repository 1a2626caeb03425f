"""Puts back a backup of a database: shows what would be lost, and visitors the maintenance page meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .clock import Clock, interruptible
from .deployer import deployer
from .exceptions import (
    ConfigError,
    ConnectionLost,
    DeployError,
    HostError,
    Interrupted,
    RequestFailed,
    RolloutFailed,
)
from .host.protocol import Event, Report, ignore
from .reporters.text import local_time
from .target import Target
from .transport.fleet import Fleet, gather
from .transport.session import HostSession, Reply
from .transport.ssh import Prompts, no_prompts
from .undertaking import Outcome, begin, finish, names_of
from .upkeep import ask_all, live_processes, one_release
from .wording import size_text

#: What visitors read meanwhile, and when programs may come again, in seconds.
NOTICE = {"message": "We are restoring data from a backup and will be back in a moment.", "retry_after": 120}

#: Of a host that we have lost, or left.
GOES_ON = "What has begun is not stopped half-way: the host goes on with it."

#: Once that is so.
PUT_BACK = "The database is what it was when the backup was made."

#: Tables that are listed for people.
TABLES_SHOWN = 40


@dataclass(frozen=True)
class Backup:
    """A backup on a host; ``size`` is in bytes, ``at`` in seconds since the epoch.

    ``release`` was live when it was made, ahead of what ``before`` says.
    """

    name: str
    host: str
    alias: str
    place: str
    before: str
    release: str | None
    size: int
    at: float


@dataclass(frozen=True)
class Loss:
    """What putting back a backup would lose. ``since`` is what has happened, see ``host.backups.SINCE``."""

    backup: Backup
    since: Mapping[str, Any]

    def lines(self) -> list[str]:
        """For people."""
        backup, since = self.backup, self.since
        made = local_time(backup.at)
        lines = [
            f"{backup.name}: {backup.place}, {size_text(backup.size)}, made {made} ahead of {backup.before}"
        ]
        if since["place"] != backup.place:
            lines.append(f"  It would be put into another place: {since['place']}")
        tables = [_table_line(table) for table in since["tables"]]
        lines += tables[:TABLES_SHOWN]
        if (more := len(tables) - TABLES_SHOWN) > 0:
            lines.append(f"  and {more} more tables")
        if not tables:
            lines.append("  no table has more or fewer rows than then")
        lines.append("  changes of rows that were there then are lost as well; they cannot be counted")
        for names, what in ((since["newer"], "applied"), (since["older"], "reversed")):
            if names:
                lines.append(f"  migrations that were {what} since: {', '.join(names)}")
        return lines

    def warning(self, target: str) -> Mapping[str, str]:
        """Of migrations that are gone then, with what helps: the fields of an event."""
        release, again = self.backup.release, f"manage.py deploy_run {target} -- migrate"
        # The release that was live then may use the database that the backup is of, which is another one.
        is_its_database = release and self.since["place"] == self.backup.place
        back = f"; or go back to what was live then: manage.py deploy_rollback {target} {release}"
        return {
            "message": f"the database no longer has these migrations: {', '.join(self.since['newer'])}.",
            "remedy": "If the live release needs them, apply them again:"
            f" {again}{back if is_its_database else ''}.",
        }


def _table_line(table: Mapping[str, Any]) -> str:
    before, now, newer = table["before"], table["now"], table["newer"]
    about = "about " if table["is_estimate"] else ""
    if before is None:
        return f"  {table['table']}: did not exist then; {about}{_rows(now)} would be lost with it"
    if now is None:
        return f"  {table['table']}: does not exist now; it comes back with {about}{_rows(before)}"
    parts = [f"  {table['table']}: {about}{_rows(now)} now, {before} then"]
    if newer:
        parts.append(f"{_rows(newer)} that came later would be lost")
    if newer is not None and (deleted := before - (now - newer)) > 0 and not table["is_estimate"]:
        parts.append(f"{_rows(deleted)} that went since would come back")
    return "; ".join(parts)


def _rows(number: int) -> str:
    return f"{number} row{'' if number == 1 else 's'}"


def backups(
    target: Target, *, prompts: Prompts = no_prompts
) -> tuple[tuple[Backup, ...], tuple[DeployError, ...]]:
    """Those of all hosts, newest first; what is damaged, and hosts that did not answer, as errors."""
    answers = list(ask_all(target, prompts, "backups"))
    listed = [(host, answer) for host, answer in answers if not isinstance(answer, DeployError)]
    errors = [answer for _, answer in answers if isinstance(answer, DeployError)]
    damaged = [_damage(host, *one) for host, reply in listed for one in reply["damaged"].items()]
    return _backups(listed), (*errors, *damaged)


def _list(sessions: Sequence[HostSession]) -> list[tuple[str, Reply]]:
    asked = gather([session.request("backups") for session in sessions], "")
    return [(session.host.name, reply) for session, reply in zip(sessions, asked, strict=True)]


def _backups(listed: Sequence[tuple[str, Reply]]) -> tuple[Backup, ...]:
    names = ("name", "alias", "place", "before", "release", "size", "at")
    found = [
        Backup(host=host, **{name: backup[name] for name in names})
        for host, reply in listed
        for backup in reply["backups"]
    ]
    return tuple(sorted(found, key=lambda backup: backup.name, reverse=True))


def _damage(host: str, name: str, why: str) -> HostError:
    remedy = "Take another one; what is left of this one lies in ROOT/shared/backups."
    return HostError(host, f"The backup {name} is damaged: {why}.", remedy=remedy)


def restore(
    target: Target,
    name: str,
    *,
    report: Report = ignore,
    prompts: Prompts = no_prompts,
    confirm: Callable[[Loss], bool],
) -> Outcome:
    """Make a database what it was when the backup ``name`` was made; what is there is backed up first.

    ``confirm`` is shown what would be lost. No process is stopped, and no release changes. Raises
    ``DeployError``; unless it says that the database is damaged, that is as before.
    """
    clock = Clock(report)
    with interruptible(clock), Fleet(target, report=report, prompts=prompts) as fleet:
        with clock.phase("connect"):
            sessions = fleet.sessions()
        release = one_release({session.host: session.facts for session in sessions})
        source, backup = find_backup(target, sessions, name)
        with clock.phase("lock"):
            begin(target, sessions)
        with clock.phase("compare"):
            asked = source.request(
                "compare_backup",
                backup=name,
                target=target.name,
                shared_with=list(target.database_shared_with),
            )
            loss = Loss(backup, gather([asked], "Nothing was changed.")[0]["since"])
        outcome = Outcome("restored", release, release, names_of(target.hosts))
        if not confirm(loss):
            return finish(target, clock, Outcome("declined", release, release, outcome.hosts))
        with clock.phase("restore"):
            _put_back(target, sessions, source, name, clock)
        if loss.since["newer"]:
            report(Event("warning", source.host.name, fields=loss.warning(target.name)))
        return finish(target, clock, outcome)


def find_backup(target: Target, sessions: Sequence[HostSession], name: str) -> tuple[HostSession, Backup]:
    """The host that has the backup of that name; ``ConfigError`` where not exactly one has it."""
    listed = _list(sessions)
    found = _backups(listed)
    named = [backup for backup in found if backup.name == name]
    if len(named) > 1:
        hosts = ", ".join(backup.host for backup in named)
        raise ConfigError(f"Several hosts have a backup {name!r}: {hosts}.", remedy="Name one with --hosts.")
    if named:
        return next(s for s in sessions if s.host.name == named[0].host), named[0]
    if damaged := [_damage(host, name, r["damaged"][name]) for host, r in listed if name in r["damaged"]]:
        raise damaged[0]
    names = ", ".join(sorted({backup.name for backup in found}, reverse=True)[:10])
    raise ConfigError(
        f"There is no backup {name!r} of {target.name!r}.", remedy=f"There is: {names or 'none'}."
    )


def _put_back(
    target: Target, sessions: Sequence[HostSession], source: HostSession, name: str, clock: Clock
) -> None:
    """With the maintenance page on, where there can be one; it stays on over a database that is damaged."""
    shown = [session for session in sessions if _can_show_page(session)]
    clock.interrupted = _with_page("No database was changed.", target, shown)
    notice = {**NOTICE, "by": deployer(), "since": round(time.time(), 3)}
    gather([session.request("maintain", notice=notice) for session in shown], "No database was changed.")
    fields = {"target": target.name, "by": deployer(), "keep": target.keep_backups}
    clock.interrupted = Interrupted(f"Interrupted. {GOES_ON}", remedy=_then_show(target))
    try:
        gather([source.request("restore_backup", backup=name, **fields)], "")
    except RolloutFailed as failure:
        raise _explain(target, shown, source, failure, clock) from None
    clock.interrupted = _with_page(PUT_BACK, target, shown)
    _end_maintenance(target, shown)
    clock.interrupted = _with_page(PUT_BACK, target, [])


def _with_page(what: str, target: Target, shown: Sequence[HostSession]) -> Interrupted:
    """What Ctrl-C ends with while the page is switched on or off on the hosts ``shown``."""
    remedy = f"If the page is on (deploy_status): manage.py deploy_maintenance {target.name} off."
    return Interrupted(f"Interrupted. {what}", remedy=remedy if shown else "")


def _can_show_page(session: HostSession) -> bool:
    has_socket = any("{socket}" in word for p in live_processes(session.facts) for word in p["command"])
    return has_socket and session.facts["maintenance"] is None


def _end_maintenance(target: Target, sessions: Sequence[HostSession]) -> None:
    remedy = f"The page is still on: manage.py deploy_maintenance {target.name} off."
    gather([session.request("maintain", notice=None) for session in sessions], remedy)


def _explain(
    target: Target,
    shown: Sequence[HostSession],
    source: HostSession,
    failure: RolloutFailed,
    clock: Clock,
) -> RolloutFailed:
    errors = failure.errors
    if any(isinstance(error, ConnectionLost) for error in errors):
        return RolloutFailed(GOES_ON, errors=errors, remedy=_then_show(target))
    if any(isinstance(error, RequestFailed) and error.details.get("damaged") for error in errors):
        text = "The database is damaged: it is neither what it was nor what the backup has."
        if shown:
            text += " The maintenance page is on, and stays on."
        remedy = (
            f"What was there before is the newest backup: manage.py deploy_restore {target.name} lists"
            " it, and restores it."
        )
        return RolloutFailed(text, errors=errors, remedy=remedy)
    clock.interrupted = _with_page("The database is as before.", target, shown)
    begin(target, [source])  # with a request that fails its transaction is over
    _end_maintenance(target, shown)
    return RolloutFailed("The database is as before.", errors=errors)


def _then_show(target: Target) -> str:
    return f"When it is done (deploy_status): manage.py deploy_maintenance {target.name} off."
