"""A second database that a callable of the project may change, and a dump of that: no real data is in it.

Meanwhile the second one has the place of the first one in Django: what the callable does, it does to that.
The site's other databases are closed.
"""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.module_loading import import_string

from .dumps import DumpFailed, connection_to, dumper

#: Called with the alias of the database that it is to change.
Anonymize = Callable[[str], object]

#: The kinds of databases of which there can be a second one.
VENDORS = ("sqlite", "postgresql", "mysql")

#: From this version on PostgreSQL drops a database that somebody uses.
_DROPS_WITH_FORCE = 130000


def check_anonymizer(alias: str, path: str) -> None:
    """Raises ``DumpFailed`` where that callable cannot anonymize this database. Nothing is made."""
    find_anonymizer(path)
    connection = connection_to(alias)
    if connection.vendor not in VENDORS:
        raise DumpFailed(f"it is not known here how to anonymize a database of {connection.vendor}")
    if connection.vendor == "postgresql":
        _require_right(connection)


def find_anonymizer(path: str) -> Anonymize:
    """The callable of that dotted path, in the live release."""
    try:
        found: Any = import_string(path)
    except ImportError as error:
        remedy = "It must be a part of the release that is live: deploy it first."
        raise DumpFailed(f"the live release has no {path}: {error}", remedy) from None
    if not callable(found):
        raise DumpFailed(f"{path} is no callable", "It is called with the alias of a database.")
    return found  # type: ignore[no-any-return]


def _require_right(connection: BaseDatabaseWrapper) -> None:
    query = "SELECT rolname, rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
    with connection.cursor() as cursor:
        cursor.execute(query)
        user, may_create = cursor.fetchone()
    if not may_create:
        raise DumpFailed(
            f"{user} may not create the second database in which the data is anonymized",
            f"On the server, as its superuser: ALTER ROLE {connection.ops.quote_name(user)} CREATEDB;",
        )


def anonymize(alias: str, path: str, *, source: Path, work: Path, name: str, file: Path) -> None:
    """Put the dump ``source`` into a second database, let the callable change it, dump that into ``file``.

    ``name`` is that of the second database, which is there for us alone; ``work`` a folder for it, where it
    is a file. It is gone in the end, also after SIGTERM.
    """
    change = find_anonymizer(path)
    second = _SECOND[connections[alias].vendor]
    with _leaving_in_order(), second(alias, name, work) as changes, _in_place(alias, path, changes):
        connection = connections[alias]
        if connection.vendor == "sqlite":
            shutil.copyfile(source, changes["NAME"])
            _hurry(connection)
        else:
            _make_sure(connection, changes["NAME"])  # before it is emptied for the dump
            dumper(connection).restore(source)
        _make_sure(connection, changes["NAME"])
        change(alias)
        connections[alias].close()  # and with it what the callable has left open
        _dump(connections[alias], file)


