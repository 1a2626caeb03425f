"""A package index on a loopback port: pages by name, in any of the forms that indexes speak."""

from __future__ import annotations

import gzip
import json
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

JSON = "application/vnd.pypi.simple.v1+json"


class FakeIndex:
    """Serves what its ``pages`` hold: path to (status, content type, body).

    ``requests`` lists the paths asked for; with ``user`` (``"name:password"``) they need it. With
    ``breaks_off`` the connection is closed in the middle of each file.
    """

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, str, bytes]] = {}
        self.requests: list[str] = []
        self.connections = 0
        self.user = ""
        self.breaks_off = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}/simple"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, files: dict[str, str | None], **fields: object) -> None:
        """A JSON page: sha256 by file name."""
        entries = [
            {
                "filename": filename,
                "url": f"../../files/{filename}",
                "hashes": {"sha256": sha256} if sha256 else {},
                **fields,
            }
            for filename, sha256 in files.items()
        ]
        body = json.dumps({"meta": {"api-version": "1.0"}, "name": name, "files": entries}).encode()
        self.pages[f"/simple/{name}/"] = (200, JSON, body)

    def add_html(self, name: str, text: str) -> None:
        self.pages[f"/simple/{name}/"] = (200, "text/html; charset=utf-8", text.encode())


def _handler(index: FakeIndex) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            index.connections += 1

        def do_GET(self) -> None:
            index.requests.append(self.path)
            expected = "Basic " + b64encode(index.user.encode()).decode()
            if index.user and self.headers.get("Authorization") != expected:
                self._answer(401, "text/plain", b"who are you?")
            else:
                self._answer(*index.pages.get(self.path, (404, "text/plain", b"not here")))

        do_HEAD = do_GET

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            if status in (301, 302):
                self.send_header("Location", body.decode())
                body = b""
            if "gzip" in self.headers.get("Accept-Encoding", ""):
                body = gzip.compress(body)
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if index.breaks_off and self.path.startswith("/files/"):
                body, self.close_connection = body[: len(body) // 2], True
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
