"""The migrations that are pending, and what each would do to the code that is running."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from django.apps import apps
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from .databases import place, sqlite_file
from .effects import Judged
from .operations import judge_operation, judge_reversal
from .owners import TABLE, owners
from .table_sizes import hint, row_counts

Key = tuple[str, str]


@dataclass(frozen=True)
class Request:
    """What a ``migrate`` command line asks for. ``is_for_all`` without an app: everything that is pending."""

    alias: str
    app_label: str | None
    name: str | None
    is_dry: bool
    is_fake: bool

    @property
    def is_for_all(self) -> bool:
        return self.app_label is None


def read_command(command: Sequence[str]) -> Request:
    """The command's own parser reads it; what it refuses, it refuses itself when it runs."""
    name, *arguments = command
    found = get_commands().get(name)
    loaded = load_command_class(found, name) if isinstance(found, str) else found
    if not isinstance(loaded, BaseCommand):
        return Request(DEFAULT_DB_ALIAS, None, None, is_dry=False, is_fake=False)
    options = vars(loaded.create_parser("manage.py", name).parse_args(arguments))
    is_dry = any(options.get(option) for option in ("plan", "check_unapplied", "prune"))
    return Request(
        alias=options.get("database") or DEFAULT_DB_ALIAS,
        app_label=options.get("app_label"),
        name=options.get("migration_name"),
        is_dry=is_dry,
        is_fake=bool(options.get("fake")),
    )


def plan_migrations(command: Sequence[str]) -> dict[str, Any]:
    """What a ``migrate`` command would do.

    ``database`` (alias), ``place``, ``owners``; ``is_for_all``; ``is_empty``: nothing was made in the
    database so far; ``conflicts``: by app, leaf nodes that are several; ``ahead``: migrations that are
    applied and that this code lacks; ``migrations``: in order, each with ``name``, ``needs`` (others of
    them), ``operations`` and ``is_whole``: should it fail, nothing of it stays.
    """
    request = read_command(command)
    connection = connections[request.alias]
    where = place(connection)
    with _unmade(connection):
        return {"database": request.alias, "place": where, **_plan(connection, request)}


