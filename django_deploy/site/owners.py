"""Whose a database is: a table in it names the targets that migrate it.

A row counts only where it was written into this very database: in a copy it says where the copy comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.apps.registry import Apps
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.timezone import now

from .databases import fingerprint

TABLE = "django_deploy_site"


@dataclass(frozen=True)
class Owner:
    """A target that migrates a database; ``root`` and ``host`` say where it lives."""

    target: str
    root: str
    host: str


class Site(models.Model):
    """One target that has migrated this database. The table is made when it is needed, as Django's own is."""

    target = models.CharField(max_length=100, primary_key=True)
    root = models.CharField(max_length=500)
    host = models.CharField(max_length=200)
    database = models.CharField(max_length=64)
    migrated = models.DateTimeField(default=now)

    class Meta:
        """Kept out of the site's own models: no migration of theirs is to see it."""

        apps = Apps()
        app_label = "django_deploy"
        db_table = TABLE

    def __str__(self) -> str:
        return self.target


def owners(connection: BaseDatabaseWrapper) -> list[dict[str, Any]]:
    """Who has migrated this database so far."""
    if not _has_table(connection):
        return []
    here = fingerprint(connection, TABLE)
    rows = Site._base_manager.using(connection.alias).filter(database=here).order_by("target")
    return [
        {"target": row.target, "root": row.root, "host": row.host, "at": row.migrated.timestamp()}
        for row in rows
    ]


def sign(connection: BaseDatabaseWrapper, owner: Owner) -> None:
    """Write down that this target migrates this database; what a copy brought along goes."""
    if not _has_table(connection):
        with connection.schema_editor() as editor:
            editor.create_model(Site)
    here = fingerprint(connection, TABLE)
    rows = Site._base_manager.using(connection.alias)
    rows.exclude(database=here).delete()
    fields = {"root": owner.root, "host": owner.host, "database": here, "migrated": now()}
    rows.update_or_create(target=owner.target, defaults=fields)


def _has_table(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        return TABLE in connection.introspection.table_names(cursor)
