"""One migration at a time in a database, whoever runs it and from which host."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

#: Seconds between two tries to get the lock.
INTERVAL = 0.5

#: The lock's name; PostgreSQL wants a number.
NAME = "django_deploy migrate"
NUMBER = int.from_bytes(hashlib.sha256(NAME.encode()).digest()[:4], "big", signed=True)


class LockTaken(Exception):
    """Somebody else migrates this database, and did not end in time."""


class MigrationLock:
    """An advisory lock, on a connection of its own: a migration may close the site's.

    PostgreSQL's is that of a transaction, which also holds behind a pooler; MySQL's is that of a session.
    Databases that have none (SQLite, Oracle) are left to the lock of ROOT.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._connection: BaseDatabaseWrapper | None = None

    def take(self, wait: float) -> None:
        """Get it within ``wait`` seconds, and print whom it waits for; raises ``LockTaken``."""
        vendor = connections[self.alias].vendor
        if vendor not in _TRIES:
            return
        self._connection = connections.create_connection(self.alias)
        assert self._connection is not None
        deadline = time.monotonic() + wait
        if vendor == "postgresql":
            self._connection.set_autocommit(False)
            with self._connection.cursor() as cursor:
                cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        is_told = False
        while not _TRIES[vendor](self._connection):
            holder = _HOLDERS[vendor](self._connection)
            if not is_told:
                print(f"Waiting for another migration of this database to end: {holder}", flush=True)
                is_told = True
            if time.monotonic() > deadline:
                self.release()
                message = f"another migration of this database did not end within {wait:g} s: {holder}"
                raise LockTaken(message)
            time.sleep(INTERVAL)

    def release(self) -> None:
        """Closing the connection gives the lock back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _value(connection: BaseDatabaseWrapper, query: str, *arguments: str | int) -> object:
    with connection.cursor() as cursor:
        cursor.execute(query, arguments)
        row = cursor.fetchone()
    return row[0] if row else None


def _try_postgresql(connection: BaseDatabaseWrapper) -> bool:
    return _value(connection, "SELECT pg_try_advisory_xact_lock(%s)", NUMBER) is True


def _try_mysql(connection: BaseDatabaseWrapper) -> bool:
    # Names are the server's, not the database's.
    return _value(connection, "SELECT GET_LOCK(left(concat(%s, ' ', database()), 64), 0)", NAME) == 1


def _postgresql_holder(connection: BaseDatabaseWrapper) -> str:
    query = (
        "SELECT concat('process ', pid, ' of ', coalesce(host(client_addr), 'its own machine'), ' since ',"
        " date_trunc('second', xact_start)) FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32 | objid::bigint) = %s"
    )
    return str(_value(connection, query, NUMBER) or "it has just ended")


def _mysql_holder(connection: BaseDatabaseWrapper) -> str:
    query = "SELECT concat('connection ', IS_USED_LOCK(left(concat(%s, ' ', database()), 64)))"
    return str(_value(connection, query, NAME) or "it has just ended")


_TRIES: dict[str, Callable[[BaseDatabaseWrapper], bool]] = {
    "postgresql": _try_postgresql,
    "mysql": _try_mysql,
}
_HOLDERS: dict[str, Callable[[BaseDatabaseWrapper], str]] = {
    "postgresql": _postgresql_holder,
    "mysql": _mysql_holder,
}
