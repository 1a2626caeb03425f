"""Takes migrations back, in a release that has their files; tells what they have done and what is lost."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.apps import apps
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import DatabaseError, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration, RunPython, SeparateDatabaseAndState
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ModelState, ProjectState

from .columns import alterations, bound, is_filled
from .databases import place
from .effects import CONTRACT, OPAQUE, Judged
from .migrations import needs
from .operations import Reading, judge_operation, words
from .row_counts import COUNT, value

_FILLED = "SELECT count({column}) FROM {table}"
_NULLS = "SELECT count(*) FROM {table} WHERE {column} IS NULL"

#: The values that are others once they have a type.
_CHANGED = "SELECT count(*) FROM {{table}} WHERE {{column}} <> CAST({{column}} AS {type})"

#: The functions that count the characters of a text.
_LONGER = "SELECT count(*) FROM {{table}} WHERE {function}({{column}}) > %s"
_LENGTH = {"mysql": "char_length"}


@dataclass(frozen=True)
class Loss:
    """What is lost when one operation is taken back.

    ``rows`` is how many rows or values that is, None if they cannot be counted, or if nothing is lost.
    """

    migration: str
    words: str
    what: str
    rows: int | None = None


class CannotMove(Exception):
    """This code does not have the files of the migrations."""


def judge_applied(alias: str, names: Sequence[str]) -> dict[str, Any]:
    """What these migrations have done, in the form of ``migrations.plan_migrations``.

    ``lacks`` are those of which this code does not have the files. Migrations that another one replaces
    (a squashed one) are part of that one, which cannot be taken back if some of its parts are to stay.
    """
    connection = connections[alias]
    executor = MigrationExecutor(connection)
    wanted = set(names) & _names(executor.loader)
    parts = {name: _replaced(executor.loader, name) for name in wanted}

    def is_whole(migration: Migration) -> bool:
        return parts[_name(migration)] <= set(names)

    found = [
        {
            "name": _name(migration),
            "needs": needs(executor.loader, migration, wanted),
            "is_whole": migration.atomic and connection.features.can_rollback_ddl,
            "operations": [
                {**judged.as_dict(), "reversible": judged.is_reversible and is_whole(migration)}
                for judged in _judged(migration, before, connection)
            ],
        }
        for migration, before in _walk(executor, wanted)
    ]
    lacks = [name for name in names if name not in wanted.union(*parts.values())]
    return {"place": place(connection), "lacks": lacks, "migrations": found}


def _replaced(loader: MigrationLoader, name: str) -> set[str]:
    """The names of the migrations that this one replaces, if it is a squashed one."""
    app, _, migration = name.partition(".")
    return {".".join(key) for key in loader.graph.nodes[app, migration].replaces}


def _judged(migration: Migration, before: ProjectState, connection: BaseDatabaseWrapper) -> Iterator[Judged]:
    for operation, state in _states(migration, before):
        yield judge_operation(operation, migration.app_label, state, connection)


def losses(alias: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """What would be lost if these migrations were taken back, in the order in which that would happen."""
    connection = connections[alias]
    executor = MigrationExecutor(connection)
    found = [
        Loss(_name(migration), words(operation), *told)
        for migration, before in _walk(executor, set(names))
        for whole, state in _states(migration, before)
        for operation, part in _parts(whole, migration.app_label, state)
        for told in _told(operation, migration.app_label, part, connection)
    ]
    return [asdict(loss) for loss in reversed(found)]


def move(alias: str, names: Sequence[str], *, backwards: bool) -> None:
    """Take these migrations back, or apply them again, and no others.

    Raises ``CannotMove`` if this code does not have their files.
    """
    connection = connections[alias]
    connection.prepare_database()
    executor = MigrationExecutor(connection, _tell)  # type: ignore[arg-type]
    applied = {f"{app}.{name}" for app, name in executor.loader.applied_migrations}
    wanted = [name for name in names if (name in applied) is backwards]
    if lacks := [name for name in wanted if name not in _names(executor.loader)]:
        raise CannotMove(f"this release has not the files of {', '.join(lacks)}")
    steps = [(migration, backwards) for migration, _ in _walk(executor, set(wanted))]
    if steps:
        _run(executor, steps[::-1] if backwards else steps)


def _run(executor: MigrationExecutor, steps: list[tuple[Migration, bool]]) -> None:
    """Do what ``migrate`` does, and send its signals."""
    alias = executor.connection.alias
    before = executor._create_project_state(with_applied_migrations=True)  # type: ignore[attr-defined]
    emit_pre_migrate_signal(1, False, alias, stdout=sys.stdout, apps=before.apps, plan=steps)
    after = executor.migrate(targets=[], plan=steps, state=before.clone())
    after.clear_delayed_apps_cache()
    keys = [(state.app_label, state.name_lower) for state in after.apps.real_models]
    with after.apps.bulk_update():
        for key in keys:
            after.apps.unregister_model(*key)
    after.apps.render_multiple([ModelState.from_model(apps.get_model(*key)) for key in keys])
    emit_post_migrate_signal(1, False, alias, stdout=sys.stdout, apps=after.apps, plan=steps)


def _tell(action: str, migration: Migration | None = None, fake: bool = False) -> None:
    if action in ("apply_success", "unapply_success"):
        what = "Applied" if action == "apply_success" else "Reversed"
        print(f"{what} {migration}", flush=True)


def _walk(executor: MigrationExecutor, names: Collection[str]) -> Iterator[tuple[Migration, ProjectState]]:
    """These migrations in their order, each with the state before it, which is the caller's to change."""
    state = ProjectState(real_apps=executor.loader.unmigrated_apps)
    leaves = executor.loader.graph.leaf_nodes()
    for migration, _ in executor.migration_plan(leaves, clean_start=True):
        if _name(migration) in names:
            yield migration, state.clone()
        migration.mutate_state(state, preserve=False)


