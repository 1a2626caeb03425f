"""A package index on a loopback port: pages by name, in any of the forms that indexes speak."""

from __future__ import annotations

import gzip
import json
import select
import socket
import ssl
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

JSON = "application/vnd.pypi.simple.v1+json"


class FakeIndex:
    """Serves what its ``pages`` hold: path to (status, content type, body).

    ``requests`` lists the paths asked for, ``authorizations`` what came along; with ``user``
    (``"name:password"``) they need it, else the answer is ``refusal``. With ``tls`` it speaks https. With
    ``breaks_off`` the connection is closed in the middle of each file.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.pages: dict[str, tuple[int, str, bytes]] = {}
        self.requests: list[str] = []
        self.connections = 0
        self.user = ""
        self.refusal = 401
        self.breaks_off = False
        self.authorizations: list[str | None] = []
        self._tls = tls
        self._server = _serve(_handler(self), tls)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.address}/simple"

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


def basic(user: str) -> str:
    return "Basic " + b64encode(user.encode()).decode()


def _serve(handler: type[BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.handle_error = lambda *_: None  # a client that does not trust us
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


def _handler(index: FakeIndex) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            index.connections += 1

        def do_GET(self) -> None:
            index.requests.append(self.path)
            index.authorizations.append(self.headers.get("Authorization"))
            if index.user and self.headers.get("Authorization") != basic(index.user):
                self._answer(index.refusal, "text/plain", b"who are you?")
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


class Proxy:
    """A proxy on a loopback port that asks who one is; ``requests`` lists what was asked through it.

    It fetches ``http://`` addresses from where ``places`` says, and opens tunnels for the others.
    """

    def __init__(self, user: str) -> None:
        self.user = user
        self.requests: list[str] = []
        self.places: dict[str, FakeIndex] = {}
        self._server = _serve(_proxy_handler(self))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _proxy_handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _is_refused(self) -> bool:
            proxy.requests.append(f"{self.command} {self.path}")
            if self.headers.get("Proxy-Authorization") == basic(proxy.user):
                return False
            self.send_response(407)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return True

        def do_GET(self) -> None:
            if self._is_refused():
                return
            host, _, path = self.path.removeprefix("http://").partition("/")
            status, content_type, body = proxy.places[host].pages[f"/{path}"]
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_CONNECT(self) -> None:
            if self._is_refused():
                return
            host, _, port = self.path.partition(":")
            with socket.create_connection((host, int(port))) as server:
                self.send_response(200)
                self.end_headers()
                self._relay(server)
            self.close_connection = True

        def _relay(self, server: socket.socket) -> None:
            other = {server: self.connection, self.connection: server}
            while True:
                for readable in select.select([*other], [], [])[0]:
                    data = readable.recv(65536)
                    if not data:
                        return
                    other[readable].sendall(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
