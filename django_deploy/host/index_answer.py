"""Whether a package index answers on this host, asked as the installers do: with its proxies and logins."""

from __future__ import annotations

import base64
import os
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

#: Seconds for the whole answer.
INDEX_TIMEOUT = 10.0

#: What uv and pip ask where nobody says anything.
DEFAULT_INDEX = "https://pypi.org/simple"

#: Where a host may say something else.
VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")


def ask_index(url: str, distribution: str) -> dict[str, Any]:
    """``address`` without credentials, ``status`` of the answer (null: there was none) and ``error``."""
    url = url or next(filter(None, map(os.environ.get, VARIABLES)), DEFAULT_INDEX)
    parts = urlsplit(url)
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    answer: dict[str, Any] = {"address": address, "status": None, "error": ""}
    request = urllib.request.Request(f"{address.rstrip('/')}/{quote(distribution)}/")
    request.add_header("User-Agent", "django-deploy")
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(user.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=INDEX_TIMEOUT) as response:
            answer["status"] = response.status
    except urllib.error.HTTPError as error:
        with error:
            answer["status"] = error.code
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        answer["error"] = str(getattr(reason, "strerror", None) or reason)[:500]
    return answer
