"""Small servers on Unix sockets: what stands behind a front door."""

from __future__ import annotations

import socketserver
import threading
import xmlrpc.server
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class Page(BaseHTTPRequestHandler):
    """Answers every path with the server's text."""

    def do_GET(self) -> None:
        text = self.server.pages[self.path].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def address_string(self) -> str:
        return "the front door"

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def site(path: Path, pages: dict[str, str]) -> Iterator[None]:
    """An HTTP server with these pages on a Unix socket."""
    server = Server(str(path), Page)
    server.pages = pages
    with serving(server):
        yield


class SupervisorHandler(xmlrpc.server.SimpleXMLRPCRequestHandler):
    disable_nagle_algorithm = False  # it is TCP's


class Supervisor(socketserver.UnixStreamServer, xmlrpc.server.SimpleXMLRPCDispatcher):
    """Speaks as supervisord does, as far as ``supervisor.shutdown``, after which it is gone."""

    logRequests = False

    def __init__(self, path: Path) -> None:
        xmlrpc.server.SimpleXMLRPCDispatcher.__init__(self)
        super().__init__(str(path), SupervisorHandler)
        self.path = path
        self.register_function(self.shut_down, "supervisor.shutdown")

    def shut_down(self) -> bool:
        self.path.unlink()
        return True
