"""Asks a new process the health check over its own socket, before it gets traffic."""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Callable, NamedTuple, Optional

from .layout import RELEASE_ID
from .protocol import Failure
from .workers import workers_of

#: Seconds for one answer; the check as a whole has the target's TIMEOUT.
ANSWER_TIMEOUT = 10.0

#: Seconds for which the other workers behind a socket are waited for, or as long again as the first took.
WORKERS_PATIENCE = 5.0

#: Connections that are open at once, for each worker: who is busy with one leaves the next to another.
CONNECTIONS_EACH = 2

#: Addresses of this host that no other one has.
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._socket_path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._socket_path)


class Answered(NamedTuple):
    """Rightly, after ``seconds``; ``worker`` is what it calls itself (``site/health.py``), if it does."""

    status: int
    seconds: float
    worker: str


def for_site(wanted: dict[str, Any], site: dict[str, Any]) -> dict[str, Any]:
    """The check with what the site says of itself: a Host that it accepts, and that it is asked over TLS."""
    headers = dict(wanted["headers"])
    if site.get("ssl_header"):
        name, value = site["ssl_header"]
        headers.setdefault(name.replace("HTTP_", "", 1).replace("_", "-").title(), value)
    return {
        **wanted,
        "host": wanted["host"] or accepted_host(site.get("allowed_hosts", [])),
        "headers": headers,
    }


def accepted_host(allowed: list[str]) -> str:
    """A Host header that ALLOWED_HOSTS lets pass (django.http.request.validate_host)."""
    for pattern in allowed:
        if pattern != "*":
            return pattern.lstrip(".")
    return "localhost"


def check(
    address: str,
    socket_path: Optional[str],
    wanted: dict[str, Any],
    still_up: Callable[[], None],
    pause: Callable[[float], None],
) -> Answered:
    """Ask until the answer is right.

    ``wanted`` has ``path``, ``host``, ``status`` (None: see ``_is_right``), ``timeout`` and ``headers``, and
    perhaps the ``release`` that is to answer.
    ``still_up`` raises when the process has fallen. Raises ``Failure`` (``HealthCheckFailed``).
    """
    started = time.monotonic()
    deadline, answer = started + wanted["timeout"], "nothing"
    while True:
        try:
            status, body = _ask(address, socket_path, wanted)
        except (OSError, http.client.HTTPException) as error:
            status, answer = 0, f"{type(error).__name__}: {error}"
        else:
            other = _other_release(address, body, wanted.get("release"))
            if _is_right(status, wanted["status"]) and not other:
                return Answered(status, round(time.monotonic() - started, 3), _worker_in(body))
            answer = f"status {status} as the release {other}" if other else f"status {status}"
            if status >= 400 and time.monotonic() - started > 2.0:
                raise _failure(address, wanted, answer, body, status)
        if time.monotonic() > deadline:
            raise _failure(address, wanted, f"{answer}, for {wanted['timeout']:g} s", b"", status)
        still_up()
        pause(0.05)


def check_workers(
    address: str, socket_path: str, wanted: dict[str, Any], first: Answered, pause: Callable[[float], None]
) -> tuple[int, int]:
    """Ask until each worker behind a socket has answered rightly, as the ``first`` has; how many did, of all.

    Where that one has no name, or the system does not show who listens, it is all that can be known. Raises
    ``Failure`` (``HealthCheckFailed``) where one has only answered wrongly.
    """
    until = time.monotonic() + max(WORKERS_PATIENCE, first.seconds)
    heard, wrong = {first.worker}, None
    while True:
        there = len(workers_of(socket_path)) if first.worker else 0
        if there <= len(heard):
            return len(heard), len(heard)
        if time.monotonic() > until:
            break
        for status, body in _ask_at_once(socket_path, wanted, CONNECTIONS_EACH * there, until):
            if _is_right(status, wanted["status"]):
                heard.add(_worker_in(body))
            else:
                wrong = _failure(address, wanted, f"status {status} from one of its workers", body, status)
        pause(0.05)
    if wrong is not None:
        raise wrong
    return len(heard), there


