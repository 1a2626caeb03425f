"""What an operation of a migration does to the database, seen by code that runs beside it.

An operation is *expand* (code that does not know of it goes on working), *contract* (it breaks code that
still uses the table or column) or *opaque* (nobody can tell: SQL, Python, operations of third parties).
It is read from the states before and after it; no model is rendered for that, and nothing is asked of
the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db import models, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import strip_quotes, truncate_name
from django.db.migrations import RunPython, RunSQL, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from .columns import COMPUTED, alterations, bound, computed, is_filled, is_optional, long_text_hint, related
from .constraints import constraint_mark, index_mark, passing_fields, unique_mark
from .effects import (
    CONTRACT,
    EXPAND,
    INDEX,
    OPAQUE,
    REWRITE,
    SCAN,
    Effect,
    Judged,
    changed,
    dropped,
    renamed,
    unique,
)
from .expressions import fields_in, is_text, is_total


def judge_operation(
    operation: Operation, app_label: str, before: ProjectState, connection: BaseDatabaseWrapper
) -> Judged:
    """``before`` is the state ahead of the operation, and stays as it is."""
    effects = tuple(Reading(operation, app_label, before, connection).effects())
    return Judged(words(operation), _is_reversible(operation), effects)


def judge_reversal(operation: Operation) -> Judged:
    """An operation that is taken back: what that means for code that runs is anybody's guess."""
    what = "undoes what the migration had done"
    return Judged(words(operation), _is_reversible(operation), (Effect(OPAQUE, what, is_needed=True),))


def words(operation: Operation) -> str:
    """As Django says it; with the name of the function or the statement, where it says nothing."""
    words = str(operation.describe())
    if isinstance(operation, RunPython) and words == "Raw Python operation":
        return f"{words}: {getattr(operation.code, '__name__', 'a callable')}"
    if isinstance(operation, RunSQL) and words == "Raw SQL operation" and isinstance(operation.sql, str):
        return f"{words}: {' '.join(operation.sql.split())[:80]}"
    return words


def _is_reversible(operation: Operation) -> bool:
    if isinstance(operation, SeparateDatabaseAndState):
        return all(map(_is_reversible, operation.database_operations))
    return bool(operation.reversible)


