"""How large tables are, and what that means for those who use one while it is changed."""

from __future__ import annotations

from collections.abc import Collection

from django.db.backends.base.base import BaseDatabaseWrapper

#: Rows from which on it is said.
LARGE_TABLE = 100_000


def row_counts(connection: BaseDatabaseWrapper, tables: Collection[str]) -> dict[str, int]:
    """Estimates that PostgreSQL and MySQL have at hand; what has none is left out."""
    query = _ROW_COUNTS.get(connection.vendor)
    if query is None or not tables:
        return {}
    marks = ", ".join(["%s"] * len(tables))
    with connection.cursor() as cursor:
        cursor.execute(query.format(marks=marks), list(tables))
        return {str(name): int(count) for name, count in cursor.fetchall() if count and count > 0}


_ROW_COUNTS = {
    "postgresql": (
        "SELECT relname, reltuples::bigint FROM pg_class"
        " WHERE relname IN ({marks}) AND relkind IN ('r', 'p') AND pg_table_is_visible(oid)"
    ),
    "mysql": (
        "SELECT table_name, table_rows FROM information_schema.tables"
        " WHERE table_name IN ({marks}) AND table_schema = database()"
    ),
}


def hint(vendor: str, table: str, work: str, rows: int) -> str:
    """What a change means for those who use a large table meanwhile; empty for small ones."""
    if rows < LARGE_TABLE or (vendor, work) not in _HINTS:
        return ""
    return f"{table} has about {_rounded(rows)} rows: {_HINTS[vendor, work]}"


def _rounded(rows: int) -> str:
    return f"{rows / 1e6:.1f} million" if rows >= 950_000 else f"{round(rows, -3):,}"


_HINTS = {
    ("postgresql", "rewrite"): "they are rewritten, and meanwhile nobody can read or write the table",
    ("postgresql", "scan"): "they are all read, and meanwhile nobody can read or write the table",
    (
        "postgresql",
        "index",
    ): "nobody can write to it until the index is made (AddIndexConcurrently lets them)",
    ("mysql", "rewrite"): "the table is copied, and meanwhile nobody can write to it",
    ("mysql", "scan"): "the table is copied, and meanwhile nobody can write to it",
    ("mysql", "index"): "the index is made while others write, and waits for their transactions",
}
