"""What becomes of the database, seen by code that runs beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

EXPAND, CONTRACT, OPAQUE = "expand", "contract", "opaque"

#: How an effect makes those wait who use the table: its rows are written anew, read, or put into an index.
REWRITE, SCAN, INDEX = "rewrite", "scan", "index"


@dataclass(frozen=True)
class Effect:
    """One change of the database.

    ``what`` says it to people. Without ``columns`` it concerns the whole table. Code whose table has the
    ``mark`` (``columns.py``) lives with it already. ``is_for_all``: code that does not know the columns is
    concerned as well, as it leaves them out of what it inserts. ``is_needed``: the code which brings the
    migration does not run without it. ``work`` is REWRITE, SCAN, INDEX or empty. ``hint`` is
    something to be known of it that stands in nobody's way.
    """

    category: str
    what: str
    table: str = ""
    columns: tuple[str, ...] = ()
    mark: str = ""
    is_for_all: bool = False
    is_needed: bool = False
    work: str = ""
    remedy: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Judged:
    """An operation with its effects; none means that the database stays as it is.

    ``hint`` says what it means for those who use a large table meanwhile, and what effects hint at.
    """

    words: str
    is_reversible: bool
    effects: tuple[Effect, ...] = ()
    hint: str = ""

    @property
    def category(self) -> str:
        """The worst of its effects."""
        found = {effect.category for effect in self.effects}
        return next((name for name in (CONTRACT, OPAQUE) if name in found), EXPAND)

    def as_dict(self) -> dict[str, Any]:
        return {
            "words": self.words,
            "category": self.category,
            "reversible": self.is_reversible,
            "hint": self.hint,
            "effects": [asdict(effect) for effect in self.effects],
        }


def dropped(table: str, column: str, *, is_optional: bool) -> Effect:
    """A column that must be filled, and that the new code does not know, keeps that from inserting."""
    remedy = (
        ""
        if is_optional
        else f"Let {table}.{column} be null, or give it a db_default, one deployment before."
    )
    what = f"drops {table}.{column}"
    return Effect(CONTRACT, what, table, (column,), is_needed=not is_optional, remedy=remedy)


def renamed(table: str, old: str, new: str) -> Iterator[Effect]:
    """Nothing, where the column keeps its name."""
    if old != new:
        yield Effect(CONTRACT, f"renames {table}.{old} to {new}", table, (old,), is_needed=True)


def unique(table: str, columns: tuple[str, ...], mark: str, *, is_for_all: bool = False) -> Effect:
    """Whoever writes one of these columns may be refused from now on."""
    place = f"{table}.{columns[0]}" if len(columns) == 1 else f"{', '.join(columns)} of {table} together"
    what = f"lets {place} have no value twice"
    return Effect(CONTRACT, what, table, columns, mark, is_for_all=is_for_all, work=INDEX)


def changed(table: str, column: str, what: str, mark: str = "") -> Effect:
    """A column that neither code can use as the other one does."""
    return Effect(CONTRACT, what, table, (column,), mark, is_needed=True, work=REWRITE)