class Reading:
    """One operation between the states before and after it."""

    def __init__(
        self, operation: Any, app_label: str, before: ProjectState, connection: BaseDatabaseWrapper
    ) -> None:
        self.operation = operation
        self.app_label = app_label
        self.connection = connection
        self.before = before
        self.after = before.clone()
        operation.state_forwards(app_label, self.after)

    def effects(self) -> Iterator[Effect]:
        read = _READERS.get(type(self.operation).__name__)
        if read is None or not type(self.operation).__module__.startswith("django."):
            yield Effect(OPAQUE, "has an unknown effect", is_needed=True)
        else:
            yield from read(self)

    # The states

    def model(self, state: ProjectState, name: str) -> ModelState | None:
        """The model, if it has a table in this database that Django looks after."""
        model = state.models[self.app_label, name.lower()]
        return model if self._is_real(model) and self._is_here(state, model) else None

    def _is_real(self, model: ModelState) -> bool:
        """As Django's ``Options.can_migrate``, without rendering the model."""
        options, features = model.options, self.connection.features
        swapped = getattr(settings, options.get("swappable") or "", None)
        return (
            options.get("managed", True)
            and not options.get("proxy")
            and (not swapped or swapped.lower() == f"{model.app_label}.{model.name}".lower())
            and options.get("required_db_vendor") in (None, self.connection.vendor)
            and all(getattr(features, name, False) for name in options.get("required_db_features", ()))
        )

    def _is_here(self, state: ProjectState, model: ModelState) -> bool:
        app, name = model.app_label, model.name.lower()
        # Rendering takes long: without a router nobody asks for it.
        hints = {"model": state.apps.get_model(app, name)} if router.routers else {}
        return bool(router.allow_migrate(self.connection.alias, app, model_name=name, **hints))

    def table(self, model: ModelState) -> str:
        given = model.options.get("db_table")
        return str(given or self._shortened(f"{model.app_label}_{model.name.lower()}"))

    def between(self, model: ModelState, name: str, relation: Any) -> str:
        """The table of a many-to-many field; empty where it has a model of its own."""
        if relation.remote_field.through is not None:
            return ""
        own = f"{strip_quotes(self.table(model))}_{name}"
        return str(relation.db_table or self._shortened(own))

    def _shortened(self, name: str) -> str:
        return truncate_name(name, self.connection.ops.max_name_length())

    def column(self, model: ModelState, name: str) -> str:
        return str(bound(model, name).column)

    def _bound(self, state: ProjectState, model: ModelState, name: str) -> Any:
        """A key that points to a proxy points to the model whose table that has."""
        field = bound(model, name)
        if field.remote_field and not field.many_to_many:
            field.remote_field.model = self._concrete(state, related(field))
        return field

    def _concrete(self, state: ProjectState, label: str) -> str:
        app, _, name = label.partition(".")
        model = state.models.get((app, name))
        if model is None or not model.options.get("proxy"):
            return label
        base = next((base for base in model.bases if isinstance(base, str)), "")
        return self._concrete(state, base.lower()) if base else label

    # Models

    def create_model(self) -> Iterator[Effect]:
        if model := self.model(self.after, self.operation.name):
            table = self.table(model)
            yield Effect(EXPAND, f"creates the table {table}", table, is_needed=True)

    def delete_model(self) -> Iterator[Effect]:
        if model := self.model(self.before, self.operation.name):
            table = self.table(model)
            yield Effect(CONTRACT, f"drops the table {table}", table)

    def rename_model(self) -> Iterator[Effect]:
        old = self.model(self.before, self.operation.old_name)
        new = self.model(self.after, self.operation.new_name)
        if old and new:
            yield from self._rename_table(self.table(old), self.table(new))
            yield from self._rename_between(old, new)

    def _rename_between(self, renamed_model: ModelState, new: ModelState) -> Iterator[Effect]:
        """Tables of many-to-many fields have the names of both models in their own, or in their columns."""
        old_name, new_name = renamed_model.name.lower(), new.name.lower()
        label = f"{self.app_label}.{old_name}"
        for key, model in self.before.models.items():
            is_own = model is renamed_model
            after = new if is_own else self.after.models[key]
            for name in model.fields:
                was, is_now = bound(model, name), bound(after, name)
                is_target = was.many_to_many and related(was) == label
                if not (was.many_to_many and (is_own or is_target) and self._is_real(model)):
                    continue
                if table := self.between(model, name, was):
                    yield from self._rename_table(table, self.between(after, name, is_now))
                    for prefix in ("from_", "to_") if is_own and is_target else ("",):
                        yield from renamed(table, f"{prefix}{old_name}_id", f"{prefix}{new_name}_id")

    def alter_table(self) -> Iterator[Effect]:
        old, new = (self.model(state, self.operation.name) for state in (self.before, self.after))
        if old and new:
            yield from self._rename_table(self.table(old), self.table(new))

    def _rename_table(self, old: str, new: str) -> Iterator[Effect]:
        if old != new:
            yield Effect(CONTRACT, f"renames the table {old} to {new}", old, is_needed=True)

    def alter_order(self) -> Iterator[Effect]:
        old, new = (self.model(state, self.operation.name) for state in (self.before, self.after))
        if not old or not new:
            return
        was, is_now = (model.options.get("order_with_respect_to") for model in (old, new))
        if is_now and not was:
            yield self._required(self.table(new), "_order")
        elif was and not is_now:
            yield dropped(self.table(old), "_order", is_optional=False)

    # Fields

    def add_field(self) -> Iterator[Effect]:
        model = self.model(self.after, self.operation.model_name)
        if model is None:
            return
        table, added = self.table(model), bound(model, self.operation.name)
        if added.many_to_many:
            if between := self.between(model, added.name, added):
                yield Effect(EXPAND, f"creates the table {between}", between, is_needed=True)
        elif is_optional(added) and not added.primary_key:
            yield self._add_column(model, table, added)
            if added.unique and is_filled(added):
                yield unique(table, (added.column,), unique_mark([added.column]), is_for_all=True)
        else:
            yield self._required(table, added.column)

    def _add_column(self, model: ModelState, table: str, added: Any) -> Effect:
        effect = computed(table, added, self.connection) if added.generated else None
        if effect:
            return replace(effect, columns=self._read(model, [added.expression]))
        work = REWRITE if getattr(added, "db_persist", False) else ""
        what = f"adds the column {table}.{added.column}"
        is_written = added.generated and (added.db_index or added.unique)
        hint = long_text_hint(table, added, self.connection) if is_written else ""
        return Effect(EXPAND, what, table, (added.column,), is_needed=True, work=work, hint=hint)

    def _read(self, model: ModelState, expressions: Sequence[Any]) -> tuple[str, ...]:
        """The columns that are read; none, which stands for the whole table, where nobody knows."""
        names = fields_in(expressions)
        columns = [self.column(model, name) for name in sorted(names or ()) if name in model.fields]
        return tuple(columns) if names is not None and len(columns) == len(names) else ()

    def _required(self, table: str, column: str) -> Effect:
        """Code that does not know the column cannot insert rows any more; reading goes on."""
        what = f"adds {table}.{column}, which has no default in the database, so that others cannot insert"
        remedy = (
            "Give the new field a db_default, or let it be null, and recreate the migration: one more"
            " after it does not help."
        )
        return Effect(CONTRACT, what, table, mark=column, is_needed=True, remedy=remedy)

    def remove_field(self) -> Iterator[Effect]:
        model = self.model(self.before, self.operation.model_name)
        if model is None:
            return
        table, removed = self.table(model), bound(model, self.operation.name)
        if removed.many_to_many:
            if between := self.between(model, removed.name, removed):
                yield Effect(CONTRACT, f"drops the table {between}", between)
        else:
            yield dropped(table, removed.column, is_optional=is_optional(removed))

    def rename_field(self) -> Iterator[Effect]:
        old, new = (self.model(state, self.operation.model_name) for state in (self.before, self.after))
        if not old or not new:
            return
        was, is_now = bound(old, self.operation.old_name), bound(new, self.operation.new_name)
        if was.many_to_many:
            yield from self._rename_table(
                self.between(old, was.name, was), self.between(new, is_now.name, is_now)
            )
        else:
            yield from renamed(self.table(old), was.column, is_now.column)

    def alter_field(self) -> Iterator[Effect]:
        old, new = (self.model(state, self.operation.model_name) for state in (self.before, self.after))
        if not old or not new:
            return
        name, table = self.operation.name, self.table(old)
        was, is_now = self._bound(self.before, old, name), self._bound(self.after, new, name)
        if was.many_to_many and is_now.many_to_many:
            yield from self._alter_between(
                self.between(old, name, was), self.between(new, name, is_now), was, is_now
            )
        elif was.many_to_many or is_now.many_to_many:
            yield changed(table, is_now.column, f"turns {name} into another kind of field")
        else:
            kind = self._only_kind((self.before, was), (self.after, is_now))
            yield from alterations(table, was, is_now, self.connection, kind)

    def _only_kind(self, *fields: tuple[ProjectState, Any]) -> str:
        """The type of a relation's column, where another field that is none takes its place, or gives it."""
        kinds = [self._kind(state, field) for state, field in fields if field.remote_field]
        return kinds[0] if len(kinds) == 1 else ""

    def _kind(self, state: ProjectState, relation: Any) -> str:
        """The type that the key has to which it points; empty where that is not in the state."""
        app, _, name = related(relation).partition(".")
        target = state.models.get((app, name))
        fields = [bound(target, each) for each in target.fields] if target else []
        wanted = relation.remote_field.field_name
        key = next((each for each in fields if (each.name == wanted if wanted else each.primary_key)), None)
        if key is None:
            return ""
        return self._kind(state, key) if key.remote_field else str(key.rel_db_type(self.connection))

    def _alter_between(self, old: str, new: str, was: Any, is_now: Any) -> Iterator[Effect]:
        yield from self._rename_table(old, new)
        if old and related(was) != related(is_now):
            yield Effect(CONTRACT, f"lets {new} point to another table", old, is_needed=True)

    # Indexes and constraints

    def add_index(self) -> Iterator[Effect]:
        model = self.model(self.after, self.operation.model_name)
        if model is None:
            return
        table, index = self.table(model), self.operation.index
        work = "" if type(self.operation).__name__.endswith("Concurrently") else INDEX
        parts = self._computed(index)
        if all(is_total(part, self.connection.vendor) for part in parts):
            hint = self._index_hint(model, index)
            yield Effect(EXPAND, f"adds an index to {table}", table, work=work, hint=hint)
            return
        what = f"adds {index.name} to {table}, which perhaps cannot be computed of all that others write"
        columns, mark = self._read(model, parts), index_mark(index)
        yield Effect(CONTRACT, what, table, columns, mark, work=work, remedy=COMPUTED)

    def _computed(self, index: models.Index) -> list[Any]:
        """What the database computes of each row for an index; Django leaves out what it does not know."""
        features = self.connection.features
        parts = [*index.expressions, *([index.condition] if index.condition else [])]
        is_made = (not index.contains_expressions or features.supports_expression_indexes) and (
            not index.condition or features.supports_partial_indexes
        )
        return parts if is_made else []

    def _index_hint(self, model: ModelState, index: models.Index) -> str:
        if type(index).__name__ not in ("Index", "BTreeIndex"):
            return ""
        texts = [expression for expression in index.expressions if is_text(expression)]
        names = [*index.fields, *index.include, *sorted(fields_in(texts) or ())]
        names = [name.removeprefix("-") for name in names]
        fields = [bound(model, name) for name in names if name in model.fields]
        hints = (long_text_hint(self.table(model), field, self.connection) for field in fields)
        return "; ".join(filter(None, hints))

    def remove_index(self) -> Iterator[Effect]:
        if model := self.model(self.before, self.operation.model_name):
            table = self.table(model)
            yield Effect(EXPAND, f"drops an index of {table}", table)

    def rename_index(self) -> Iterator[Effect]:
        if model := self.model(self.before, self.operation.model_name):
            table = self.table(model)
            yield Effect(EXPAND, f"renames an index of {table}", table)

    def alter_together(self) -> Iterator[Effect]:
        operation = self.operation
        old, new = (self.model(state, operation.name) for state in (self.before, self.after))
        if not old or not new:
            return
        was, is_now = (set(map(tuple, m.options.get(operation.option_name) or ())) for m in (old, new))
        table = self.table(new)
        for names in sorted(is_now - was):
            columns = tuple(self.column(new, name) for name in names)
            if operation.option_name == "unique_together":
                mark, is_for_all = unique_mark(columns), any(is_filled(bound(new, n)) for n in names)
                yield unique(table, columns, mark, is_for_all=is_for_all)
            else:
                yield Effect(EXPAND, f"adds an index to {table}", table, columns, work=INDEX)
        if was - is_now:
            yield Effect(EXPAND, f"loosens {table}", table, is_needed=True)

    def add_constraint(self) -> Iterator[Effect]:
        model = self.model(self.after, self.operation.model_name)
        if model is None:
            return
        table, constraint = self.table(model), self.operation.constraint
        mark = constraint_mark(constraint, {name: self.column(model, name) for name in model.fields})
        is_unique = isinstance(constraint, models.UniqueConstraint)
        if is_unique and constraint.fields and constraint.nulls_distinct is not False:
            yield self._unique(model, constraint, mark)
        else:
            work = INDEX if is_unique else SCAN
            what = f"lets {table} accept only what fits the constraint {constraint.name}"
            yield Effect(CONTRACT, what, table, self._passing(model, constraint), mark, work=work)

    def _unique(self, model: ModelState, constraint: Any, mark: str) -> Effect:
        """Who leaves a column out inserts null, and nulls differ; or what the database has for it."""
        columns = tuple(self.column(model, name) for name in constraint.fields)
        is_for_all = any(is_filled(bound(model, name)) for name in constraint.fields)
        effect = unique(self.table(model), columns, mark, is_for_all=is_for_all)
        if constraint.condition is None:
            return effect
        # Who writes what the condition reads brings a row under it.
        read = self._read(model, [constraint.condition])
        what = f"{effect.what} where the condition of {constraint.name} holds"
        return replace(effect, what=what, columns=tuple(dict.fromkeys([*columns, *read])) if read else ())

    def _passing(self, model: ModelState, constraint: Any) -> tuple[str, ...]:
        """The columns of one that null passes, so that it is nothing to code which knows none of them."""
        names = passing_fields(constraint) or ()
        fields = [bound(model, name) for name in sorted(names) if name in model.fields]
        if not fields or len(fields) != len(names) or any(map(is_filled, fields)):
            return ()
        return tuple(field.column for field in fields)

    def remove_constraint(self) -> Iterator[Effect]:
        if model := self.model(self.before, self.operation.model_name):
            table = self.table(model)
            yield Effect(EXPAND, f"drops the constraint {self.operation.name}", table, is_needed=True)

    def validate_constraint(self) -> Iterator[Effect]:
        if model := self.model(self.before, self.operation.model_name):
            yield Effect(EXPAND, f"checks the rows of {self.table(model)}", self.table(model))

    # All else

    def separate(self) -> Iterator[Effect]:
        """Only what is done to the database counts, with the state that this part makes of it."""
        state = self.before
        for operation in self.operation.database_operations:
            reading = Reading(operation, self.app_label, state, self.connection)
            yield from reading.effects()
            state = reading.after

    def run(self) -> Iterator[Effect]:
        is_here = router.allow_migrate(self.connection.alias, self.app_label, **self.operation.hints)
        if isinstance(self.operation, RunPython):
            is_nothing, what = self.operation.code is RunPython.noop, "runs code with an unknown effect"
        else:
            is_nothing, what = not self.operation.sql, "runs SQL with an unknown effect"
        if is_here and not is_nothing:
            yield Effect(OPAQUE, what, is_needed=True)

    def extend(self) -> Iterator[Effect]:
        yield Effect(EXPAND, "adds to what the database knows", is_needed=True)

    def nothing(self) -> Iterator[Effect]:
        yield from ()


