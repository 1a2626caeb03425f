"""Dumps of a database by its own tool, and the way back from one.

Passwords go by the environment or by the files that the settings name, as with ``manage.py dbshell``; never
by an argument, which everybody on the host can read.
"""

from __future__ import annotations

import gzip
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any, ClassVar, cast

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

#: Seconds that a restoration waits for those who use the database to let go of it.
PATIENCE = 60

#: How many of a tool's last lines are told when it fails.
LAST_LINES = 20

_CHUNK = 1 << 20


class DumpFailed(Exception):
    """A database could not be dumped or put back; ``remedy`` says what helps.

    ``is_damaged``: it is neither what it was nor what the dump has.
    """

    def __init__(self, message: str, remedy: str = "", *, is_damaged: bool = False) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.is_damaged = is_damaged


class Dumper:
    """Dumps one database, and puts dumps back. ``suffix`` is that of a dump's file."""

    suffix: ClassVar[str]

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def tool(self) -> str:
        """The program that dumps, with its version."""
        raise NotImplementedError

    def size(self) -> int:
        """About the bytes that a dump takes at most."""
        raise NotImplementedError

    def dump(self, file: Path) -> None:
        """Write all that the database has into an empty file, as it was at one moment."""
        raise NotImplementedError

    def restore(self, file: Path) -> None:
        """Make the database what it was when the file was written; nothing that came later stays."""
        raise NotImplementedError

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def _command(self, program: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """A program that finds the database as ``dbshell`` does: its argv and its environment."""
        settings = self.connection.settings_dict
        argv, environment = self.connection.client.settings_to_cmd_args_env(settings, list(arguments))
        return [program, *map(str, argv[1:])], {**os.environ, **(environment or {})}


class _PostgreSQL(Dumper):
    suffix = ".pgdump"
    package = "postgresql-client"

    def tool(self) -> str:
        return _version(_find(self.package, "pg_dump"))

    def size(self) -> int:
        query = (
            "SELECT coalesce(sum(pg_table_size(c.oid)), 0) FROM pg_class c"
            " JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'm')"
            " AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"
        )
        return int(self._ask(query)[0][0])

    def dump(self, file: Path) -> None:
        role = [f"--role={name}"] if (name := self._role()) else []
        program = _find(self.package, "pg_dump")
        argv, environment = self._command(
            program, "--no-password", "--format=custom", f"--file={file}", *role
        )
        _run(argv, environment, self._remedy())

    def _remedy(self) -> str:
        major = self.connection.pg_version // 10000  # type: ignore[attr-defined]
        return (
            f"Does the user of the database see all of it, and is pg_dump at least of version {major}, as the"
            f" server is? (Debian: apt install postgresql-client-{major})"
        )

    def _role(self) -> str:
        return str(self.connection.settings_dict["OPTIONS"].get("assume_role") or "")

    def restore(self, file: Path) -> None:
        """In one transaction: whatever fails, the database is as before."""
        restore, client = (_find(self.package, name) for name in ("pg_restore", "psql"))
        with tempfile.NamedTemporaryFile("w", suffix=".list") as contents:
            contents.write(_without_comments_of_extensions(restore, file))
            contents.flush()
            source = [restore, "--no-owner", "--exit-on-error", f"--use-list={contents.name}", "--file=-"]
            arguments = [
                "--no-psqlrc",
                "--no-password",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                "--output=/dev/null",
            ]
            argv, environment = self._command(client, *arguments)
            opening = "\n".join(["BEGIN;", *self._clearing(), ""])
            self.connection.close()
            _feed(argv, environment, [*source, str(file)], opening, "COMMIT;\n")

    def _clearing(self) -> list[str]:
        """What empties the database; what belongs to extensions, which only few may make, stays."""
        queries = [*(f"{query} AND {_OURS.format(oid=oid)}" for query, oid in _DROPS), _LARGE_OBJECTS]
        role = [f"SET LOCAL ROLE {self.connection.ops.quote_name(name)};"] if (name := self._role()) else []
        return [
            f"SET LOCAL lock_timeout = '{PATIENCE}s';",
            "SET LOCAL client_min_messages = warning;",
            *role,
            *(str(row[0]) for query in queries for row in self._ask(query)),
        ]


#: Of what is looked at here: whatever is neither the system's nor an extension's.
_OURS = (
    "n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND NOT EXISTS"
    " (SELECT FROM pg_depend d WHERE d.objid = {oid} AND d.deptype = 'e')"
)

#: What gives the statements that drop all that is ours, and what names the objects there. Schemas, tables
#: first; then what a schema that stays has beside tables.
_DROPS = (
    (
        "SELECT format('DROP SCHEMA %I CASCADE;', n.nspname) FROM pg_namespace n WHERE n.nspname <> 'public'",
        "n.oid",
    ),
    (
        "SELECT format('DROP %s IF EXISTS %I.%I CASCADE;', CASE c.relkind WHEN 'v' THEN 'VIEW'"
        " WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,"
        " n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
        "c.oid",
    ),
    (
        "SELECT format('DROP SEQUENCE IF EXISTS %I.%I CASCADE;', n.nspname, c.relname)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'public' AND c.relkind = 'S'",
        "c.oid",
    ),
    (
        "SELECT format('DROP ROUTINE IF EXISTS %s CASCADE;', p.oid::regprocedure)"
        " FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname = 'public' AND p.prokind <> 'a'",
        "p.oid",
    ),
    (
        "SELECT format('DROP TYPE IF EXISTS %I.%I CASCADE;', n.nspname, t.typname) FROM pg_type t"
        " JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid"
        " WHERE n.nspname = 'public' AND (t.typtype IN ('e', 'd', 'r') OR c.relkind = 'c')",
        "t.oid",
    ),
)

_LARGE_OBJECTS = "SELECT format('SELECT lo_unlink(%s);', oid) FROM pg_largeobject_metadata"


def _without_comments_of_extensions(program: str, file: Path) -> str:
    """The dump's table of contents; only an extension's owner may comment on it."""
    found = _run([program, "--list", str(file)], dict(os.environ))
    return "".join(f"{line}\n" for line in found.splitlines() if " COMMENT - EXTENSION " not in line)


class _MySQL(Dumper):
    suffix = ".sql.gz"
    package = "mariadb-client"

    def tool(self) -> str:
        return _version(_find(self.package, "mariadb-dump", "mysqldump"))

    def size(self) -> int:
        query = (
            "SELECT coalesce(sum(data_length), 0) FROM information_schema.tables"
            " WHERE table_schema = database() AND table_type = 'BASE TABLE'"
        )
        return int(self._ask(query)[0][0])

    def dump(self, file: Path) -> None:
        program = _find(self.package, "mariadb-dump", "mysqldump")
        arguments = ["--single-transaction", "--quick", "--routines", "--hex-blob", "--no-tablespaces"]
        argv, environment = self._command(program, *arguments, *self._character_set())
        with gzip.open(file, "wb", compresslevel=6) as packed:
            _run_into(argv, environment, cast(IO[bytes], packed))

    def _character_set(self) -> list[str]:
        """Older tools would take three bytes of each character for granted."""
        is_said = self.connection.settings_dict["OPTIONS"].get("charset")
        return [] if is_said else ["--default-character-set=utf8mb4"]

    def restore(self, file: Path) -> None:
        """Its tables cannot be changed in a transaction: when this fails, they are half there."""
        program = _find(self.package, "mariadb", "mysql")
        self._clear()
        argv, environment = self._command(program, *self._character_set())
        self.connection.close()
        try:
            with gzip.open(file, "rb") as packed:
                _run_from(argv, environment, cast(IO[bytes], packed))
        except (DumpFailed, OSError, EOFError) as error:
            raise DumpFailed(str(error), is_damaged=True) from None

    def _clear(self) -> None:
        tables = (
            "SELECT table_type, table_name FROM information_schema.tables WHERE table_schema = database()"
        )
        routines = (
            "SELECT routine_type, routine_name FROM information_schema.routines"
            " WHERE routine_schema = database()"
        )
        with self.connection.constraint_checks_disabled(), self.connection.cursor() as cursor:
            cursor.execute(f"SET SESSION lock_wait_timeout = {PATIENCE}")
            for kind, name in [*self._ask(tables), *self._ask(routines)]:
                what = "TABLE" if kind == "BASE TABLE" else kind
                cursor.execute(f"DROP {what} IF EXISTS {self.connection.ops.quote_name(name)}")


class _SQLite(Dumper):
    suffix = ".sqlite3"

    def tool(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    def size(self) -> int:
        return int(self._ask("PRAGMA page_count")[0][0]) * int(self._ask("PRAGMA page_size")[0][0])

    def dump(self, file: Path) -> None:
        self.connection.ensure_connection()
        with closing(sqlite3.connect(file)) as copy:
            self._copy(self.connection.connection, copy)

    def restore(self, file: Path) -> None:
        """In one transaction: those who have the database open see the one or the other."""
        self.connection.ensure_connection()
        # Nobody writes to a dump: SQLite need not put files beside it for those who would.
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as copy:
            self._copy(copy, self.connection.connection)

    def _copy(self, source: sqlite3.Connection, destination: sqlite3.Connection) -> None:
        deadline = time.monotonic() + PATIENCE

        def look(status: int, remaining: int, total: int) -> None:
            if status in _SQLITE_WAITS and time.monotonic() > deadline:
                raise sqlite3.OperationalError(f"somebody has used it for more than {PATIENCE} s")

        try:
            source.backup(destination, progress=look)
        except sqlite3.Error as error:
            raise DumpFailed(f"SQLite: {error}") from None


#: What SQLite says while others hold the database: SQLITE_BUSY, SQLITE_LOCKED.
_SQLITE_WAITS = (5, 6)

_DUMPERS: dict[str, Callable[[BaseDatabaseWrapper], Dumper]] = {
    "postgresql": _PostgreSQL,
    "mysql": _MySQL,
    "sqlite": _SQLite,
}


def connection_to(alias: str) -> BaseDatabaseWrapper:
    """The site's database of that alias; raises ``DumpFailed`` where it has none."""
    aliases = list(connections)
    if alias not in aliases:
        raise DumpFailed(
            f"the site has no database {alias!r}", f"Its settings, in DATABASES, have: {', '.join(aliases)}."
        )
    return connections[alias]


def dumper(connection: BaseDatabaseWrapper) -> Dumper:
    """What dumps a database of this kind; raises ``DumpFailed`` where nothing does."""
    if connection.vendor not in _DUMPERS:
        raise DumpFailed(
            f"no tool is known here that dumps a database of {connection.vendor}",
            "Back it up by a step of your own ahead of migrate, and set BACKUP to False.",
        )
    return _DUMPERS[connection.vendor](connection)


# The tools


def _find(package: str, *names: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    raise DumpFailed(
        f"there is no {' or '.join(names)} on the host", f"On the host, as root: apt install {package}"
    )


def _version(program: str) -> str:
    said = _run([program, "--version"], dict(os.environ)).strip()
    return said.removeprefix(program).strip() if said.startswith(program) else said


def _run(argv: Sequence[str], environment: dict[str, str], remedy: str = "") -> str:
    """What it writes to standard output."""
    done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        raise _failure(argv, done.returncode, done.stderr, remedy)
    return done.stdout.decode("utf-8", "surrogateescape")


def _run_into(argv: Sequence[str], environment: dict[str, str], file: IO[bytes]) -> None:
    with _Tool(argv, environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as tool:
        assert tool.process.stdout is not None
        shutil.copyfileobj(tool.process.stdout, file, _CHUNK)
        tool.end()


def _run_from(argv: Sequence[str], environment: dict[str, str], file: IO[bytes]) -> None:
    with _Tool(argv, environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as tool:
        tool.take(file)
        tool.end()


def _feed(
    argv: Sequence[str], environment: dict[str, str], source: Sequence[str], opening: str, ending: str
) -> None:
    """Let ``argv`` read what ``source`` writes, with ``ending`` only where that went well to its end."""
    with (
        _Tool(argv, environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as reader,
        _Tool(source, dict(os.environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as writer,
    ):
        assert writer.process.stdout is not None
        reader.write(opening.encode())
        reader.take(writer.process.stdout)
        writer.end()
        reader.write(ending.encode())
        reader.end()


class _Tool:
    """A program that runs; it is killed when the block ends before it does."""

    def __init__(self, argv: Sequence[str], environment: dict[str, str], *, stdin: int, stdout: int) -> None:
        self._argv = argv
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the tool
        self.process = subprocess.Popen(
            argv, env=environment, stdin=stdin, stdout=stdout, stderr=self._errors
        )

    def __enter__(self) -> _Tool:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.process.wait()
        self._errors.close()

    def take(self, file: IO[bytes]) -> None:
        while data := file.read(_CHUNK):
            self.write(data)

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except OSError:
            self.end()  # it has given up, and says why
            raise

    def end(self) -> None:
        """Wait for its end; raises ``DumpFailed`` when that is a bad one."""
        if self.process.stdin is not None:
            try:
                self.process.stdin.close()
            except OSError:
                pass
        if status := self.process.wait():
            self._errors.seek(0)
            raise _failure(self._argv, status, self._errors.read())


def _failure(argv: Sequence[str], status: int, errors: bytes, remedy: str = "") -> DumpFailed:
    lines = errors.decode("utf-8", "replace").strip().splitlines()[-LAST_LINES:]
    told = "\n".join(lines) or f"exit status {status}"
    return DumpFailed(f"{Path(argv[0]).name}: {told}", remedy)
