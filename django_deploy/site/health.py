"""A view that tells whether this process can serve the site.

::

    from django_deploy.site.health import health

    urlpatterns = [path("healthz/", health), ...]

and ``"HEALTH_CHECK": "/healthz/"`` in the target: then a release gets traffic only once each of its
web processes has answered 200.
"""

from __future__ import annotations

import logging

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from .release import release

logger = logging.getLogger(__name__)


@never_cache
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """``{"ok": true, "release": ID}`` with 200 when the default database answers, else 503.

    Anyone may ask, so the reason is only in the log. The id is null in development.
    """
    current = release()
    ok = _database_answers()
    answer = {"ok": ok, "release": current.id if current else None}
    return JsonResponse(answer, status=200 if ok else 503)


def _database_answers() -> bool:
    if connection.vendor == "unknown":  # the site has no database: nothing to ask
        return True
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT 1{connection.features.bare_select_suffix}")
    except DatabaseError:
        logger.exception("The default database does not answer.")
        return False
    return True
