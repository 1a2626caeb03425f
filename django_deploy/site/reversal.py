"""Migrations that are taken back, by the code that has their files: what they had done, what that loses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.apps import apps
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import DatabaseError, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration, RunPython
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ModelState, ProjectState

from .columns import bound
from .databases import place
from .effects import Judged
from .operations import Reading, judge_operation, words
from .row_counts import COUNT, value

_FILLED = "SELECT count({column}) FROM {table}"

#: The functions that count the characters of a text.
_LONGER = "SELECT count(*) FROM {{table}} WHERE {function}({{column}}) > %s"
_LENGTH = {"mysql": "char_length"}


@dataclass(frozen=True)
class Loss:
    """What taking back one operation loses; ``rows`` None: nobody can count it, or nothing is lost."""

    migration: str
    words: str
    what: str
    rows: int | None = None


class CannotMove(Exception):
    """This code has not the files of the migrations."""


def judge_applied(alias: str, names: Sequence[str]) -> dict[str, Any]:
    """What these migrations have done, as of those that are pending (``migrations.plan_migrations``).

    ``lacks``: those whose files this code does not have. What one of them has squashed is told with that one,
    which cannot be taken back where a part of it is to stay.
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
            "needs": _needs(executor.loader, migration, wanted),
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
    """What a migration has squashed."""
    app, _, migration = name.partition(".")
    return {".".join(key) for key in loader.graph.nodes[app, migration].replaces}


def _judged(migration: Migration, before: ProjectState, connection: BaseDatabaseWrapper) -> Iterator[Judged]:
    for operation, state in _states(migration, before):
        yield judge_operation(operation, migration.app_label, state, connection)


def losses(alias: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """What taking these back would lose, in the order in which it would happen."""
    connection = connections[alias]
    executor = MigrationExecutor(connection)
    found = [
        Loss(_name(migration), words(operation), *_loss(operation, migration.app_label, state, connection))
        for migration, before in _walk(executor, set(names))
        for operation, state in _states(migration, before)
    ]
    return [asdict(loss) for loss in reversed(found)]


def move(alias: str, names: Sequence[str], *, backwards: bool) -> None:
    """Take these migrations back, or apply them again, and no others. Raises ``CannotMove``."""
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
    """As ``migrate`` does it, with its signals."""
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
        what = "Applied" if action == "apply_success" else "Took back"
        print(f"{what} {migration}", flush=True)


def _walk(executor: MigrationExecutor, names: Collection[str]) -> Iterator[tuple[Migration, ProjectState]]:
    """Those migrations in their order, each with the state before it, which stays as it is."""
    state = ProjectState(real_apps=executor.loader.unmigrated_apps)
    leaves = executor.loader.graph.leaf_nodes()
    for migration, _ in executor.migration_plan(leaves, clean_start=True):
        if _name(migration) in names:
            yield migration, state.clone()
        migration.mutate_state(state, preserve=False)


def _states(migration: Migration, before: ProjectState) -> Iterator[tuple[Any, ProjectState]]:
    """Its operations, each with the state before it; that is gone with the next one."""
    for operation in migration.operations:
        yield operation, before
        operation.state_forwards(migration.app_label, before)


def _name(migration: Migration) -> str:
    return f"{migration.app_label}.{migration.name}"


def _names(loader: MigrationLoader) -> set[str]:
    return {f"{app}.{name}" for app, name in loader.graph.nodes}


def _needs(loader: MigrationLoader, migration: Migration, names: Collection[str]) -> list[str]:
    parents = loader.graph.node_map[migration.app_label, migration.name].parents
    found = (f"{parent.key[0]}.{parent.key[1]}" for parent in parents)
    return sorted(name for name in found if name in names)


# What is lost


def _loss(
    operation: Any, app_label: str, before: ProjectState, connection: BaseDatabaseWrapper
) -> tuple[str, int | None]:
    """In words, and how many rows or values that is."""
    tell = _LOSSES.get(type(operation).__name__)
    return tell(Reading(operation, app_label, before, connection)) if tell else ("", None)


def _drop_table(reading: Reading) -> tuple[str, int | None]:
    model = reading.model(reading.after, reading.operation.name)
    return _rows_of(reading, reading.table(model)) if model else ("", None)


def _rows_of(reading: Reading, table: str) -> tuple[str, int | None]:
    return f"the rows of {table}", _counted(reading.connection, COUNT, table)


def _drop_column(reading: Reading) -> tuple[str, int | None]:
    model = reading.model(reading.after, reading.operation.model_name)
    if model is None:
        return "", None
    name, field = reading.operation.name, reading.operation.field
    if isinstance(field, models.ManyToManyField):
        between = reading.between(model, name, field)
        return _rows_of(reading, between) if between else ("", None)
    table, column = reading.table(model), reading.column(model, name)
    return f"the values of {table}.{column}", _counted(reading.connection, _FILLED, table, column)


def _narrow(reading: Reading) -> tuple[str, int | None]:
    model = reading.model(reading.after, reading.operation.model_name)
    if model is None:
        return "", None
    name = reading.operation.name
    old = reading.before.models[reading.app_label, model.name.lower()].fields[name]
    was, now = (getattr(field, "max_length", None) for field in (old, reading.operation.field))
    if was is None or (now is not None and now <= was):
        return "", None
    table, column = reading.table(model), str(bound(model, name).column)
    query = _LONGER.format(function=_LENGTH.get(reading.connection.vendor, "length"))
    what = f"values of {table}.{column} of more than {was} characters do not fit any more"
    return what, _counted(reading.connection, query, table, column, [was])


def _empty_table(reading: Reading) -> tuple[str, int | None]:
    model = reading.model(reading.before, reading.operation.name)
    return (f"{reading.table(model)} comes back empty" if model else ""), None


def _empty_column(reading: Reading) -> tuple[str, int | None]:
    model = reading.model(reading.before, reading.operation.model_name)
    name = reading.operation.name
    return (f"{reading.table(model)}.{name} comes back without its values" if model else ""), None


def _code(reading: Reading) -> tuple[str, int | None]:
    operation = reading.operation
    is_python = isinstance(operation, RunPython)
    if operation.reverse_code is RunPython.noop if is_python else not operation.reverse_sql:
        return "", None
    return "runs code that cannot be looked into", None


def _counted(
    connection: BaseDatabaseWrapper, query: str, table: str, column: str = "", arguments: Sequence[Any] = ()
) -> int | None:
    """None where a later migration has given it another name."""
    try:
        return int(value(connection, query, table, column, arguments))
    except DatabaseError:
        connection.close()
        return None


_LOSSES: Mapping[str, Callable[[Reading], tuple[str, int | None]]] = {
    "CreateModel": _drop_table,
    "DeleteModel": _empty_table,
    "AddField": _drop_column,
    "RemoveField": _empty_column,
    "AlterField": _narrow,
    "RunPython": _code,
    "RunSQL": _code,
}
