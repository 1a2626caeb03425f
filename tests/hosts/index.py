"""A package index for hosts that reach nothing else: a caching proxy of the index that pip is set to use.

It speaks the simple repository API of PEP 503 (HTML) and PEP 691 (JSON), with the metadata files of
PEP 658. Pages are kept for some hours and files for ever, in the cache folder, so that a second run
needs no network. It is plain http: pip needs ``--trusted-host 10.77.0.1``, uv takes it as it is.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import secrets
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

from .base import cache_folder

if TYPE_CHECKING:
    from pathlib import Path

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"

#: Seconds after which a page is asked for again.
PAGE_LIFE = 6 * 3600


class Upstream:
    """The index that pip on this machine is configured to use."""

    @cached_property
    def url(self) -> str:
        """From pip's configuration, else pip's own default; ends in a slash."""
        for name in (":env:.index-url", "install.index-url", "global.index-url"):
            if value := self._settings.get(name):
                return value.rstrip("/") + "/"
        code = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
        return pip_python("-c", code).strip().rstrip("/") + "/"

    @cached_property
    def _settings(self) -> dict[str, str]:
        lines = pip_python("-m", "pip", "config", "list").splitlines()
        pairs = (line.partition("=") for line in lines)
        return {name: value.strip("'\"") for name, _, value in pairs}

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        certificates = self._settings.get(":env:.cert") or self._settings.get("global.cert")
        return ssl.create_default_context(cafile=certificates)

    def page(self, name: str) -> dict[str, Any]:
        """A project's page in PEP 691's form, its URLs absolute."""
        url = urljoin(self.url, f"{name}/")
        page: dict[str, Any] = json.loads(self.fetch(url, accept=JSON))
        for file in page["files"]:
            file["url"] = urljoin(url, file["url"])
        return page

    def fetch(self, url: str, *, accept: str = "*/*") -> bytes:
        """The body that a URL has; raises ``urllib.error.HTTPError`` as upstream answers."""
        address, authorization = split_credentials(url)
        request = urllib.request.Request(address, headers={"Accept": accept, **authorization})
        with urllib.request.urlopen(request, timeout=60, context=self._tls) as answer:
            body: bytes = answer.read()
            return body


def pip_python(*argv: str) -> str:
    """Run the interpreter of these tests, which has pip, and return its output."""
    return subprocess.run([sys.executable, *argv], check=True, capture_output=True, text=True).stdout


def split_credentials(url: str) -> tuple[str, dict[str, str]]:
    """``https://user:password@host/`` without the credentials, and the header that carries them."""
    parts = urlsplit(url)
    credentials, _, place = parts.netloc.rpartition("@")
    if not credentials:
        return url, {}
    token = base64.b64encode(unquote(credentials).encode()).decode()
    return urlunsplit(parts._replace(netloc=place)), {"Authorization": f"Basic {token}"}


class Store:
    """What was asked for before, in a folder that several runs may share."""

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        self.folder = folder
        self.upstream = upstream
        self.guards: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)

    def page(self, name: str) -> dict[str, Any]:
        """A project's page; an old one where upstream cannot be reached."""
        path = self.folder / "pages" / f"{name}.json"
        with self.guards[path]:
            if not path.exists() or path.stat().st_mtime < time.time() - PAGE_LIFE:
                self._refresh(path, name)
        page: dict[str, Any] = json.loads(path.read_bytes())
        return page

    def _refresh(self, path: Path, name: str) -> None:
        try:
            write(path, json.dumps(self.upstream.page(name)).encode())
        except OSError as error:
            gone = isinstance(error, urllib.error.HTTPError) and error.code == HTTPStatus.NOT_FOUND
            if gone or not path.exists():
                raise

    def file(self, name: str, filename: str) -> Path | None:
        """A distribution file, or its metadata with ``.metadata`` after the name; None if there is none."""
        wanted = filename.removesuffix(".metadata")
        entry = next((file for file in self.page(name)["files"] if file["filename"] == wanted), None)
        if entry is None:
            return None
        digest: str = entry["hashes"]["sha256"]
        path = self.folder / "files" / digest / filename
        with self.guards[path]:
            if not path.exists():
                body = self.upstream.fetch(entry["url"] + filename.removeprefix(wanted))
                if filename == wanted and hashlib.sha256(body).hexdigest() != digest:
                    raise OSError(f"{filename} is not what its page says.")
                write(path, body)
        return path


