"""What the deployer has to know of the site's settings."""

from __future__ import annotations

import platform
from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.db import connections


def describe() -> dict[str, Any]:
    """The settings that deployment depends on, as JSON values; asks no database."""
    header = settings.SECURE_PROXY_SSL_HEADER
    return {
        "installed_apps": [app.name for app in apps.get_app_configs()],
        "allowed_hosts": list(settings.ALLOWED_HOSTS),
        "debug": bool(settings.DEBUG),
        "ssl_header": list(header) if header else None,
        "ssl_redirect": bool(settings.SECURE_SSL_REDIRECT),
        "static_root": _path(settings.STATIC_ROOT),
        "media_root": _path(settings.MEDIA_ROOT),
        "databases": {alias: connections[alias].vendor for alias in connections},
        "python": platform.python_version(),
        "django": django.get_version(),
    }


def _path(value: object) -> str | None:
    return str(value) if value else None
