"""Expressions of models, as far as they can be looked into: what they read, and what null makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import ExpressionWrapper, F, Q, Subquery, Value, functions
from django.db.models.expressions import Col, CombinedExpression, OrderBy, RawSQL
from django.db.models.fields.json import KeyTransform
from django.db.models.functions.datetime import TruncBase

#: Lookups that are unknown of null.
_COMPARISONS = frozenset({"", "exact", "lt", "lte", "gt", "gte", "in", "range", "startswith", "contains"})

#: Parts of dates and times that lookups may begin with; they are null of null.
_PARTS = frozenset(
    {"year", "iso_year", "quarter", "month", "week", "week_day", "iso_week_day", "day"}
    | {"hour", "minute", "second", "date", "time"}
)

#: Null of null, whatever else they are given.
_STRICT = (
    *(functions.Lower, functions.Upper, functions.Trim, functions.LTrim, functions.RTrim, functions.Length),
    *(functions.Left, functions.Right, functions.Substr, functions.Abs, functions.Cast, functions.Collate),
    *(functions.Extract, TruncBase),
    *(CombinedExpression, OrderBy),
)

#: A text of any texts, and columns.
_TEXTUAL = (
    *(functions.Lower, functions.Upper, functions.Trim, functions.LTrim, functions.RTrim, functions.Left),
    *(functions.Right, functions.Concat, functions.ConcatPair, functions.Coalesce, functions.Collate),
    *(F, Value, OrderBy, ExpressionWrapper, KeyTransform),
)

#: Those of ``contrib.postgres`` by their names, which need a driver to be imported.
_POSTGRESQL = frozenset({"OpClass", "SearchVector", "CombinedSearchVector"})

#: More lookups that do not fail, whatever a row has.
_TESTS = frozenset(
    {"isnull", "iexact", "icontains", "istartswith", "endswith", "iendswith", "regex", "iregex"}
)

_ARITHMETIC = frozenset({"+", "-", "*", "/", "%%"})

#: A number or a time of any text or time.
_MEASURES = (functions.Length, functions.Extract, TruncBase)


def fields_in(expressions: Iterable[Any]) -> set[str] | None:
    """The fields that they read; None where there is something that nobody can look into."""
    found: set[str] = set()
    for expression in expressions:
        found |= {name.partition("__")[0] for name in _names(expression)}
        names = fields_in(_parts(expression)) if _is_open(expression) else None
        if names is None:
            return None
        found |= names
    return found


def _names(expression: Any) -> Iterator[str]:
    if isinstance(expression, Q):
        yield from (child[0] for child in expression.children if isinstance(child, tuple))
    elif isinstance(expression, F):
        field: Any = expression
        yield field.name


def _is_open(expression: Any) -> bool:
    """Whether its parts are all that there is to it."""
    if isinstance(expression, (RawSQL, Subquery, Col)) or getattr(expression, "extra", {}).get("template"):
        return False
    is_plain = not hasattr(expression, "resolve_expression")
    return is_plain or type(expression).__module__.startswith("django.")


def _parts(expression: Any) -> Iterator[Any]:
    """Expressions in it, and values."""
    if isinstance(expression, Q):
        yield from (child[1] if isinstance(child, tuple) else child for child in expression.children)
    elif isinstance(expression, (list, tuple)):
        yield from expression
    elif hasattr(expression, "get_source_expressions"):
        yield from (part for part in expression.get_source_expressions() if part is not None)


def is_null_of_null(expression: Any) -> bool:
    """Whether it is null where the fields that it reads are; False as well where nobody knows."""
    if isinstance(expression, _STRICT) and _is_open(expression):
        return any(map(is_null_of_null, _parts(expression)))
    return isinstance(expression, F)


def is_total(expression: Any, vendor: str) -> bool:
    """Whether the database gets a value, or null, of any row; False as well where nobody knows."""
    if isinstance(expression, Q):
        return all(map(_is_total_test, expression.children))
    if isinstance(expression, ExpressionWrapper):
        return all(is_total(part, vendor) for part in _parts(expression))
    if isinstance(expression, _MEASURES) and _is_open(expression):
        return all(map(is_text, _parts(expression)))
    # Of what it cannot divide, SQLite makes null; it has no limits.
    if vendor == "sqlite" and getattr(expression, "connector", "") in _ARITHMETIC:
        return all(is_total(part, vendor) for part in _parts(expression))
    return is_text(expression)


def _is_total_test(child: Any) -> bool:
    if isinstance(child, Q):
        return all(map(_is_total_test, child.children))
    if not isinstance(child, tuple):
        return False
    *parts, last = child[0].split("__")[1:] or [""]
    return _PARTS.issuperset(parts) and last in _COMPARISONS | _PARTS | _TESTS and is_text(child[1])


def is_text(expression: Any) -> bool:
    """Whether it is a column as it is, or made of texts by what takes any."""
    is_known = isinstance(expression, _TEXTUAL) or type(expression).__name__ in _POSTGRESQL
    is_plain = not hasattr(expression, "resolve_expression")
    return (is_plain or is_known) and _is_open(expression) and all(map(is_text, _parts(expression)))


def compared_fields(condition: Q) -> set[str] | None:
    """The fields that are compared with values or each other, and nothing else; None where there is more.

    Such a condition is unknown where they are null, and a check constraint accepts that.
    """
    if condition.connector == Q.XOR:  # which databases without it are asked for by counting
        return None
    found: set[str] = set()
    for child in condition.children:
        names = compared_fields(child) if isinstance(child, Q) else _compared(child)
        if names is None:
            return None
        found |= names
    return found


def _compared(child: Any) -> set[str] | None:
    if not isinstance(child, tuple):
        return None
    name, *lookups = child[0].split("__")
    values = list(child[1]) if isinstance(child[1], (list, tuple)) else [child[1]]
    is_plain = all(isinstance(value, F) or not hasattr(value, "resolve_expression") for value in values)
    if None in values or not is_plain or not _compares(lookups):
        return None
    return {name, *(other for value in values for other in _names(value))}


def _compares(lookups: list[str]) -> bool:
    """``year__gte`` compares, and ``year`` does, too."""
    *parts, last = lookups or [""]
    return _PARTS.issuperset(parts) and last in _COMPARISONS | _PARTS
