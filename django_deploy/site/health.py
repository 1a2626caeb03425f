"""A view that tells whether this process can serve the site.

::

    from django_deploy.site.health import health

    urlpatterns = [path("healthz/", health), ...]

and ``"HEALTH_CHECK": "/healthz/"`` in the target: then a release gets traffic only once each of its
web processes, and of their workers, has answered 200. Who sends the token of
``settings.DEPLOY_HEALTH_TOKEN`` is told more.
"""

from __future__ import annotations

import logging
import os
import secrets
from hashlib import blake2b
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from .release import release

logger = logging.getLogger(__name__)

#: So that names of workers tell nothing of them.
_SALT = secrets.token_bytes(16)


@never_cache
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """``{"ok": true, "release": ID, "worker": NAME}`` with 200 when the default database answers, else 503.

    Anyone may ask, so the reason is only in the log. The id is null in development. The name is of this
    process, and means nothing but that it is another one than those with other names.

    Who has the token (``Authorization: Bearer TOKEN``) is told the same of each database, and which
    migrations are pending there: ``{"databases": {ALIAS: {"error": TEXT, "pending_migrations": [NAME]}}}``.
    """
    current = release()
    error = _error_of(connection)
    if error:
        logger.error("The default database does not answer.", exc_info=error)
    answer: dict[str, Any] = {
        "ok": not error,
        "release": current.id if current else None,
        "worker": _worker_name(os.getpid()),
    }
    if _has_token(request):
        answer["databases"] = {alias: _describe(connections[alias]) for alias in connections}
    return JsonResponse(answer, status=503 if error else 200)


def _worker_name(pid: int) -> str:
    """The same for all threads of a process, and another one after a fork, also of what was loaded before."""
    return blake2b(str(pid).encode(), key=_SALT, digest_size=8).hexdigest()


def _has_token(request: HttpRequest) -> bool:
    token: str = getattr(settings, "DEPLOY_HEALTH_TOKEN", "")
    return bool(token) and constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {token}")


def _describe(database: BaseDatabaseWrapper) -> dict[str, Any]:
    """Pending migrations are unknown (null) where the database does not answer."""
    if error := _error_of(database):
        return {"error": str(error).strip(), "pending_migrations": None}
    return {"error": "", "pending_migrations": _pending_migrations(database)}


def _error_of(database: BaseDatabaseWrapper) -> DatabaseError | None:
    if database.vendor == "unknown":  # the site has no database: nothing to ask
        return None
    try:
        with database.cursor() as cursor:
            cursor.execute(f"SELECT 1{database.features.bare_select_suffix}")
    except DatabaseError as error:
        return error
    return None


def _pending_migrations(database: BaseDatabaseWrapper) -> list[str]:
    if database.vendor == "unknown":
        return []
    executor = MigrationExecutor(database)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
