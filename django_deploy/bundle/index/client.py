"""The HTTP client of indexes: kept connections, credentials, proxies and certificates as pip has them."""

from __future__ import annotations

import gzip
import http.client
import ssl
import threading
from base64 import b64encode
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from django_deploy.bundle.index.credentials import Credentials
from django_deploy.bundle.index.sources import redact

if TYPE_CHECKING:
    from pathlib import Path

    from django_deploy.bundle.index.sources import Sources

MAX_REDIRECTS = 5

#: How much of a file is in memory at a time, in bytes.
_BLOCK = 1 << 18


class IndexFailure(Exception):
    """An index did not answer as it should; ``is_final`` when no other client would fare better."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


@dataclass(frozen=True)
class Response:
    """What a server answered, after redirects to ``url``; the body is empty where it went into a file."""

    status: int
    url: str
    content_type: str
    body: bytes


def shown(url: str) -> str:
    """An address for people: without user and password, and without a query, which may be a signature."""
    return redact(urlunsplit(urlsplit(url)._replace(query="", fragment="")))


class HttpClient:
    """GET over connections that are kept, one for each thread and server.

    Credentials come from the address, netrc or the keyring, proxies from pip's settings or the environment.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._credentials = Credentials(sources)
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._contexts_lock = threading.Lock()
        self._local = threading.local()
        self._connections: list[http.client.HTTPConnection] = []

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def get(self, url: str, accept: str = "*/*", *, into: Path | None = None) -> Response:
        """Follows redirects; raises ``IndexFailure`` when there is no answer.

        The body of a 200 is written to the file ``into``, if there is one: it may be large.
        """
        for _ in range(MAX_REDIRECTS + 1):
            response, location = self._ask(url, accept, into)
            if response.status not in (301, 302, 303, 307, 308) or not location:
                return response
            url = urljoin(url, location)
        raise IndexFailure(f"{shown(url)} redirects too often", is_final=True)

    def _ask(self, url: str, accept: str, into: Path | None) -> tuple[Response, str]:
        """The answer to one address and where it leads; a refusal is met with what the keyring has."""
        user = self._credentials.of(url)
        answer = self._request(url, accept, user, into)
        if answer[0].status not in (401, 403):
            return answer
        other = self._credentials.after_refusal(url)
        return self._request(url, accept, other, into) if other not in ("", user) else answer

    def _request(self, url: str, accept: str, user: str, into: Path | None) -> tuple[Response, str]:
        headers = {"Accept": accept, "User-Agent": "django-deploy"}
        headers["Accept-Encoding"] = "identity" if into else "gzip"
        if user:
            headers["Authorization"] = _basic(user)
        try:
            return self._exchange(url, headers, into)
        except (http.client.HTTPException, ConnectionError):
            pass  # a server may close a connection that was kept; a fresh one has no such excuse
        except OSError as error:
            raise _unreachable(url, error) from None
        try:
            return self._exchange(url, headers, into)
        except (http.client.HTTPException, OSError) as error:
            raise _unreachable(url, error) from None

    def _exchange(self, url: str, headers: dict[str, str], into: Path | None) -> tuple[Response, str]:
        parts = urlsplit(url)
        connection = self._connection(parts)
        target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        if parts.scheme == "http" and (proxy := self._proxy(parts)):
            target = redact(url)
            headers = headers | _proxy_authorization(proxy)
        try:
            connection.request("GET", target, headers=headers)
            answer = connection.getresponse()
            body = _read(answer, into)
        except BaseException:
            connection.close()
            raise
        kind = answer.headers.get("Content-Type", "")
        return Response(answer.status, url, kind, body), answer.headers.get("Location", "")

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        """This thread's connection to a server."""
        known: dict[str, http.client.HTTPConnection] = self._local.__dict__
        key = f"{parts.scheme}://{parts.hostname}:{parts.port}"
        if key not in known:
            known[key] = self._new_connection(parts)
            self._connections.append(known[key])
        return known[key]

    def _new_connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        host, proxy = parts.hostname or "", self._proxy(parts)
        timeout = self._sources.timeout
        if parts.scheme != "https":
            place = (proxy.hostname or "", proxy.port) if proxy else (host, parts.port)
            return http.client.HTTPConnection(*place, timeout=timeout)
        context = self._tls_context(parts)
        if proxy is None:
            return http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=context)
        connection = http.client.HTTPSConnection(
            proxy.hostname or "", proxy.port, timeout=timeout, context=context
        )
        connection.set_tunnel(host, parts.port, _proxy_authorization(proxy))
        return connection

    def _proxy(self, parts: SplitResult) -> SplitResult | None:
        if proxy_bypass(parts.netloc.rpartition("@")[2]):
            return None
        environment = getproxies()
        address = self._sources.proxy or environment.get(parts.scheme) or environment.get("all")
        return urlsplit(address if "//" in address else f"//{address}") if address else None

    def _tls_context(self, parts: SplitResult) -> ssl.SSLContext:
        """One for all connections to servers that must prove who they are: to make one takes 50 ms."""
        hosts = {parts.hostname, f"{parts.hostname}:{parts.port}"}
        is_trusted = not hosts.isdisjoint(self._sources.trusted_hosts)
        with self._contexts_lock:
            if is_trusted not in self._contexts:
                self._contexts[is_trusted] = _make_context(self._sources, is_trusted=is_trusted)
            return self._contexts[is_trusted]


def _make_context(sources: Sources, *, is_trusted: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=sources.cert or None)
        if sources.client_cert:
            # The empty passphrase keeps OpenSSL from asking for one on the terminal.
            context.load_cert_chain(sources.client_cert, password="")
    except OSError as error:
        files = " and ".join(filter(None, (sources.cert, sources.client_cert)))
        message = f"the certificates of pip's configuration, {files}, cannot be used: {error}"
        raise IndexFailure(message) from None
    if not sources.cert:
        # Some builds of Python find no certificates of the system; pip brings its own.
        from pip._vendor import certifi

        context.load_verify_locations(certifi.where())
    if is_trusted:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _read(answer: http.client.HTTPResponse, into: Path | None) -> bytes:
    """The body, or nothing when it went into the file."""
    if into is None or answer.status != 200:
        body = answer.read()
        return gzip.decompress(body) if answer.headers.get("Content-Encoding") == "gzip" else body
    with into.open("wb") as file:
        _copy(answer, file)
    return b""


def _copy(answer: http.client.HTTPResponse, file: IO[bytes]) -> None:
    while block := answer.read(_BLOCK):
        file.write(block)
    if answer.length:  # read() with a size does not complain of an early end
        raise http.client.IncompleteRead(b"", answer.length)


def _basic(user: str) -> str:
    """Basic authentication of a ``user:password`` as addresses have it; a password may be missing."""
    name, _, password = user.partition(":")
    return "Basic " + b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()


def _proxy_authorization(proxy: SplitResult) -> dict[str, str]:
    user = proxy.netloc.rpartition("@")[0]
    return {"Proxy-Authorization": _basic(user)} if user else {}


def _unreachable(url: str, error: Exception) -> IndexFailure:
    # pip may have certificates that we lack; a server that is not there is so for everyone.
    return IndexFailure(f"{shown(url)} cannot be read: {error}", is_final=not isinstance(error, ssl.SSLError))