def unmigrated(commands: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """By alias, what is pending in databases to which none of these ``migrate`` commands goes.

    Only where routers send models there and to no database that is migrated: of another one nobody knows
    whether it is the site's to change. One that does not answer is left out.
    """
    migrated = {read_command(command).alias for command in commands}
    found = {}
    for alias in connections if router.routers else ():
        if alias not in migrated and (apps_there := _apps_only_in(alias, migrated)):
            with suppress(DatabaseError), _unmade(connections[alias]):
                executor = MigrationExecutor(connections[alias])
                plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
                if names := [f"{m.app_label}.{m.name}" for m, _ in plan if m.app_label in apps_there]:
                    found[alias] = names
    return found


def _apps_only_in(alias: str, others: Collection[str]) -> set[str]:
    return {
        model._meta.app_label
        for model in apps.get_models()
        if model._meta.can_migrate(connections[alias])
        and router.allow_migrate_model(alias, model)
        and not any(router.allow_migrate_model(other, model) for other in others)
    }


@contextmanager
def _unmade(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """SQLite makes a file by looking for it; where there is none, one in memory is as empty."""
    name, file = connection.settings_dict["NAME"], sqlite_file(connection)
    if file is None or file.exists() or not file.parent.is_dir():
        yield
        return
    connection.close()
    connection.settings_dict["NAME"] = ":memory:"
    try:
        yield
    finally:
        connection.settings_dict["NAME"] = name
        connection.close()


def _plan(connection: BaseDatabaseWrapper, request: Request) -> dict[str, Any]:
    connection.prepare_database()
    executor = MigrationExecutor(connection)
    conflicts = executor.loader.detect_conflicts()
    is_idle = request.is_dry or conflicts
    pending = [] if is_idle else _pending(executor, request)
    return {
        "owners": owners(connection),
        "is_for_all": request.is_for_all,
        "is_empty": _is_empty(connection),
        "conflicts": {app: sorted(names) for app, names in conflicts.items()},
        "ahead": [] if request.is_dry else ahead(executor.loader),
        "migrations": pending,
    }


def _is_empty(connection: BaseDatabaseWrapper) -> bool:
    """Also where a deployment has failed that had signed it, and applied nothing."""
    recorder = MigrationRecorder(connection)
    own = {TABLE, recorder.Migration._meta.db_table}
    return own.issuperset(connection.introspection.table_names()) and not recorder.applied_migrations()


def _pending(executor: MigrationExecutor, request: Request) -> list[dict[str, Any]]:
    steps = executor.migration_plan(_goals(executor.loader, request))
    if request.is_fake:
        judged: list[tuple[Migration, list[Judged]]] = [(migration, []) for migration, _ in steps]
    else:
        judged = _with_hints(executor.connection, _judge(executor, steps))
    names = [f"{migration.app_label}.{migration.name}" for migration, _ in judged]
    return [
        {
            "name": f"{migration.app_label}.{migration.name}",
            "needs": needs(executor.loader, migration, names),
            "is_whole": migration.atomic and executor.connection.features.can_rollback_ddl,
            "operations": [operation.as_dict() for operation in operations],
        }
        for migration, operations in judged
    ]


def _goals(loader: MigrationLoader, request: Request) -> list[tuple[str, str | None]]:
    app, name = request.app_label, request.name
    if app is None or name is None:
        return [key for key in loader.graph.leaf_nodes() if app in (None, key[0])]
    if name == "zero":
        return [(app, None)]
    return [(app, loader.get_migration_by_prefix(app, name).name)]


def _judge(
    executor: MigrationExecutor, steps: Iterable[tuple[Migration, bool]]
) -> list[tuple[Migration, list[Judged]]]:
    state = executor._create_project_state(with_applied_migrations=True)  # type: ignore[attr-defined]
    found = []
    for migration, is_backwards in steps:
        operations = []
        for operation in migration.operations:
            if is_backwards:
                operations.append(judge_reversal(operation))
            else:
                operations.append(judge_operation(operation, migration.app_label, state, executor.connection))
                operation.state_forwards(migration.app_label, state)
        found.append((migration, operations))
    return found


def _with_hints(
    connection: BaseDatabaseWrapper, judged: Sequence[tuple[Migration, list[Judged]]]
) -> list[tuple[Migration, list[Judged]]]:
    """Of large tables, what the wait will be; and what the effects hint at."""
    effects = [effect for _, operations in judged for each in operations for effect in each.effects]
    rows = row_counts(connection, {effect.table for effect in effects if effect.work})

    def told(operation: Judged) -> Judged:
        hints = [hint(connection.vendor, e.table, e.work, rows.get(e.table, 0)) for e in operation.effects]
        hints += [effect.hint for effect in operation.effects]
        return replace(operation, hint="; ".join(dict.fromkeys(filter(None, hints))))

    return [(migration, [told(operation) for operation in operations]) for migration, operations in judged]


def needs(loader: MigrationLoader, migration: Migration, names: Collection[str]) -> list[str]:
    """Those of the ``names`` that a migration comes directly after."""
    parents = loader.graph.node_map[migration.app_label, migration.name].parents
    return sorted({".".join(parent.key) for parent in parents}.intersection(names))


#: As ``squashmigrations`` names what it makes: behind this, the last one of its parts.
_SQUASHED = re.compile(r"_squashed_(\d+)")


def ahead(loader: MigrationLoader) -> list[str]:
    """Applied migrations of this site's apps that this code does not have.

    What squashing left behind in the records does not count.
    """
    # Not the loader's: to a squashed one whose parts are applied it has no record.
    assert loader.connection is not None
    applied: dict[Key, Any] = dict(MigrationRecorder(loader.connection).applied_migrations())
    replaced = {key for migration in loader.replacements.values() for key in migration.replaces}
    known = loader.disk_migrations.keys() | replaced
    found: list[str] = []
    wholes: list[Key] = []
    for key in sorted(applied, key=lambda each: applied[each].pk, reverse=True):
        if key in known:
            wholes.append(key)
        elif key[0] in loader.migrated_apps and not any(_has_squashed(loader, each, key) for each in wholes):
            found.append(".".join(key))
    return found[::-1]


def _has_squashed(loader: MigrationLoader, whole: Key, part: Key) -> bool:
    """Whether one that was recorded later may be what became of a part, though it does not say so any more.

    A branch that is not here has no such: the first migration of its app is older, and none is squashed.
    """
    if whole[0] != part[0]:
        return False
    last, number = _SQUASHED.search(whole[1]), re.match(r"\d+", part[1])
    if last and number:
        return int(number[0]) <= int(last[1])
    migration = loader.disk_migrations.get(whole)
    return migration is not None and all(app != whole[0] for app, _ in migration.dependencies)
