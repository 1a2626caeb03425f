"""Reads package indexes: the simple API (PEP 691 JSON, PEP 503 HTML) and folders of archives."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import ssl
import threading
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urldefrag, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass, url2pathname

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from django_deploy.bundle.cache import sha256_of
from django_deploy.bundle.sources import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from packaging.utils import NormalizedName

    from django_deploy.bundle.sources import Sources

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"

_SDIST_SUFFIXES = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz")

MAX_REDIRECTS = 5


class IndexFailure(Exception):
    """An index did not answer as it should; ``is_final`` when no other client would fare better."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


@dataclass(frozen=True)
class File:
    """One file that an index offers; ``sha256`` is empty where the index does not say."""

    filename: str
    url: str
    sha256: str = ""
    requires_python: str = ""
    is_yanked: bool = False

    @property
    def local_path(self) -> Path | None:
        """Where the file lies, if it is on this machine."""
        parts = urlsplit(self.url)
        return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


@dataclass(frozen=True)
class Response:
    """What a server answered, after redirects to ``url``."""

    status: int
    url: str
    content_type: str
    body: bytes


class Index:
    """All configured sources as one; safe to use from several threads. Close it after use."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._client = HttpClient(sources)

    def close(self) -> None:
        self._client.close()

    def files(self, name: NormalizedName) -> tuple[File, ...]:
        """Every file of a distribution, of all sources.

        Raises ``IndexFailure`` when one of the indexes fails and no other has the distribution.
        """
        found: list[File] = []
        failure: IndexFailure | None = None
        for url in self._sources.index_urls:
            try:
                found += self._page(f"{url.rstrip('/')}/{name}/")
            except IndexFailure as error:
                failure = error
        if failure is not None and all(file.local_path for file in found):
            raise failure
        for place in self._sources.find_links:
            found += (file for file in self._links(place) if archive_version(file.filename, name))
        return tuple(found)

    def _page(self, url: str) -> tuple[File, ...]:
        """The files on a distribution's page; none where the index does not know it."""
        if urlsplit(url).scheme == "file":
            page = Path(url2pathname(urlsplit(url).path), "index.html")
            return tuple(parse_html(page.read_text("utf-8"), page.as_uri())) if page.is_file() else ()
        response = self._client.get(url, accept=_ACCEPT)
        if response.status in (404, 410):
            return ()
        if response.status != 200:
            raise IndexFailure(f"{redact(url)} answered with status {response.status}")
        return tuple(parse_page(response))

    def _links(self, place: str) -> tuple[File, ...]:
        """The files of one find-links entry: a folder, or a page of links."""
        scheme = urlsplit(place).scheme
        if scheme in ("http", "https"):
            return self._page(place)
        path = Path(url2pathname(urlsplit(place).path)) if scheme == "file" else Path(place).expanduser()
        if path.is_dir():
            return tuple(File(file.name, file.resolve().as_uri()) for file in sorted(path.iterdir()))
        if path.is_file():
            return tuple(parse_html(path.read_text("utf-8"), path.resolve().as_uri()))
        return ()

    def files_of_version(self, name: NormalizedName, version: str) -> tuple[File, ...]:
        """Every file of one version; local ones with their digest."""
        wanted = _parse_version(version)
        return tuple(
            _with_digest(file)
            for file in self.files(name)
            if _parse_version(archive_version(file.filename, name)) == wanted
        )

    def download(self, file: File) -> bytes:
        """The file's contents; ``IndexFailure`` when they are not what the index announced."""
        path = file.local_path
        if path is not None:
            return path.read_bytes()
        response = self._client.get(file.url)
        if response.status != 200:
            raise IndexFailure(f"{redact(file.url)} answered with status {response.status}")
        return response.body


def _with_digest(file: File) -> File:
    path = file.local_path
    if path is None or file.sha256 or not path.is_file():
        return file
    return File(file.filename, file.url, sha256_of(path), file.requires_python, file.is_yanked)


def archive_version(filename: str, name: NormalizedName) -> str:
    """The version that a wheel's or sdist's file name tells, if it is one of ``name``."""
    if filename.endswith(".whl"):
        project, _, rest = filename.partition("-")
        version = rest.partition("-")[0]
    else:
        suffix = next((suffix for suffix in _SDIST_SUFFIXES if filename.endswith(suffix)), None)
        project, _, version = filename[: -len(suffix)].rpartition("-") if suffix else ("", "", "")
    return version if canonicalize_name(project) == name else ""


@lru_cache(maxsize=10_000)
def _parse_version(text: str) -> Version | str | None:
    try:
        return Version(text) if text else None
    except InvalidVersion:
        return text


def parse_page(response: Response) -> Iterator[File]:
    """The files that an index page lists, JSON or HTML."""
    if "json" not in response.content_type:
        yield from parse_html(response.body.decode("utf-8", "replace"), response.url)
        return
    try:
        entries = json.loads(response.body)["files"]
        yield from (_read_entry(entry, response.url) for entry in entries)
    except (ValueError, KeyError, TypeError) as error:
        raise IndexFailure(f"{redact(response.url)} is not a page of an index ({error!r})") from None


