"""What a management command has done, as values.

Any command that migrates
    ``{"applied": ["app.0001_initial", ...], "unapplied": [...]}``, in the order in which it happened;
    those of a database other than ``default`` carry its alias: ``"app.0001_initial (other)"``. What
    was applied before a failure is there as well: it stays applied.
``collectstatic``
    ``{"copied": N, "unmodified": N, "post_processed": N}``
``fix_permissions``
    ``{"changed": N, "skipped": [PATH...], "created": N}``, see ``permissions.Outcome``.
Others
    ``{}``
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.signals import pre_migrate

if TYPE_CHECKING:
    from types import TracebackType

    from django.core.management import BaseCommand

    from .permissions import Outcome

#: App label and migration name.
Key = tuple[str, str]


class Results:
    """Watches one command; set ``command`` as soon as it is known. The result is there on leaving."""

    def __init__(self) -> None:
        self.command: BaseCommand | None = None
        self._before: dict[str, list[Key]] = {}
        self._after: dict[str, list[Key]] = {}

    def __enter__(self) -> Results:
        # Sent before the first migration runs, whichever command runs it on whichever database.
        pre_migrate.connect(self._remember, dispatch_uid=id(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        pre_migrate.disconnect(dispatch_uid=id(self))
        for alias in self._before:
            _leave_transaction(alias)
        self._after = {alias: _applied(alias) for alias in self._before}

    def _remember(self, *, using: str, **kwargs: Any) -> None:
        if using not in self._before:  # the signal is sent once for each app
            self._before[using] = _applied(using)

    def as_dict(self) -> dict[str, Any]:
        return {**self._migrations(), **_counts(self.command)}

    def _migrations(self) -> dict[str, list[str]]:
        if not self._before:
            return {}
        applied = _difference(self._after, self._before)
        unapplied = _difference(self._before, self._after)
        return {"applied": applied, **({"unapplied": unapplied[::-1]} if unapplied else {})}


def _leave_transaction(alias: str) -> None:
    """Django leaves one open where SQLite's rows do not fit to what a migration has made; it is lost."""
    if connections[alias].in_atomic_block:
        connections[alias].close()
        del connections[alias]


def _applied(alias: str) -> list[Key]:
    """The migrations that a database records, in the order in which they were applied."""
    try:
        recorded = MigrationRecorder(connections[alias]).applied_migrations()
    except DatabaseError:  # it went away: the command's own error tells
        return []
    return sorted(recorded, key=lambda key: recorded[key].pk)


def _difference(left: dict[str, list[Key]], right: dict[str, list[Key]]) -> list[str]:
    """What is in ``left`` only, by alias."""
    return [
        f"{app}.{name}" if alias == DEFAULT_DB_ALIAS else f"{app}.{name} ({alias})"
        for alias, keys in left.items()
        for app, name in keys
        if (app, name) not in right[alias]
    ]


def _counts(command: Any) -> dict[str, Any]:
    """What the two commands that keep accounts have counted; also classes derived from them."""
    if command is None:
        return {}
    if hasattr(command, "post_processed_files"):
        return {
            "copied": len(command.copied_files) + len(command.symlinked_files),
            "unmodified": len(command.unmodified_files),
            "post_processed": len(command.post_processed_files),
        }
    outcome: Outcome | None = getattr(command, "outcome", None)
    return {} if outcome is None else outcome.as_dict()
