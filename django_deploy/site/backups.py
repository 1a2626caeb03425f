"""What a backup of a database holds, and what has happened since it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from .databases import place
from .dumps import connection_to, dumper
from .owners import owners
from .row_counts import count, differences


def describe_database(alias: str) -> dict[str, Any]:
    """What is written down beside a dump that is made now.

    Beside that: ``estimate``, about how large it is, in bytes; ``suffix``, that of the dump's file;
    ``served``, folders whose files visitors may read. Raises ``DumpFailed`` where there is no such
    database, or no tool.
    """
    connection = connection_to(alias)
    connection.prepare_database()
    tool = dumper(connection)
    return {
        "alias": alias,
        "engine": connection.vendor,
        "place": place(connection),
        "tool": tool.tool(),
        "suffix": tool.suffix,
        "estimate": tool.size(),
        "served": [str(folder) for folder in (settings.MEDIA_ROOT, settings.STATIC_ROOT) if folder],
        "migrations": applied(connection),
        "tables": count(connection),
    }


def applied(connection: BaseDatabaseWrapper) -> list[str]:
    """The migrations that a database records, in the order in which they were applied."""
    recorded = MigrationRecorder(connection).applied_migrations()
    return [f"{app}.{name}" for app, name in sorted(recorded, key=lambda key: recorded[key].pk)]


def compare(alias: str, migrations: Sequence[str], tables: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The database now, against what was written down of it beside a dump.

    ``owners``: who has migrated it; ``tables``: see ``row_counts.differences``; ``newer``: migrations that
    were applied since, ``older``: those that were taken back since. Raises ``DumpFailed`` where there is no
    such database.
    """
    connection = connection_to(alias)
    now = applied(connection)
    return {
        "engine": connection.vendor,
        "place": place(connection),
        "owners": owners(connection),
        "newer": [name for name in now if name not in migrations],
        "older": [name for name in migrations if name not in now],
        "tables": list(differences(connection, tables)),
    }