def _read_entry(entry: dict[str, Any], base: str) -> File:
    return File(
        filename=entry["filename"],
        url=urljoin(base, entry["url"]),
        sha256=entry["hashes"].get("sha256", ""),
        requires_python=entry.get("requires-python") or "",
        is_yanked=bool(entry.get("yanked")),
    )


def parse_html(text: str, base: str) -> Iterator[File]:
    """The files that an HTML page links to; a digest is in the address (``#sha256=…``)."""
    parser = _LinkParser()
    parser.feed(text)
    parser.close()
    for link in parser.links:
        url, fragment = urldefrag(urljoin(urljoin(base, parser.base), link.get("href") or ""))
        name, _, value = fragment.partition("=")
        yield File(
            filename=unquote(urlsplit(url).path.rpartition("/")[2]),
            url=url,
            sha256=value if name == "sha256" else "",
            requires_python=link.get("data-requires-python") or "",
            is_yanked="data-yanked" in link,
        )


class _LinkParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.links: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links.append(dict(attrs))
        elif tag == "base":
            self.base = dict(attrs).get("href") or ""


class HttpClient:
    """GET over connections that are kept, one for each thread and server.

    Credentials come from the address or netrc, proxies from pip's settings or the environment.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._local = threading.local()
        self._connections: list[http.client.HTTPConnection] = []
        self._credentials = {
            urlsplit(url).netloc.rpartition("@")[2]: urlsplit(url).netloc.rpartition("@")[0]
            for url in (*sources.index_urls, *sources.find_links)
            if "@" in urlsplit(url).netloc
        }

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def get(self, url: str, accept: str = "*/*") -> Response:
        """Follows redirects; raises ``IndexFailure`` when there is no answer."""
        for _ in range(MAX_REDIRECTS + 1):
            status, headers, body = self._request(url, accept)
            location = headers.get("Location")
            if status not in (301, 302, 303, 307, 308) or not location:
                return Response(status, url, headers.get("Content-Type", ""), _decoded(headers, body))
            url = urljoin(url, location)
        raise IndexFailure(f"{redact(url)} redirects too often", is_final=True)

    def _request(self, url: str, accept: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        headers = {"Accept": accept, "Accept-Encoding": "gzip", "User-Agent": "django-deploy"}
        headers.update(self._authorization(url))
        try:
            return self._exchange(url, headers)
        except (http.client.HTTPException, ConnectionError):
            pass  # a server may close a connection that was kept; a fresh one has no such excuse
        except OSError as error:
            raise _unreachable(url, error) from None
        try:
            return self._exchange(url, headers)
        except (http.client.HTTPException, OSError) as error:
            raise _unreachable(url, error) from None

    def _exchange(self, url: str, headers: dict[str, str]) -> tuple[int, http.client.HTTPMessage, bytes]:
        parts = urlsplit(url)
        connection = self._connection(parts)
        target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        if parts.scheme == "http" and self._proxy(parts):
            target = redact(url)
        try:
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        except BaseException:
            connection.close()
            raise

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
        user = proxy.netloc.rpartition("@")[0]
        connection.set_tunnel(host, parts.port, {"Proxy-Authorization": _basic(user)} if user else {})
        return connection

    def _proxy(self, parts: SplitResult) -> SplitResult | None:
        if proxy_bypass(parts.netloc.rpartition("@")[2]):
            return None
        address = self._sources.proxy or getproxies().get(parts.scheme)
        return urlsplit(address if "//" in address else f"//{address}") if address else None

    def _tls_context(self, parts: SplitResult) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._sources.cert or None)
        if not self._sources.cert:
            # Some builds of Python find no certificates of the system; pip brings its own.
            from pip._vendor import certifi

            context.load_verify_locations(certifi.where())
        if self._sources.client_cert:
            context.load_cert_chain(self._sources.client_cert)
        trusted = {parts.hostname, f"{parts.hostname}:{parts.port}"}
        if not trusted.isdisjoint(self._sources.trusted_hosts):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _authorization(self, url: str) -> dict[str, str]:
        place = urlsplit(url).netloc
        user, _, host = place.rpartition("@")
        user = user or self._credentials.get(host, "") or _netrc_user(urlsplit(url).hostname or "")
        return {"Authorization": _basic(user)} if user else {}


def _basic(user: str) -> str:
    """Basic authentication of a ``user:password`` as addresses have it."""
    return "Basic " + b64encode(unquote(user).encode()).decode()


def _netrc_user(host: str) -> str:
    import netrc

    try:
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return ""
    return f"{quote(found[0])}:{quote(found[2])}" if found else ""


def _unreachable(url: str, error: Exception) -> IndexFailure:
    # pip may have certificates that we lack; a server that is not there is so for everyone.
    return IndexFailure(
        f"{redact(url)} cannot be read: {error}", is_final=not isinstance(error, ssl.SSLError)
    )


def _decoded(headers: http.client.HTTPMessage, body: bytes) -> bytes:
    return gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
