"""Why a page answers 500: with DEBUG off, Django's own LOGGING tells ADMINS only, who may be nobody."""

from __future__ import annotations

import traceback
from collections.abc import Mapping


def explain(path: str, host: str, headers: Mapping[str, str]) -> list[str]:
    """The traceback with which this process answers ``GET path``, line by line; none when it does answer."""
    from django.test import Client  # seldom needed, and slow to import

    client = Client(headers={**headers, "host": host})
    try:
        client.get(path)
    except Exception as error:  # whatever the site's view, middleware or template raises
        return "".join(traceback.format_exception(error)).splitlines()
    return []
