"""How many rows each table has, and what has come to a database since it was counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from .owners import TABLE
from .table_sizes import row_counts

#: Of larger tables the database's estimate is taken, where it has one: counting reads them whole.
COUNTED_ROWS = 1_000_000

#: Tables that say nothing of the site's own data.
_OWN = (TABLE, MigrationRecorder.Migration._meta.db_table)

COUNT = "SELECT count(*) FROM {table}"
_LAST = "SELECT max({column}) FROM {table}"
_NEWER = "SELECT count(*) FROM {table} WHERE {column} > %s"

#: How Django calls the columns whose greatest value tells what is new.
_NUMBERED = {"AutoField", "BigAutoField", "SmallAutoField", "IntegerField", "BigIntegerField"}


def count(connection: BaseDatabaseWrapper) -> dict[str, dict[str, Any]]:
    """By table: ``rows``; ``key``, its numbered primary key, and ``last``, the greatest one: or null.

    ``is_estimate``: the rows were not counted.
    """
    tables = _tables(connection)
    sizes = row_counts(connection, tables)
    return {table: _count_table(connection, table, sizes.get(table, 0)) for table in tables}


def _tables(connection: BaseDatabaseWrapper) -> list[str]:
    with connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
    return sorted(name for name in names if name not in _OWN)


def _count_table(connection: BaseDatabaseWrapper, table: str, size: int) -> dict[str, Any]:
    is_estimate = size > COUNTED_ROWS
    key = numbered_key(connection, table)
    rows = size if is_estimate else value(connection, COUNT, table)
    last = value(connection, _LAST, table, key) if key else None
    return {"rows": rows, "is_estimate": is_estimate, "key": key, "last": last}


def numbered_key(connection: BaseDatabaseWrapper, table: str) -> str | None:
    """The column of a table's primary key, if it is a number that grows."""
    introspection = connection.introspection
    with connection.cursor() as cursor:
        key = introspection.get_primary_key_column(cursor, table)
        if key is None:
            return None
        [column] = [c for c in introspection.get_table_description(cursor, table) if c.name == key]
    kind = introspection.get_field_type(column.type_code, column)
    return str(key) if kind in _NUMBERED else None


def value(
    connection: BaseDatabaseWrapper, query: str, table: str, column: str = "", arguments: Sequence[Any] = ()
) -> Any:
    """The one value that a query about a table, and a column of it, gives."""
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        cursor.execute(query.format(table=quote(table), column=quote(column)), arguments or None)
        return cursor.fetchone()[0]


def differences(
    connection: BaseDatabaseWrapper, before: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Of each table that differs: rows ``before`` and ``now``, null where there is no such table; ``newer``
    is how many of those now were not there before, null where nobody can tell.
    """
    now = count(connection)
    for table in sorted({*before, *now}):
        then, there = before.get(table), now.get(table)
        newer = _newer(connection, table, then, there)
        rows = [None if found is None else found["rows"] for found in (then, there)]
        if rows[0] != rows[1] or newer:
            is_estimate = any(found["is_estimate"] for found in (then, there) if found is not None)
            yield {
                "table": table,
                "before": rows[0],
                "now": rows[1],
                "newer": newer,
                "is_estimate": is_estimate,
            }


def _newer(
    connection: BaseDatabaseWrapper,
    table: str,
    before: Mapping[str, Any] | None,
    now: Mapping[str, Any] | None,
) -> int | None:
    if now is None:
        return 0
    if before is None:
        return int(now["rows"])
    if now["key"] is None or now["key"] != before["key"]:
        return None
    if before["last"] is None:
        return int(now["rows"])
    return int(value(connection, _NEWER, table, now["key"], [before["last"]]))