def write(path: Path, body: bytes) -> None:
    """Write a file so that nobody ever reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    unfinished.write_bytes(body)
    unfinished.replace(path)


def normalized(name: str) -> str:
    """As PEP 503 spells a project's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def as_html(page: dict[str, Any]) -> str:
    """A project's page in PEP 503's form."""
    return "<!DOCTYPE html>\n<html><body>\n" + "\n".join(map(anchor, page["files"])) + "\n</body></html>\n"


def anchor(file: dict[str, Any]) -> str:
    digest = file["hashes"].get("sha256")
    attributes = {"href": file["url"] + (f"#sha256={digest}" if digest else "")}
    if file.get("requires-python"):
        attributes["data-requires-python"] = file["requires-python"]
    if yanked := file.get("yanked"):
        attributes["data-yanked"] = yanked if isinstance(yanked, str) else ""
    words = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
    return f"<a {words}>{html.escape(file['filename'])}</a><br>"


class Handler(BaseHTTPRequestHandler):
    """``/simple/NAME/`` and ``/files/NAME/FILENAME``."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    store: Store
    authorization: str | None = None

    def do_GET(self) -> None:
        if self.authorization and self.headers.get("Authorization") != self.authorization:
            self._send(HTTPStatus.UNAUTHORIZED, "text/plain", b"Who are you?\n")
            return
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        try:
            self._answer(*parts)
        except urllib.error.HTTPError as error:
            self._send(error.code, "text/plain", f"upstream: {error}\n".encode())
        except OSError as error:
            self._send(HTTPStatus.BAD_GATEWAY, "text/plain", f"upstream: {error}\n".encode())

    do_HEAD = do_GET

    def _answer(self, place: str, *names: str) -> None:
        if place == "simple" and len(names) == 1:
            self._send_page(normalized(names[0]))
        elif place == "files" and len(names) == 2:
            self._send_file(normalized(names[0]), names[1])
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"There is /simple/NAME/ here.\n")

    def _send_page(self, name: str) -> None:
        page = self.store.page(name)
        for file in page["files"]:
            file["url"] = f"/files/{name}/{quote(file['filename'])}"
        if JSON in self.headers.get("Accept", ""):
            self._send(HTTPStatus.OK, JSON, json.dumps(page).encode())
        else:
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", as_html(page).encode())

    def _send_file(self, name: str, filename: str) -> None:
        path = self.store.file(name, filename)
        if path:
            self._send(HTTPStatus.OK, "application/octet-stream", path.read_bytes())
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"There is no such file.\n")

    def _send(self, status: int, type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the terminal for the tests."""


class Server(ThreadingHTTPServer):
    """A thread for each connection; none of them outlives the tests."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A host that was killed in the middle of a download is no news; anything else is."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Index:
    """The proxy, in a thread of this process, on the bridge. ``url`` is what ``--index-url`` takes.

    With a ``user`` (``name:password``) it answers nobody else.
    """

    def __init__(self, address: str, *, user: str = "") -> None:
        store = Store(cache_folder() / "index", Upstream())
        authorization = f"Basic {base64.b64encode(user.encode()).decode()}" if user else None
        handler = type("Handler", (Handler,), {"store": store, "authorization": authorization})
        self.server = Server((address, 0), handler)
        self.url = f"http://{address}:{self.server.server_port}/simple/"
        self.host = address
        self.thread = threading.Thread(target=self.server.serve_forever, name="index", daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
