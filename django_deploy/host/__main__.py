"""Serves one deployer until it leaves, and undoes what it did not confirm."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterable
from typing import Any, Callable, Optional

from . import backups, deferred, environment, history, protocol, requests, restoration, upkeep
from .copies import Copies
from .examination import examine, reach_databases
from .layout import READ_ONLY_REMEDY, Layout, Release
from .link import BlobReader, Link
from .lock import Lock
from .logs import LogReader, Logs, as_event
from .media import Media
from .migrations import Migrations
from .probe import probe
from .processes import open_manager
from .protocol import Failure, ProtocolError
from .pruning import note_cleanup
from .rehearsal import Rehearsal
from .release_making import unpack_tools
from .serving import DRAIN_TIME
from .shape import Shape, check
from .store import Store, read_piece
from .timeline import Timeline
from .transaction import Transaction

#: What to do about a disk that takes no more.
REMEDIES = {
    errno.ENOSPC: "The host's disk is full, or has no inodes left: make room and deploy again.",
    errno.EDQUOT: "The user's quota on the host is used up: make room and deploy again.",
    errno.EROFS: READ_ONLY_REMEDY,
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM), "Whose is it? What is below ROOT belongs to the user of the site."
    ),
}


class Program:
    """One session. At most one transaction is open; a request that fails undoes and closes it."""

    def __init__(self, hello: dict[str, Any]) -> None:
        self._hello = hello
        self._layout = Layout(hello["root"])
        self._store = Store(self._layout)
        self._lock = Lock(self._layout.private / "lock")
        self._transaction: Optional[Transaction] = None
        self._timeline = Timeline()
        pulse = hello["heartbeat"], hello["silence"]
        self._link = Link(0, 1, self._receive, *pulse, self._tell_what_runs)
        self._confirmed_keep: Optional[int] = None
        self._logs: Optional[Logs] = None
        self._media: Optional[Media] = None

        self._hide_environment()

    def _hide_environment(self, new: Iterable[str] = ()) -> None:
        self._link.hide([*environment.secrets(self._layout), *environment.masked_words(new)])

    def serve(self) -> int:
        self._link.start()
        try:
            self._reply(0, self._probe, {})
            for message in iter(self._link.next_request, None):
                self._answer(message)
            return self._leave()
        except Exception as error:  # a bug: its traceback goes to the deployer, but nothing stays half done
            self._revert(f"{type(error).__name__}: {error}")
            self._link.flush()
            raise

    def _receive(self, header: dict[str, Any], blob: BlobReader) -> None:
        why = self._store.receive(header, blob)
        if why:
            self._link.send({"wanted": header["blob"], "why": why})

    def _tell_what_runs(self) -> None:
        if self._transaction is not None:
            self._transaction.tell_what_runs()

    def _answer(self, message: dict[str, Any]) -> None:
        self._reply(message["id"], self._work, message)

    def _work(self, message: dict[str, Any]) -> dict[str, Any]:
        name = message["request"]
        if name not in REQUESTS:
            raise Failure("BadRequest", f"unknown request {name[:60]!r}")
        work, fields = REQUESTS[name]
        try:
            check(message, fields, name)
        except ProtocolError as error:
            raise Failure("BadRequest", str(error)) from None
        return self._timeline.measure(message, lambda: work(self, message))

    def _reply(
        self, id: int, work: Callable[[dict[str, Any]], dict[str, Any]], message: dict[str, Any]
    ) -> None:
        try:
            self._link.send({"id": id, "result": work(message)})
        except Failure as failure:
            self._fail(id, failure)
        except OSError as error:
            why = f"{error.strerror}: {error.filename or ''}".rstrip(": ")
            self._fail(id, Failure("HostUnfit", why, REMEDIES.get(error.errno or 0, "")))

    def _fail(self, id: int, failure: Failure) -> None:
        if failure.type == "Aborted" and self._link.lost.is_set():
            failure = self._link.loss(**failure.details)
        if self._transaction is not None:
            failure = self._transaction.explain(failure)
        reverted = self._revert(failure.message)
        self._link.send({"id": id, "error": {**failure.as_dict(), "reverted": reverted}})

    # Requests

    def _probe(self, message: dict[str, Any]) -> dict[str, Any]:
        """What the hello was answered with, as it is now."""
        return probe(self._layout, self._store, self._lock, self._hello["python"], self._hello.get("manager"))

    def _fetch(self, message: dict[str, Any]) -> dict[str, Any]:
        """``offset``, and of a stored file ``sha256`` and ``file``, or the ``release`` whose lock it is.

        Or the name of a ``copy`` of a database; or ``media``, a path of a file that was listed.
        """
        if "sha256" in message:
            return self._store.fetch(message["sha256"], message["file"], message["offset"])
        if "copy" in message:
            return Copies(self._layout, self._link).read(message["copy"], message["offset"])
        if "media" in message:
            return self._open_media().read(message["media"], message["offset"])
        release = self._layout.release(message["release"])
        return read_piece(release.path / "requirements.lock", message["offset"])

    def _copy_database(self, message: dict[str, Any]) -> dict[str, Any]:
        """``database``, or a ``backup`` instead; ``anonymize`` is a dotted path, or null. No lock."""
        copies = Copies(self._layout, self._link)
        return {"copy": copies.make(message["database"], message["backup"], message["anonymize"])}

    def _find_copy(self, message: dict[str, Any]) -> dict[str, Any]:
        """``copy``, its name. Gives the ``copy``, null where it is not there any more."""
        return {"copy": Copies(self._layout, self._link).find(message["copy"])}

    def _drop_copy(self, message: dict[str, Any]) -> dict[str, Any]:
        """``copy``, its name."""
        Copies(self._layout, self._link).drop(message["copy"])
        return {}

    def _list_media(self, message: dict[str, Any]) -> dict[str, Any]:
        """The next ``files`` of the site's MEDIA_ROOT; the first request begins, ``more`` says to go on."""
        return self._open_media().next_files()

    def _open_media(self) -> Media:
        if self._media is None:
            self._media = Media(self._layout)
        return self._media

    def _read_logs(self, message: dict[str, Any]) -> dict[str, Any]:
        """``release`` (null: the live one), ``process`` (null: all), ``lines``, ``since`` (or null)."""
        self._logs = Logs(self._layout, self._log_reader, message["release"], message["process"])
        for line in self._logs.tail(message["lines"], message["since"]):
            self._link.report("log.line", **as_event(line))
        return {"release": self._logs.release.id}

    def _follow_logs(self, message: dict[str, Any]) -> dict[str, Any]:
        """Go on with the logs that were read, until the deployer leaves."""
        if self._logs is None:
            raise Failure("BadRequest", "no logs were read")
        for line in self._logs.follow(self._link.lost.is_set):
            self._link.report("log.line", **as_event(line))
        return {}

    def _log_reader(self, release: Release) -> LogReader:
        return open_manager(release.record["manager"], self._layout, None).log_reader()

    def _tell_history(self, message: dict[str, Any]) -> dict[str, Any]:
        """``lines``: so many of the last entries."""
        return {"entries": history.entries(self._layout, int(message["lines"]))}

    def _examine(self, message: dict[str, Any]) -> dict[str, Any]:
        """``index_url`` (null: ask none; empty: the host's own, or ``default_index`` where it has none).

        ``distribution``, whose page it should have. ``web``: the server that is to be in front, or null.
        """
        wanted = {name: message[name] for name in ("index_url", "default_index", "distribution", "web")}
        return examine(self._layout, **wanted)

    def _reach_databases(self, message: dict[str, Any]) -> dict[str, Any]:
        """Of the live release, with its settings and its environment."""
        return reach_databases(self._layout)

    def _tell_environment(self, message: dict[str, Any]) -> dict[str, Any]:
        """The names of what is set; never a value."""
        return environment.names(self._layout)

    def _store_environment(self, message: dict[str, Any]) -> dict[str, Any]:
        """``set``, ``unset``: with the lock, where nothing is live yet."""
        if not self._lock.is_held or self._layout.live() is not None:
            raise Failure("BadRequest", "a live release gets its environment by being renewed")
        environment.store(self._layout, message["set"], message["unset"])
        return {}

    def _take_lock(self, message: dict[str, Any]) -> dict[str, Any]:
        """``holder``, ``wait`` (seconds)."""
        if self._lock.is_held:
            raise Failure("BadRequest", "the lock is held already")
        self._layout.create()

        def waiting(holder: dict[str, Any]) -> None:
            self._link.report("lock.waiting", holder=holder)

        try:
            self._lock.acquire(message["holder"], message["wait"], waiting, self._link.lost)
        except Failure:
            self._link.stop_if_lost()  # then it is not for the other one that this one ends
            raise
        return {}

    def _begin(self, message: dict[str, Any]) -> dict[str, Any]:
        """``expect_live``: open a transaction, with the lock."""
        if self._transaction is not None:
            raise Failure("BadRequest", "a transaction is open already")
        if not self._lock.is_held:
            raise Failure("Aborted", "the lock is not held")
        self._transaction = Transaction(self._layout, self._link, self._store, self._lock.descriptor)
        self._timeline = Timeline()
        return self._transaction.begin(message["expect_live"])

    def _prepare(self, message: dict[str, Any]) -> dict[str, Any]:
        """The release and what it is made of; see ``stages._prepare_fields``, which writes the fields."""
        transaction = self._open_transaction()
        self._await_files(message)
        return transaction.prepare(message)

    def _store_tools(self, message: dict[str, Any]) -> dict[str, Any]:
        """``tools``, as of ``prepare``: they are kept for the first deployment; without the lock."""
        self._layout.create()
        self._await_files({"artifacts": [], **message})
        unpack_tools(self._layout, self._store, message["tools"])
        return {}

    def _await_files(self, message: dict[str, Any]) -> None:
        """What of them is not whole here is sent again."""
        for artifact in (*message["artifacts"], *message["tools"].values()):
            if why := self._store.miss(artifact["sha256"], artifact["name"]):
                self._link.send({"wanted": artifact["sha256"], "why": why})
        self._store.wait(self._link.lost)

    def _rehearse(self, message: dict[str, Any]) -> dict[str, Any]:
        """What ``prepare``, ``preflight`` and ``plan_migrations`` (as ``migrations``) have; without the lock.

        Gives what the release would change, see ``comparison.COMPARISON``.
        """
        self._await_files(message)
        return Rehearsal(self._layout, self._link, self._store).play(message)

    def _renew(self, message: dict[str, Any]) -> dict[str, Any]:
        """``release``: the new id; ``environment``: null, or ``set`` (by name) and ``unset`` (names)."""
        transaction = self._open_transaction()
        if message["environment"] is not None:
            self._hide_environment(message["environment"]["set"].values())
        return transaction.renew(message)

    def _restart(self, message: dict[str, Any]) -> dict[str, Any]:
        """``process``: its instances are stopped and started."""
        transaction = self._open_transaction()
        self._lock.show_phase("restarting")
        return upkeep.restart(transaction.context, message)

    def _maintain(self, message: dict[str, Any]) -> dict[str, Any]:
        """``notice``: on, with ``message``, ``retry_after``, ``since`` and ``by``; null: off."""
        return upkeep.maintain(self._open_transaction().context, message)

    def _list_backups(self, message: dict[str, Any]) -> dict[str, Any]:
        """Those of this host, oldest first; without what their tables had, which may be much."""
        found, damaged = backups.Backups(self._layout, self._link).look()
        kept = [{**backup, "tables": {}, "migrations": []} for backup in found[-backups.MAX_LISTED :]]
        return {"backups": kept, "damaged": dict([*damaged.items()][-backups.MAX_LISTED :])}

    def _compare_backup(self, message: dict[str, Any]) -> dict[str, Any]:
        """``backup`` (a name), ``target``, ``shared_with``: what putting it back would lose, ``since``."""
        return restoration.compare_backup(self._open_transaction().context, message)

    def _restore_backup(self, message: dict[str, Any]) -> dict[str, Any]:
        """``backup``, ``target``, ``by``, ``keep``. Gives the name of the one made first, ``safe``."""
        transaction = self._open_transaction()
        self._lock.show_phase("restoring a backup")
        return restoration.restore_backup(transaction.context, message)

    def _preflight(self, message: dict[str, Any]) -> dict[str, Any]:
        """``commands``: the names of the steps' commands; ``required``: of those that no app may lack.

        ``identify``: null, or ``commands`` that migrate and the ``salt`` with which their databases are told.
        ``compare``: whether to give the ``changes``, see ``comparison.COMPARISON``; else they are null.
        """
        return self._open_transaction().preflight(message)

    def _list_tables(self, message: dict[str, Any]) -> dict[str, Any]:
        """What the live release uses of the database: ``tables``, null where it cannot say.

        It is code of this host that another host does not run; also for a rehearsal, without the lock.
        """
        with open(os.devnull, "rb") as nothing:  # no lock that its process would have to hold with us
            return {"tables": Migrations(self._layout, self._link, nothing.fileno()).live_tables()}

    def _plan_migrations(self, message: dict[str, Any]) -> dict[str, Any]:
        """``commands`` that migrate; ``policy``, ``target`` and ``shared_with`` of the settings.

        ``others`` is code that runs elsewhere: ``name``, ``tables``, and whether it ``stays`` after confirm.
        ``backup`` is None, or ``when`` one is made of a database that is migrated, and how many to ``keep``.
        ``asks``: there is somebody to ask about the operations that nobody can look into. Gives those as
        ``opaque``, and the migrations that wait for confirm as ``deferred``.
        """
        return self._open_transaction().plan_migrations(message)

    def _plan_rollback(self, message: dict[str, Any]) -> dict[str, Any]:
        """As ``plan_migrations``, for the ``release`` that is to be live again.

        Gives ``reversals``, what would have to be taken back for it, and ``pending``, what it would apply.
        """
        return self._open_transaction().plan_rollback(message)

    def _reverse(self, message: dict[str, Any]) -> dict[str, Any]:
        """``backup``. Takes back what ``plan_rollback`` has found."""
        transaction = self._open_transaction()
        self._lock.show_phase("reversing migrations")
        return transaction.reverse(message)

    def _step(self, message: dict[str, Any]) -> dict[str, Any]:
        """``command``, ``isolated``, ``timeout`` (seconds or null), ``requires_app``."""
        transaction = self._open_transaction()
        self._lock.show_phase("running " + " ".join(message["command"])[:100])
        return transaction.step(message)

    def _activate(self, message: dict[str, Any]) -> dict[str, Any]:
        """``release``: a prepared one, or any that was live before."""
        transaction = self._open_transaction()
        self._lock.show_phase("activating")
        return transaction.activate(message)

    def _hold(self, message: dict[str, Any]) -> dict[str, Any]:
        """``seconds``."""
        transaction = self._open_transaction()
        self._lock.show_phase("watching")
        return transaction.hold(message)

    def _confirm(self, message: dict[str, Any]) -> dict[str, Any]:
        """``by``, ``action``, ``left_out``, ``keep``: the commit point."""
        result = self._open_transaction().confirm(message, self._timeline.as_dict())
        self._confirmed_keep = int(message["keep"])
        return result

    def _drain_processes(self, message: dict[str, Any]) -> dict[str, Any]:
        """After confirm, or with nothing begun: earlier releases' processes have ended."""
        transaction = self._settled_transaction()
        self._lock.show_phase("stopping what ran before")
        return deferred.drain(transaction.context, transaction.settled_release())

    def _migrate_deferred(self, message: dict[str, Any]) -> dict[str, Any]:
        """``target``, ``backup``. Runs what waited for confirm; no failure takes the release back."""
        transaction = self._settled_transaction()
        self._lock.show_phase("running the migrations that waited")
        waiting = deferred.DeferredMigrations(transaction.context, transaction.settled_release())
        return waiting.run(message, self._lock.by)

    # The end

    def _settled_transaction(self) -> Transaction:
        if self._transaction is None:
            raise Failure("Aborted", "there is no transaction")
        return self._transaction

    def _open_transaction(self) -> Transaction:
        if self._transaction is None or self._confirmed_keep is not None:
            raise Failure("Aborted", "there is no open transaction")
        return self._transaction

    def _revert(self, reason: str) -> bool:
        """Undo an open transaction; False only when that failed."""
        transaction = self._transaction
        if transaction is None:
            self._lock.release()
            return True
        if self._confirmed_keep is not None:
            return True  # nothing takes that back
        self._transaction = None
        self._lock.show_phase("reverting")
        try:
            transaction.undo(reason)
        except (Failure, OSError) as error:
            self._link.report(
                "warning", message=f"could not put everything back: {error}", remedy="Deploy again."
            )
            return False
        finally:
            self._lock.release()
        return True

    def _leave(self) -> int:
        if self._confirmed_keep is not None and self._transaction is not None:
            self._link.flush()
            self._drain(self._transaction, self._confirmed_keep)
            return 0
        was_open = self._transaction is not None
        reverted = self._revert(self._link.reason)
        self._link.flush()
        self._store.keep_arrived()
        self._layout.delete_discarded()
        return 1 if was_open or not reverted else 0

    def _drain(self, transaction: Transaction, keep: int) -> None:
        """Nobody waits for this, so the lock is free; a deployment that takes it sweeps in our place.

        Others do not: a restoration that somebody thinks about, a deployment that is refused.
        """
        transaction.close_steps()
        self._lock.release()
        time.sleep(DRAIN_TIME)
        while transaction.is_to_be_finished():
            if self._lock.take_again("draining"):
                transaction.finish(keep)
                self._lock.release()
                break
            time.sleep(LOCK_LOOK)
        if hindrance := self._layout.delete_discarded():
            note_cleanup(self._layout, hindrance)