def _states(migration: Migration, before: ProjectState) -> Iterator[tuple[Any, ProjectState]]:
    """A migration's operations, each with the state before it; ``before`` itself is changed on the way."""
    for operation in migration.operations:
        yield operation, before
        operation.state_forwards(migration.app_label, before)


def _name(migration: Migration) -> str:
    return f"{migration.app_label}.{migration.name}"


def _names(loader: MigrationLoader) -> set[str]:
    return {f"{app}.{name}" for app, name in loader.graph.nodes}


# What is lost


#: What is lost, in words, and how many rows or values that is.
Told = tuple[str, int | None]


def _parts(operation: Any, app_label: str, before: ProjectState) -> Iterator[tuple[Any, ProjectState]]:
    """The operation, or those that it wraps for the database, each with the state before it."""
    if not isinstance(operation, SeparateDatabaseAndState):
        yield operation, before
        return
    state = before.clone()
    for inner in operation.database_operations:
        yield from _parts(inner, app_label, state)
        inner.state_forwards(app_label, state)


def _told(
    operation: Any, app_label: str, before: ProjectState, connection: BaseDatabaseWrapper
) -> Sequence[Told]:
    """What is lost when the operation is taken back; one entry without words if that is nothing."""
    reading = Reading(operation, app_label, before, connection)
    tell = _LOSSES.get(type(operation).__name__)
    if tell is not _code and any(effect.category == OPAQUE for effect in reading.effects()):
        return [("has an unknown effect", None)]
    return (list(tell(reading)) if tell else []) or [("", None)]


def _drop_table(reading: Reading) -> Iterator[Told]:
    if model := reading.model(reading.after, reading.operation.name):
        yield _rows_of(reading, reading.table(model))


def _rows_of(reading: Reading, table: str) -> Told:
    return f"the rows of {table}", _counted(reading.connection, COUNT, table)


def _drop_column(reading: Reading) -> Iterator[Told]:
    model = reading.model(reading.after, reading.operation.model_name)
    if model is None:
        return
    name, field = reading.operation.name, reading.operation.field
    if not isinstance(field, models.ManyToManyField):
        yield _values_of(reading, reading.table(model), reading.column(model, name))
    elif between := reading.between(model, name, field):
        yield _rows_of(reading, between)


