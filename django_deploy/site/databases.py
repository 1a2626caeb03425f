"""Which database a connection leads to, whatever it is called in the settings."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import uuid
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper


def place(connection: BaseDatabaseWrapper) -> str:
    """For people: ``postgresql shop on db1:5432``. No user, no password."""
    settings = connection.settings_dict
    host, port = settings.get("HOST") or "this machine", settings.get("PORT")
    if connection.vendor == "sqlite":
        return f"sqlite {settings['NAME']}"
    return f"{connection.vendor} {settings['NAME']} on {host}{f':{port}' if port else ''}"


def sqlite_file(connection: BaseDatabaseWrapper) -> Path | None:
    """The file that is written to, if there is one; a relative path counts from where the site starts."""
    name = str(connection.settings_dict["NAME"] or "")
    if connection.vendor != "sqlite" or not name or name.startswith(":memory:"):
        return None
    if name.startswith("file:"):
        parts = urlsplit(name)
        is_written = not re.search(r"mode=(memory|ro)\b|immutable=1", parts.query)
        return Path(url2pathname(parts.path)).absolute() if is_written else None
    return Path(name).absolute()


def make_private(connection: BaseDatabaseWrapper) -> None:
    """Make the file of SQLite if it is not there yet, for its owner only: SQLite itself lets all read it.

    What SQLite keeps beside it gets the same mode. A file that is there is left as it is.
    """
    file = sqlite_file(connection)
    if file is not None and file.parent.is_dir():
        with suppress(OSError):  # it is there, or SQLite will say why it cannot be
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def fingerprint(connection: BaseDatabaseWrapper, salt: str) -> str:
    """Equal for two connections to the same database, under the same salt."""
    facts = "\n".join([salt, connection.vendor, *_identity(connection)])
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def _identity(connection: BaseDatabaseWrapper) -> list[str]:
    """Asked of the server, where it knows: one server has many names, and ``localhost`` is many servers."""
    if connection.vendor == "sqlite":
        return [_machine(), os.path.realpath(str(connection.settings_dict["NAME"]))]
    connection.ensure_connection()
    try:
        found = _ask(connection, _IDENTITY[connection.vendor])
    except (KeyError, DatabaseError):  # Oracle and others; a role that may not ask
        settings = connection.settings_dict
        host = str(settings.get("HOST") or "")
        here = [_machine()] if host in ("", "localhost", "127.0.0.1", "::1") or host.startswith("/") else []
        return [*here, host, str(settings.get("PORT") or ""), str(settings["NAME"])]
    return found


#: One row of what tells a database from all others, also from a dump of it under the same name elsewhere.
_IDENTITY = {
    "postgresql": "SELECT system_identifier::text, current_database() FROM pg_control_system()",
    "mysql": "SELECT {uid}, database()",
}


def _ask(connection: BaseDatabaseWrapper, query: str) -> list[str]:
    if connection.vendor == "mysql":
        query = query.format(uid=_mysql_server(connection))
    with connection.cursor() as cursor:
        cursor.execute(query)
        row = cursor.fetchone()
    return [str(value) for value in row or ()]


def _mysql_server(connection: BaseDatabaseWrapper) -> str:
    """What names the server, or the cluster whose servers are one database."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'wsrep_cluster_state_uuid'")
        row = cursor.fetchone()
        if row and row[1]:
            return f"'{uuid.UUID(row[1])}'"
        cursor.execute("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uid', 'server_uuid')")
        row = cursor.fetchone()
    return f"@@{row[0]}" if row else "concat(@@hostname, ' ', @@port, ' ', @@datadir)"


def _machine() -> str:
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return os.uname().nodename


def identify(aliases: Collection[str], salt: str) -> dict[str, dict[str, str]]:
    """By alias: ``place``, ``vendor`` and ``fingerprint``, or why there is none: ``error``."""
    found = {}
    for alias in aliases:
        connection = connections[alias]
        entry = {"vendor": connection.vendor, "place": place(connection)}
        try:
            entry["fingerprint"] = fingerprint(connection, salt)
        except DatabaseError as error:
            entry["error"] = f"{type(error).__name__}: {error}".strip()
        found[alias] = entry
    return found


#: Of a database in which nothing was made yet, or no more.
EMPTY = "it answers, and has no tables"


def reach() -> dict[str, dict[str, str]]:
    """By alias, of all the site's databases: ``place``, ``vendor``, and an ``error`` where one is silent.

    ``open_file`` is SQLite's, where every user of the machine may read it.
    """
    return {alias: _reach(connections[alias]) for alias in connections if has_engine(connections[alias])}


def has_engine(connection: BaseDatabaseWrapper) -> bool:
    """Without DATABASES, or with an empty entry, Django puts a dummy there that fails when it is used."""
    return connection.vendor != "unknown"


def _reach(connection: BaseDatabaseWrapper) -> dict[str, str]:
    entry = {"vendor": connection.vendor, "place": place(connection)}
    if file := open_file(connection):
        entry["open_file"] = str(file)
    if connection.vendor == "sqlite" and (why := _file_trouble(str(connection.settings_dict["NAME"]))):
        return {**entry, "error": why}
    try:
        has_tables = bool(connection.introspection.table_names())
    except Exception as error:  # a driver that is missing, a name that is not found: all of it is the answer
        return {**entry, "error": f"{type(error).__name__}: {error}".strip()}
    # One that was made anew by mistake answers, too.
    return entry if has_tables else {**entry, "error": EMPTY}


def open_file(connection: BaseDatabaseWrapper) -> Path | None:
    """SQLite's file, if every user of this machine may read it: by its mode, and by those of its folders."""
    file = sqlite_file(connection)
    if file is None:
        return None
    file = Path(os.path.realpath(file))
    try:
        may_read = bool(file.stat().st_mode & stat.S_IROTH)
        may_enter = all(folder.stat().st_mode & stat.S_IXOTH for folder in file.parents)
    except OSError:
        return None
    return file if may_read and may_enter else None


def _file_trouble(name: str) -> str:
    """Why SQLite could not use its file; empty where it can. Connecting would make a file that is missing."""
    path = Path(name)
    if ":memory:" in name or "mode=memory" in name or name.startswith("file:"):
        return ""
    if not path.exists():
        return f"there is no file {name}"
    if not (os.access(path, os.R_OK | os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)):
        return f"{name}, or its folder, cannot be written"
    return ""
