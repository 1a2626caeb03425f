"""Expressions of models, as far as they can be looked into: what they read, and what null makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import F, Q, Subquery, functions
from django.db.models.expressions import Col, CombinedExpression, OrderBy, RawSQL
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
    if isinstance(expression, F):
        yield expression.name  # type: ignore[attr-defined]
    elif isinstance(expression, Q):
        yield from (child[0] for child in expression.children if isinstance(child, tuple))


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
    if isinstance(expression, _STRICT):
        return any(map(is_null_of_null, _parts(expression)))
    return isinstance(expression, F)


def compared_fields(condition: Q) -> set[str] | None:
    """The fields that are compared with values or each other, and nothing else; None where there is more.

    Such a condition is unknown where they are null, and a check constraint accepts that.
    """
    if condition.connector == Q.XOR:  # which databases without it are asked for by counting
        return None
    found: set[str] = set()
    for child in condition.children:
        if isinstance(child, Q):
            names = compared_fields(child)
            if names is None:
                return None
            found |= names
        elif isinstance(child, tuple):
            value: Any = child[1]
            name, *lookups = child[0].split("__")
            is_field = isinstance(value, F)
            other = {str(value.name)} if is_field else set()
            is_plain = is_field or not hasattr(value, "resolve_expression")
            if value is None or not is_plain or not _compares(lookups):
                return None
            found |= {name, *other}
        else:
            return None
    return found


def _compares(lookups: list[str]) -> bool:
    """``year__gte`` compares, and ``year`` does, too."""
    *parts, last = lookups or [""]
    return _PARTS.issuperset(parts) and last in _COMPARISONS | _PARTS
