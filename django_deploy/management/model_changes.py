"""Whether the migrations here say all that the models say; asks no database."""

from __future__ import annotations

from pathlib import Path

from django.apps import AppConfig, apps
from django.core.management import load_command_class
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.exceptions import BadMigrationError, NodeNotFoundError
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ProjectState

from django_deploy.exceptions import DeployError


def check() -> None:
    """Raises ``DeployError`` for changes that no migration makes, and for apps with several last migrations.

    Apps that were installed from elsewhere are their authors' to keep in order.
    """
    labels = {app.label for app in apps.get_app_configs() if _is_own(app)}
    try:
        loader = MigrationLoader(None)
    except Exception as error:  # a migration is a module, and may raise anything at all
        is_told = isinstance(error, (BadMigrationError, NodeNotFoundError))
        why = str(error) if is_told else f"{type(error).__name__}: {error}"
        remedy = "Fix it. All of the traceback: manage.py showmigrations"
        raise DeployError(f"The migrations cannot be loaded: {why}", remedy=remedy) from None
    labels -= {label for label in labels & loader.unmigrated_apps if not _has_tables(label)}
    for app, names in loader.detect_conflicts().items():
        if app in labels:
            raise DeployError(
                f"The app {app!r} has several last migrations: {', '.join(sorted(names))}.",
                remedy=f"Make one that follows all of them: manage.py makemigrations --merge {app}.",
            )
    if missing := _missing(loader, labels):
        raise DeployError(
            f"Models have changed, and no migration says so: {'; '.join(missing)}.",
            remedy=f"Run: manage.py makemigrations {' '.join(sorted({m.split('.')[0] for m in missing}))}.",
        )


def _is_own(app: AppConfig) -> bool:
    """Its code is worked on here: the project's, or of a distribution that is installed as editable."""
    return not {"site-packages", "dist-packages"} & set(Path(app.path).parts)


def _has_tables(label: str) -> bool:
    """Where Django manages none, as for our own ``Deployment``, there is nothing to migrate."""
    return any(model._meta.managed for model in apps.get_app_config(label).get_models())


def _missing(loader: MigrationLoader, labels: set[str]) -> list[str]:
    """``app.name (Add field x to y)`` of each migration that is to be made."""
    command = load_command_class("django.core", "makemigrations")
    detector = getattr(command, "autodetector", MigrationAutodetector)(
        loader.project_state(),
        ProjectState.from_apps(apps),
        MigrationQuestioner(specified_apps=labels, dry_run=True),
    )
    # Without any, Django takes an app for one that wants none, and makes no tables for it.
    changes = detector.changes(
        graph=loader.graph, trim_to_apps=labels, convert_apps=labels & loader.unmigrated_apps
    )
    return [
        f"{app}.{migration.name} ({', '.join(str(o.describe()) for o in migration.operations)})"
        for app in sorted(labels & changes.keys())
        for migration in changes[app]
    ]