#: Django's own operations; those of ``contrib.postgres`` by their names, which need a driver to be imported.
_READERS: Mapping[str, Callable[[Reading], Iterator[Effect]]] = {
    "CreateModel": Reading.create_model,
    "DeleteModel": Reading.delete_model,
    "RenameModel": Reading.rename_model,
    "AlterModelTable": Reading.alter_table,
    "AlterOrderWithRespectTo": Reading.alter_order,
    "AddField": Reading.add_field,
    "RemoveField": Reading.remove_field,
    "RenameField": Reading.rename_field,
    "AlterField": Reading.alter_field,
    "AddIndex": Reading.add_index,
    "AddIndexConcurrently": Reading.add_index,
    "RemoveIndex": Reading.remove_index,
    "RemoveIndexConcurrently": Reading.remove_index,
    "RenameIndex": Reading.rename_index,
    "AlterUniqueTogether": Reading.alter_together,
    "AlterIndexTogether": Reading.alter_together,
    "AddConstraint": Reading.add_constraint,
    "AddConstraintNotValid": Reading.add_constraint,
    "ValidateConstraint": Reading.validate_constraint,
    "RemoveConstraint": Reading.remove_constraint,
    "SeparateDatabaseAndState": Reading.separate,
    "RunPython": Reading.run,
    "RunSQL": Reading.run,
    **dict.fromkeys(
        (
            *("CreateExtension", "BloomExtension", "BtreeGinExtension", "BtreeGistExtension"),
            *("CITextExtension", "CryptoExtension", "HStoreExtension", "TrigramExtension"),
            *("UnaccentExtension", "CreateCollation"),
        ),
        Reading.extend,
    ),
    **dict.fromkeys(
        ("AlterConstraint", "AlterModelManagers", "AlterModelOptions", "AlterModelTableComment"),
        Reading.nothing,
    ),
}
