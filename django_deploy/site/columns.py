"""Columns, as the fields of models describe them, and what it means to change one.

A *mark* is a short text about a column, true of the fields that fit it: ``isbn``, ``isbn not null``,
``isbn is varchar(13)``. Code whose field has the mark of a change lives with that change already.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.state import ModelState
from django.db.migrations.utils import resolve_relation
from django.db.models.fields import AutoFieldMixin

from .constraints import digest, unique_mark
from .effects import CONTRACT, EXPAND, INDEX, REWRITE, SCAN, Effect, changed, renamed, unique
from .expressions import is_text, is_total

#: Collations of PostgreSQL by which two texts are equal only if they are the same, whatever the order.
_EXACT = re.compile(r"default|C|POSIX|ucs_basic|C\.\w[\w-]*|[a-z]{2,3}_[A-Z]{2}(\.\w[\w-]*)?|[\w-]+-x-icu")

_TEXTS = frozenset({"CharField", "SlugField", "FileField", "FilePathField", "TextField"})

#: What holds all lengths, parts of times, times and answers.
_WIDE = frozenset(
    {"IntegerField", "BigIntegerField", "BooleanField", "DateField", "DateTimeField", "TimeField"}
)

#: The remedy where nobody knows whether the database can compute something.
COMPUTED = "If it can be computed, and fits, of whatever the live release writes, nothing breaks."

#: Bytes for which PostgreSQL has room in an index of its usual kind, about.
_ROOM = 2_700


def bound(model: ModelState, name: str) -> Any:
    """The field as a part of the model: it knows its name, its column, and the app of what it points to."""
    field: Any = model.fields[name].clone()
    field.set_attributes_from_name(name)
    if field.remote_field:
        label = resolve_relation(field.remote_field.model, model.app_label, model.name.lower())
        field.remote_field.model = ".".join(label)
    return field


def is_optional(column: Any) -> bool:
    """Whoever does not know the column may leave it out of an INSERT."""
    return bool(column.null or is_filled(column))


def is_filled(column: Any) -> bool:
    """The database itself has a value for whoever leaves it out."""
    return bool(column.has_db_default() or column.generated)


def is_numbered(column: Any, connection: BaseDatabaseWrapper) -> bool:
    """The database counts, for whoever leaves it out; SQLite does that for any integer that is the key."""
    if connection.vendor == "sqlite" and column.primary_key and not column.remote_field:
        return _kind(column, connection) == "integer"
    return isinstance(column, AutoFieldMixin)


def related(field: Any) -> str:
    """What a relation points to, for a proxy the model whose table that has; empty for other fields."""
    if not field.remote_field:
        return ""
    target = field.remote_field.model
    return str(target if isinstance(target, str) else target._meta.concrete_model._meta.label).lower()


def marks(field: Any, connection: BaseDatabaseWrapper) -> list[str]:
    """All that is true of a field with a column."""
    found = [field.column, _type_mark(field, connection), _collation_mark(field)]
    if not field.null:
        found.append(f"{field.column} not null")
    if field.unique:
        found.append(unique_mark([field.column]))
    if field.primary_key:
        found.append(f"{field.column} primary key")
    if not field.has_db_default():
        found.append(f"{field.column} without a default")
    if not is_numbered(field, connection):
        found.append(f"{field.column} not numbered")
    if field.remote_field and field.db_constraint:
        found.append(f"{field.column} references")
    return found


def _type_mark(field: Any, connection: BaseDatabaseWrapper) -> str:
    if field.remote_field:
        return f"{field.column} points to {related(field)}"
    if field.generated:
        return f"{field.column} generated as {_kind(field, connection)} {digest(repr(field.expression))}"
    return f"{field.column} is {_kind(field, connection)}"


def _kind(field: Any, connection: BaseDatabaseWrapper) -> str:
    """The type in the database, with the check by which that keeps values out.

    Whether the database counts is no matter of the type, though MySQL says it there.
    """
    found = field.db_parameters(connection)
    kind = str(found["type"]).removesuffix(" AUTO_INCREMENT")
    return f"{kind}, {found['check']}" if found["check"] else kind


def _collation_mark(field: Any) -> str:
    return f"{field.column} sorted as {getattr(field, 'db_collation', None)}"


def computed(table: str, field: Any, connection: BaseDatabaseWrapper) -> Effect | None:
    """What a generated column is to those who write what it is made of; None where nothing can fail."""
    if is_total(field.expression, connection.vendor) and _holds_all(field, connection):
        return None
    what = f"adds {table}.{field.column}, which perhaps cannot be computed of all that others write"
    mark, work = _type_mark(field, connection), REWRITE if field.db_persist else ""
    return Effect(CONTRACT, what, table, mark=mark, is_needed=True, work=work, remedy=COMPUTED)


def _holds_all(field: Any, connection: BaseDatabaseWrapper) -> bool:
    """Whether the type of a generated column has room for whatever ``is_total`` knows."""
    if connection.vendor == "sqlite":
        return True
    kind = field.get_internal_type()
    if not is_text(field.expression):
        return kind in _WIDE
    return kind == "SearchVectorField" or (kind in _TEXTS and _longest(field.output_field) == float("inf"))


def alterations(
    table: str, old: Any, new: Any, connection: BaseDatabaseWrapper, kind: str = ""
) -> Iterator[Effect]:
    """What becomes of a column, aspect by aspect; ``kind`` is the type of a relation, where only one is."""
    yield from renamed(table, old.column, new.column)
    yield from _alter_type(table, old, new, connection, kind)
    yield from _alter_numbering(table, old, new, connection)
    yield from _alter_null(table, old, new)
    yield from _alter_keys(table, old, new, connection)
    yield from _alter_default(table, old, new)
    yield from _alter_collation(table, old, new, connection)


def _alter_collation(table: str, old: Any, new: Any, connection: BaseDatabaseWrapper) -> Iterator[Effect]:
    column, place = old.column, f"{table}.{old.column}"
    names = [getattr(field, "db_collation", None) for field in (old, new)]
    if names[0] == names[1]:
        return
    if connection.vendor == "postgresql" and all(not name or _EXACT.fullmatch(name) for name in names):
        work = SCAN if old.unique or old.db_index else ""
        yield Effect(EXPAND, f"sorts {place} in another way", table, (column,), is_needed=True, work=work)
    else:
        yield changed(table, column, f"changes the collation of {place}", _collation_mark(new))


def _alter_type(
    table: str, old: Any, new: Any, connection: BaseDatabaseWrapper, kind: str
) -> Iterator[Effect]:
    column, place, mark = old.column, f"{table}.{old.column}", _type_mark(new, connection)
    if old.remote_field and new.remote_field:
        yield from _alter_relation(table, old, new, mark)
        return
    if old.remote_field or new.remote_field:
        if kind == _kind(old if new.remote_field else new, connection):
            yield from _alter_references(table, old, new)
        else:
            yield changed(table, column, f"changes the type of {place}", mark)
        return
    if old.generated or new.generated:
        if old.deconstruct()[1:] != new.deconstruct()[1:]:
            yield changed(table, column, f"computes {place} in another way", mark)
        return
    was, is_now = (_kind(each, connection) for each in (old, new))
    is_narrower = _is_narrower(old, new, connection)
    if was == is_now and not is_narrower:
        return
    text = f"{place} from {was} to {is_now}"
    if is_narrower is None:
        yield changed(table, column, f"changes {text}", mark)
    elif is_narrower:
        yield Effect(CONTRACT, f"narrows {text}", table, (column,), mark, work=REWRITE)
    else:
        work = REWRITE if _is_integer(old, connection) else ""
        yield Effect(EXPAND, f"widens {text}", table, (column,), is_needed=True, work=work)


def _alter_relation(table: str, old: Any, new: Any, mark: str) -> Iterator[Effect]:
    column, place = old.column, f"{table}.{old.column}"
    if related(old) != related(new) or old.remote_field.field_name != new.remote_field.field_name:
        yield changed(table, column, f"lets {place} point elsewhere", mark)
    else:
        yield from _alter_references(table, old, new)


def _alter_references(table: str, old: Any, new: Any) -> Iterator[Effect]:
    """Whether the database sees to it that there is what a column points to."""
    column, place = old.column, f"{table}.{old.column}"
    was, is_now = (bool(field.remote_field and field.db_constraint) for field in (old, new))
    if is_now and not was:
        what = f"lets {place} have only what it points to"
        yield Effect(CONTRACT, what, table, (column,), f"{column} references", work=SCAN)
    elif was and not is_now:
        what = f"lets {place} have what {related(old)} has not"
        yield Effect(EXPAND, what, table, (column,), is_needed=True)


def _alter_numbering(table: str, old: Any, new: Any, connection: BaseDatabaseWrapper) -> Iterator[Effect]:
    column, place = old.column, f"{table}.{old.column}"
    was, is_now = (is_numbered(each, connection) for each in (old, new))
    if is_now and not was:
        yield Effect(EXPAND, f"lets the database number {place}", table, (column,), is_needed=True)
    elif was and not is_now:
        what = f"does not let the database number {place} any more"
        mark, is_for_all = f"{column} not numbered", not is_optional(new)
        yield Effect(CONTRACT, what, table, (column,), mark, is_for_all=is_for_all)


def _alter_null(table: str, old: Any, new: Any) -> Iterator[Effect]:
    column, place = old.column, f"{table}.{old.column}"
    if new.null and not old.null:
        yield Effect(EXPAND, f"lets {place} be null", table, (column,), is_needed=True)
    elif old.null and not new.null:
        what = f"does not let {place} be null any more"
        mark, is_for_all = f"{column} not null", not is_optional(new)
        yield Effect(CONTRACT, what, table, (column,), mark, is_for_all=is_for_all, work=SCAN)


def _alter_keys(table: str, old: Any, new: Any, connection: BaseDatabaseWrapper) -> Iterator[Effect]:
    column, place = old.column, f"{table}.{old.column}"
    if old.primary_key != new.primary_key:
        what = f"makes {place} the primary key" if new.primary_key else f"takes the primary key {place} away"
        yield changed(table, column, what, f"{column} primary key" if new.primary_key else "")
    elif new.unique and not old.unique:
        yield unique(table, (column,), unique_mark([column]), is_for_all=is_filled(new))
    elif old.unique and not new.unique:
        what = f"lets {place} have the same value twice"
        yield Effect(EXPAND, what, table, (column,), is_needed=True)
    elif new.db_index and not old.db_index:
        hint = long_text_hint(table, new, connection)
        yield Effect(EXPAND, f"adds an index to {place}", table, (column,), work=INDEX, hint=hint)


def long_text_hint(table: str, field: Any, connection: BaseDatabaseWrapper) -> str:
    """Of a field in an index, if it may have texts for which PostgreSQL has no room there."""
    has_texts, text = field.get_internal_type() in _TEXTS, field.output_field if field.generated else field
    if connection.vendor != "postgresql" or not has_texts or _longest(text) <= _ROOM:
        return ""
    room = f"no room in it for more than about {_ROOM:,} bytes of {table}.{field.column}"
    return f"PostgreSQL has {room}: who writes more gets an error"


def _alter_default(table: str, old: Any, new: Any) -> Iterator[Effect]:
    column, place = old.column, f"{table}.{old.column}"
    if old.has_db_default() and not new.has_db_default():
        what = f"takes the default of {place} away"
        mark = f"{column} without a default"
        yield Effect(CONTRACT, what, table, (column,), mark, is_for_all=not is_optional(new))
    elif new.has_db_default() and _default(old) != _default(new):
        yield Effect(EXPAND, f"gives {place} a default", table, (column,), is_needed=True)


def _default(field: Any) -> object:
    return field.deconstruct()[3].get("db_default")


def _is_narrower(old: Any, new: Any, connection: BaseDatabaseWrapper) -> bool | None:
    """Whether a value of before may not fit any more; None where the types are not akin."""
    kinds = old.get_internal_type(), new.get_internal_type()
    if all(kind in _TEXTS for kind in kinds):
        return _longest(new) < _longest(old)
    if kinds == ("DecimalField", "DecimalField"):
        digits = [(each.max_digits or 10**6, each.decimal_places or 0) for each in (old, new)]
        (old_digits, old_places), (new_digits, new_places) = digits
        return bool(new_places < old_places or new_digits - new_places < old_digits - old_places)
    if _is_integer(old, connection) and _is_integer(new, connection):
        ranges = connection.ops.integer_field_ranges
        (old_least, old_most), (new_least, new_most) = (ranges[kind] for kind in kinds)
        return bool(new_least > old_least or new_most < old_most)
    is_same = type(old) is type(new) and old.db_type(connection) == new.db_type(connection)
    return False if is_same else None


def _longest(text: Any) -> float:
    return float("inf") if text.get_internal_type() == "TextField" or not text.max_length else text.max_length


def _is_integer(number: Any, connection: BaseDatabaseWrapper) -> bool:
    return number.get_internal_type() in connection.ops.integer_field_ranges
