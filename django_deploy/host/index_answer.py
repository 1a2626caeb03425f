"""Whether a package index answers on this host, asked as the installers do: with its proxies and logins."""

from __future__ import annotations

import base64
import http.client
import os
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

#: Seconds for the whole answer.
INDEX_TIMEOUT = 10.0

#: Where a host may say something else.
VARIABLES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")


def ask_index(url: str, default: str, distribution: str) -> dict[str, Any]:
    """``address`` without credentials, ``status`` of the answer (null: there was none) and ``error``.

    ``url`` may be empty: then it is the host's own, or ``default``, which installers ask without any.
    """
    url = url or next(filter(None, map(os.environ.get, VARIABLES)), default)
    answer: dict[str, Any] = {"address": url.rpartition("@")[2], "status": None, "error": ""}
    try:
        parts = urlsplit(url)
        answer["address"] = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        request = _request(f"{answer['address'].rstrip('/')}/{quote(distribution)}/", parts)
        with urllib.request.build_opener(_Redirects).open(request, timeout=INDEX_TIMEOUT) as response:
            answer["status"] = response.status
    except urllib.error.HTTPError as error:
        with error:
            answer["status"] = error.code
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        answer["error"] = str(getattr(reason, "strerror", None) or reason)[:500]
    return answer


def _request(url: str, parts: SplitResult) -> urllib.request.Request:
    request = urllib.request.Request(url, headers={"User-Agent": "django-deploy"})
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = f"Basic {base64.b64encode(user.encode()).decode()}"
        request.add_unredirected_header("Authorization", login)
    return request


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Logs in again where the same server sends us on, and nowhere else."""

    def redirect_request(self, req: urllib.request.Request, *rest: Any) -> Any:
        following = super().redirect_request(req, *rest)
        login = req.get_header("Authorization")
        if following and login and (following.type, following.host) == (req.type, req.host):
            following.add_unredirected_header("Authorization", login)
        return following
