"""What the code that runs here uses of the database: the tables and columns of its models.

Django names every column of a model in each SELECT and INSERT, so a declared column is a used one.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from .columns import marks
from .constraints import constraint_mark, index_mark, unique_mark


def tables() -> dict[str, dict[str, Any]]:
    """By table: the ``model`` that it belongs to, its ``columns`` with their fields, its ``marks``.

    The tables of many-to-many fields are there, too, and those of models that Django does not manage.
    """
    found: dict[str, dict[str, Any]] = {}
    for model in apps.get_models(include_auto_created=True):
        if model._meta.proxy or model._meta.swapped:
            continue
        table = found.setdefault(
            model._meta.db_table, {"model": model._meta.label, "columns": {}, "marks": []}
        )
        for field in model._meta.local_concrete_fields:
            table["columns"][field.column] = f"{model._meta.label}.{field.name}"
        table["marks"] += model_marks(model, connections[DEFAULT_DB_ALIAS])
    return found


def model_marks(model: type[models.Model], connection: BaseDatabaseWrapper) -> list[str]:
    """All that is true of its columns, alone and together."""
    meta = model._meta
    columns = {field.name: str(field.column) for field in meta.local_concrete_fields}
    return [
        *(mark for field in meta.local_concrete_fields for mark in marks(field, connection)),
        *(constraint_mark(constraint, columns) for constraint in meta.constraints),
        *(index_mark(index) for index in meta.indexes if index.contains_expressions or index.condition),
        *(unique_mark(columns[name] for name in names) for names in meta.unique_together),
    ]
