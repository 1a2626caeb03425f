"""Constraints of models: what they say, and of which fields.

What is unique has one mark (``columns.py``), however the models say it: ``unique isbn``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import F, Q, UniqueConstraint

from .expressions import compared_fields, fields_in, is_null_of_null

#: What makes no difference to what a row may have.
_UNSAID = frozenset({"name", "violation_error_code", "violation_error_message", "include"})


def unique_mark(columns: Iterable[str]) -> str:
    """Whoever keeps columns unique does it in any order."""
    return f"unique {' '.join(sorted(columns))}"


def constraint_mark(constraint: Any, columns: Mapping[str, str]) -> str:
    """One of another name that says the same has the same mark; ``columns`` by the names of their fields."""
    path, arguments, options = constraint.deconstruct()
    said = {name: value for name, value in options.items() if name not in _UNSAID}
    if isinstance(constraint, UniqueConstraint) and said.keys() == {"fields"}:
        return unique_mark(columns[name] for name in constraint.fields)
    text = repr((path, arguments, sorted(said.items())))
    return f"constraint {digest(text)}"


def index_mark(index: Any) -> str:
    """Of an index, whatever its name."""
    path, expressions, options = index.deconstruct()
    said = sorted((name, value) for name, value in options.items() if name != "name")
    return f"index {digest(repr((path, expressions, said)))}"


def digest(text: str) -> str:
    """Enough of it to tell it from others."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _condition(constraint: Any) -> Any:
    """None without one; a check had it under another name."""
    return getattr(constraint, "condition", None) or getattr(constraint, "check", None)


def passing_fields(constraint: Any) -> set[str] | None:
    """The fields that it looks at, if it accepts a row in which they are null; else None."""
    if getattr(constraint, "nulls_distinct", None) is False:
        return None
    condition = _condition(constraint)
    given = getattr(constraint, "expressions", ())
    if not given:
        return compared_fields(condition) if isinstance(condition, Q) else None
    # An exclusion has operators beside them.
    parts = [part[0] if isinstance(part, (list, tuple)) else part for part in given]
    expressions = [F(part) if isinstance(part, str) else part for part in parts]
    if not any(map(is_null_of_null, expressions)):
        return None
    return fields_in([*expressions, condition])