#: Seconds between two looks at a lock that somebody else has.
LOCK_LOOK = 1.0

#: The whitelist: what a deployer may ask for, and the fields of that.
REQUESTS: dict[str, tuple[Callable[[Program, dict[str, Any]], dict[str, Any]], Shape]] = {
    "fetch": (Program._fetch, requests.FETCH),
    "copy_database": (Program._copy_database, requests.COPY_DATABASE),
    "find_copy": (Program._find_copy, requests.COPY),
    "drop_copy": (Program._drop_copy, requests.COPY),
    "list_media": (Program._list_media, {}),
    "probe": (Program._probe, {}),
    "history": (Program._tell_history, requests.HISTORY),
    "examine": (Program._examine, requests.EXAMINE),
    "reach_databases": (Program._reach_databases, {}),
    "environment": (Program._tell_environment, {}),
    "store_environment": (Program._store_environment, requests.CHANGES),
    "logs": (Program._read_logs, requests.LOGS),
    "follow": (Program._follow_logs, {}),
    "lock": (Program._take_lock, requests.LOCK),
    "begin": (Program._begin, requests.BEGIN),
    "store_tools": (Program._store_tools, requests.TOOLS),
    "prepare": (Program._prepare, requests.PREPARE),
    "rehearse": (Program._rehearse, requests.REHEARSE),
    "renew": (Program._renew, requests.RENEW),
    "restart": (Program._restart, requests.RESTART),
    "maintain": (Program._maintain, requests.MAINTAIN),
    "preflight": (Program._preflight, requests.PREFLIGHT),
    "backups": (Program._list_backups, {}),
    "compare_backup": (Program._compare_backup, requests.COMPARE_BACKUP),
    "restore_backup": (Program._restore_backup, requests.RESTORE_BACKUP),
    "list_tables": (Program._list_tables, {}),
    "plan_migrations": (Program._plan_migrations, requests.MIGRATIONS),
    "plan_rollback": (Program._plan_rollback, requests.PLAN_ROLLBACK),
    "reverse": (Program._reverse, requests.REVERSE),
    "step": (Program._step, requests.STEP),
    "activate": (Program._activate, requests.ACTIVATE),
    "hold": (Program._hold, requests.HOLD),
    "confirm": (Program._confirm, requests.CONFIRM),
    "drain": (Program._drain_processes, {}),
    "migrate_deferred": (Program._migrate_deferred, requests.MIGRATE_DEFERRED),
}


def main(hello: dict[str, Any]) -> int:
    """Serve one deployer; the exit status."""
    os.umask(0o022)
    if hello.get("hello") != protocol.VERSION:
        error = Failure("BadRequest", f"protocol {hello.get('hello')}, this is {protocol.VERSION}").as_dict()
        os.write(1, protocol.encode({"id": 0, "error": {**error, "reverted": True}}))
        return 2
    return Program(hello).serve()


if __name__ == "__main__":
    sys.exit(main(protocol.decode(sys.argv[1].encode())))