def _values_of(reading: Reading, table: str, column: str) -> Told:
    return f"the values of {table}.{column}", _counted(reading.connection, _FILLED, table, column)


def _alter_column(reading: Reading) -> Iterator[Told]:
    """Values that the column as it was before cannot hold, or can only hold as something else."""
    older, newer = (
        reading.model(state, reading.operation.model_name) for state in (reading.before, reading.after)
    )
    if older is None or newer is None:
        return
    was, is_now = (bound(model, reading.operation.name) for model in (older, newer))
    if was.many_to_many or is_now.many_to_many:
        return
    table = reading.table(newer)
    for effect in alterations(table, is_now, was, reading.connection):
        if effect.category != CONTRACT:
            continue
        if effect.mark == f"{was.column} not null":
            yield from _fill(reading, table, was, is_now)
        elif effect.mark.startswith(f"{was.column} is "):
            yield from _narrow(reading, table, was, is_now)


def _fill(reading: Reading, table: str, was: Any, is_now: Any) -> Iterator[Told]:
    rows = _counted(reading.connection, _NULLS, table, is_now.column)
    has_default = was.has_default() or is_filled(was) or (was.blank and was.empty_strings_allowed)
    why = "get its default" if has_default else "may not be null any more"
    if rows != 0:
        yield f"nulls of {table}.{is_now.column}, which {why}", rows


def _narrow(reading: Reading, table: str, was: Any, is_now: Any) -> Iterator[Told]:
    connection, column, most = reading.connection, is_now.column, was.max_length
    is_text = is_now.max_length is not None or isinstance(is_now, models.TextField)
    if is_text and most is not None:
        query = _LONGER.format(function=_LENGTH.get(connection.vendor, "length"))
        what = f"values of {table}.{column} of more than {most} characters do not fit any more"
        yield what, _counted(connection, query, table, column, [most])
        return
    # Databases differ in what they make of a text that is compared with something else.
    kind = was.db_type(connection)
    query = _CHANGED.format(type=kind if connection.vendor == "sqlite" else was.cast_db_type(connection))
    rows = None if is_text else _counted(connection, query, table, column)
    if rows != 0:
        yield f"values of {table}.{column} that {kind} cannot hold as they are", rows


def _alter_order(reading: Reading) -> Iterator[Told]:
    older, newer = (reading.model(state, reading.operation.name) for state in (reading.before, reading.after))
    if older is None or newer is None:
        return
    was, is_now = (model.options.get("order_with_respect_to") for model in (older, newer))
    if is_now and not was:
        yield _values_of(reading, reading.table(newer), "_order")
    elif was and not is_now:
        yield f"{reading.table(older)}._order comes back without its values", None


def _empty_table(reading: Reading) -> Iterator[Told]:
    if model := reading.model(reading.before, reading.operation.name):
        yield f"{reading.table(model)} comes back empty", None


def _empty_column(reading: Reading) -> Iterator[Told]:
    if model := reading.model(reading.before, reading.operation.model_name):
        yield f"{reading.table(model)}.{reading.operation.name} comes back without its values", None


def _code(reading: Reading) -> Iterator[Told]:
    operation = reading.operation
    is_python = isinstance(operation, RunPython)
    is_nothing = operation.reverse_code is RunPython.noop if is_python else not operation.reverse_sql
    if not is_nothing:
        yield "runs code with an unknown effect", None


def _counted(
    connection: BaseDatabaseWrapper, query: str, table: str, column: str = "", arguments: Sequence[Any] = ()
) -> int | None:
    """How many there are; None if that is not known, as a later migration has renamed what is asked for."""
    try:
        return int(value(connection, query, table, column, arguments))
    except DatabaseError:
        connection.close()
        return None


_LOSSES: Mapping[str, Callable[[Reading], Iterator[Told]]] = {
    "CreateModel": _drop_table,
    "DeleteModel": _empty_table,
    "AddField": _drop_column,
    "RemoveField": _empty_column,
    "AlterField": _alter_column,
    "AlterOrderWithRespectTo": _alter_order,
    "RunPython": _code,
    "RunSQL": _code,
}
