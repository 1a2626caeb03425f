"""A way to Debian's archive for hosts that reach nothing but the bridge: a proxy for apt, with a store.

Packages never change under their name, so they are kept from run to run; lists are fetched anew.
"""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request
from collections import defaultdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import quote, urlsplit

from .base import cache_folder
from .index import Server, write


class Handler(BaseHTTPRequestHandler):
    """``GET http://ARCHIVE/debian/…``, as a proxy is asked."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    folder: Path
    archives: set[str]
    guards: defaultdict[str, threading.Lock]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.scheme != "http" or parts.hostname not in self.archives:
            self._send(HTTPStatus.FORBIDDEN, b"Only Debian's archive.\n")
            return
        try:
            with self.guards[self.path]:
                self._send(HTTPStatus.OK, self._fetch(self.path))
        except urllib.error.HTTPError as error:
            self._send(error.code, b"")
        except OSError as error:
            self._send(HTTPStatus.BAD_GATEWAY, f"{error}\n".encode())

    def _fetch(self, url: str) -> bytes:
        path = self.folder / quote(url, safe="")
        is_lasting = "/pool/" in url or "/by-hash/" in url
        if is_lasting and path.exists():
            return path.read_bytes()
        with urllib.request.urlopen(url, timeout=60) as answer:
            body: bytes = answer.read()
        if is_lasting:
            write(path, body)
        return body

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the terminal for the tests."""


class Archive:
    """The proxy, in a thread of this process, on the bridge. ``url`` is what apt takes as its proxy.

    It leads to the archives that a host's own list of sources names (``open_to``), and nowhere else.
    """

    def __init__(self, address: str) -> None:
        folder = cache_folder() / "archive"
        self.archives: set[str] = set()
        parts = {"folder": folder, "archives": self.archives, "guards": defaultdict(threading.Lock)}
        handler = type("Handler", (Handler,), parts)
        self.server = Server((address, 0), handler)
        self.url = f"http://{address}:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, name="archive", daemon=True)
        self.thread.start()

    def open_to(self, sources: str) -> None:
        """``sources`` is text as apt has it (sources.list(5))."""
        self.archives.update(re.findall(r"\bhttp://([^/:\s]+)", sources))

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