def _ask_at_once(
    socket_path: str, wanted: dict[str, Any], count: int, until: float
) -> Iterator[tuple[int, bytes]]:
    """The answers, if they come in time, to so many requests, all of which are there before one is read."""
    connections = [UnixConnection(socket_path, ANSWER_TIMEOUT) for _ in range(count)]
    try:
        asked = [connection for connection in connections if _is_asked(connection, wanted)]
        for connection in asked:
            connection.sock.settimeout(max(until - time.monotonic(), 0.1))
            with suppress(OSError, http.client.HTTPException):
                response = connection.getresponse()
                yield response.status, response.read(4096)
    finally:
        for connection in connections:
            connection.close()


def _is_asked(connection: UnixConnection, wanted: dict[str, Any]) -> bool:
    """False where the server does not take it."""
    try:
        connection.request("GET", wanted["path"], headers=_headers(wanted, "localhost"))
    except (OSError, http.client.HTTPException):
        return False
    return True


def _worker_in(body: bytes) -> str:
    """What a worker calls itself, if it does (``site/health.py``)."""
    return str(_said(body).get("worker") or "")


def _said(body: bytes) -> dict[str, Any]:
    """The answer, if it is such as ``site/health.py`` gives."""
    try:
        said = json.loads(body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def look(address: str, socket_path: Optional[str], wanted: dict[str, Any]) -> None:
    """Ask once, what answered rightly before. Raises ``Failure`` (``HealthCheckFailed``)."""
    try:
        status, body = _ask(address, socket_path, wanted)
    except (OSError, http.client.HTTPException) as error:
        raise _failure(address, wanted, f"{type(error).__name__}: {error}", b"") from None
    if not _is_right(status, wanted["status"]):
        raise _failure(address, wanted, f"status {status}", body, status)


def _other_release(address: str, body: bytes, wanted: Optional[str]) -> str:
    """The release that answers, if it says so (``site/health.py``) and is not the wanted one.

    At an address that is not of this host alone it may be another host's, whose turn is still to come.
    """
    if urllib.parse.urlsplit(address).hostname not in LOOPBACK:
        return ""
    said = _said(body).get("release")
    is_release = isinstance(said, str) and RELEASE_ID.fullmatch(said)
    return str(said) if wanted and is_release and said != wanted else ""


def _is_right(status: int, wanted: Optional[int]) -> bool:
    """The wanted status; without one, any but 5xx and 400, Django's answer to a Host it does not know."""
    return status == wanted if wanted is not None else status < 500 and status != 400


def _ask(address: str, socket_path: Optional[str], wanted: dict[str, Any]) -> tuple[int, bytes]:
    url = urllib.parse.urlsplit(address)
    connection: http.client.HTTPConnection
    if socket_path:
        connection = UnixConnection(socket_path, ANSWER_TIMEOUT)
    else:
        connection = http.client.HTTPConnection(url.netloc, timeout=ANSWER_TIMEOUT)
    try:
        path = urllib.parse.urlunsplit(("", "", url.path or "/", url.query, ""))
        headers = _headers(wanted, url.netloc)
        connection.request("GET", wanted["path"] if socket_path else path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read(4096)
    finally:
        connection.close()


def _headers(wanted: dict[str, Any], host: str) -> dict[str, str]:
    return {"Host": wanted["host"] or host, "User-Agent": "django-deploy", **wanted["headers"]}


def _failure(address: str, wanted: dict[str, Any], answer: str, body: bytes, status: int = 0) -> Failure:
    expected = f"status {wanted['status']}" if wanted["status"] else "any status but 400 and 5xx"
    return Failure(
        "HealthCheckFailed",
        f"{address} answered {answer}; expected {expected}",
        _remedy(status, wanted),
        lines=body.decode("utf-8", "replace").splitlines()[:10],
        status=status,
    )


def _remedy(status: int, wanted: dict[str, Any]) -> str:
    if status == 400:
        return f"Is {wanted['host']!r} in ALLOWED_HOSTS? Set HEALTH_CHECK's HOST to one that is."
    if 300 <= status < 400:
        return "It redirects: ask the final path, or set HEALTH_CHECK's STATUS."
    return "Does the path work here, with the target's SETTINGS_MODULE and ENV?"