def _hurry(connection: BaseDatabaseWrapper) -> None:
    """Nobody needs this database after a power cut."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA synchronous = OFF")


def _make_sure(connection: BaseDatabaseWrapper, name: str) -> None:
    """That this is the second one: the callable would change the first."""
    queries = {
        "sqlite": "SELECT file FROM pragma_database_list WHERE name = 'main'",
        "postgresql": "SELECT current_database()",
        "mysql": "SELECT database()",
    }
    with connection.cursor() as cursor:
        cursor.execute(queries[connection.vendor])
        found = str(cursor.fetchone()[0])
    if found != name and Path(found).resolve() != Path(name).resolve():
        raise DumpFailed(
            f"the connection {connection.alias!r} leads to {found}, and not to the second database {name}",
            "Something between Django and the server gives every connection the same database.",
        )


def _dump(connection: BaseDatabaseWrapper, file: Path) -> None:
    """Of SQLite as a new file: in the old one, what was deleted or changed could still be read."""
    if connection.vendor != "sqlite":
        return dumper(connection).dump(file)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [str(file)])
    return None


# The second database


@contextmanager
def _sqlite(alias: str, name: str, work: Path) -> Iterator[dict[str, Any]]:
    yield {"NAME": str(work / f"{name}.sqlite3")}


@contextmanager
def _postgresql(alias: str, name: str, work: Path) -> Iterator[dict[str, Any]]:
    connection: Any = connections[alias]
    quoted = connection.ops.quote_name(name)
    is_forced = connection.pg_version >= _DROPS_WITH_FORCE
    drop = f"DROP DATABASE IF EXISTS {quoted}{' WITH (FORCE)' if is_forced else ''}"
    query = (
        "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database"
        " WHERE datname = current_database()"
    )
    with connection.cursor() as cursor:
        cursor.execute(query)
        literals = [f"'{word}'" for word in (part.replace("'", "''") for part in cursor.fetchone())]
    encoding, collate, ctype = literals
    like = f"TEMPLATE template0 ENCODING {encoding} LC_COLLATE {collate} LC_CTYPE {ctype}"
    options = {key: value for key, value in connection.settings_dict["OPTIONS"].items() if key != "pool"}
    with _created(alias, f"CREATE DATABASE {quoted} {like}", drop):
        yield {"NAME": name, "OPTIONS": options}


@contextmanager
def _mysql(alias: str, name: str, work: Path) -> Iterator[dict[str, Any]]:
    connection = connections[alias]
    quoted = connection.ops.quote_name(name)
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@character_set_database, @@collation_database")
        charset, collation = cursor.fetchone()
    like = f"CHARACTER SET {charset} COLLATE {collation}"
    with _created(alias, f"CREATE DATABASE {quoted} {like}", f"DROP DATABASE IF EXISTS {quoted}"):
        yield {"NAME": name}


_SECOND = {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql}


@contextmanager
def _created(alias: str, create: str, drop: str) -> Iterator[None]:
    """What an earlier one has left, because it was killed, is dropped first."""
    try:
        _execute(alias, drop)
        _execute(alias, create)
    except DatabaseError as error:
        raise DumpFailed(
            f"the second database in which the data is anonymized could not be created: {error}".strip(),
            "The user of the database needs the right to create others, and to drop them.",
        ) from None
    try:
        yield
    finally:
        _execute(alias, drop)


def _execute(alias: str, statement: str) -> None:
    """Outside of a transaction, on a connection of its own: the one before may have been idle for hours."""
    connection = connections[alias]
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


@contextmanager
def _in_place(alias: str, path: str, changes: dict[str, Any]) -> Iterator[None]:
    """The alias leads to the second database, in all threads, and every other alias nowhere."""
    settings = connections.settings
    before = dict(settings)
    _forget(before)
    settings[alias] = {**before[alias], **changes}
    for other in before:
        if other != alias:
            _close(other, alias, path)
    try:
        yield
    finally:
        settings.update(before)
        _forget(before)


def _forget(aliases: dict[str, Any]) -> None:
    """Connections of this thread, and those in pools, which know the alias only."""
    for alias in aliases:
        connection: Any = connections[alias]
        connection.close()
        if getattr(connection, "pool", None) is not None:
            connection.close_pool()
        del connections[alias]


def _close(alias: str, opened: str, path: str) -> None:
    connection: Any = connections[alias]

    def refuse(*arguments: Any, **options: Any) -> NoReturn:
        raise DumpFailed(
            f"{path} uses the database {alias!r}; while {opened!r} is anonymized, all others are closed",
            "Let it use the alias that it is called with: Model.objects.using(alias).",
        )

    connection.connect = refuse
    # Other threads would make a connection of their own.
    connections.settings[alias] = {**connections.settings[alias], "ENGINE": "django.db.backends.dummy"}


@contextmanager
def _leaving_in_order() -> Iterator[None]:
    """SIGTERM ends the block as an exception does: whoever cleans up gets to it."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
