"""Answers every request with 503 and a page that says so. Copied to ``.deploy/maintenance.py``; stands alone.

``python maintenance.py NOTICE SOCKET``: the notice is read anew for each request.
"""

from __future__ import annotations

import html
import json
import os
import socketserver
import sys
from http.server import BaseHTTPRequestHandler
from typing import Any

PAGE = """\
<!DOCTYPE html>
<html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>{title}</title>
<style>
body {{ font: 1.2em/1.5 system-ui, sans-serif; max-width: 34em; margin: 18vh auto; padding: 0 1em }}
</style>
</head><body><h1>{title}</h1><p>{message}</p></body></html>
"""
TITLE = "Down for maintenance"
MESSAGE = "This site is being worked on. Please try again in a few minutes."

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Only the one socket, which the web server's user may connect to."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, notice: str, socket: str) -> None:
        self.notice = notice
        if os.path.exists(socket):
            os.unlink(socket)  # left by one that was killed
        super().__init__(socket, Handler)
        os.chmod(socket, 0o666)


class Handler(BaseHTTPRequestHandler):
    """Reads what it is sent, so that nobody's request ends in an error of the link."""

    timeout = 30
    server: Server

    def answer(self) -> None:
        notice = _read(self.server.notice)
        message = html.escape(str(notice.get("message") or MESSAGE)).replace("\n", "<br>")
        body = PAGE.format(title=TITLE, message=message).encode("utf-8", "replace")
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0 and (data := self.rfile.read(min(left, 1 << 16))):
            left -= len(data)
        self.send_response(503)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", str(int(notice.get("retry_after") or 300)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """For the header ``Server``: which Python this is concerns nobody."""
        return "django-deploy"

    def log_message(self, format: str, *args: Any) -> None:
        """The web server in front of it has a log."""


for _method in METHODS:
    setattr(Handler, f"do_{_method}", Handler.answer)


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            notice = json.load(file)
    except (OSError, ValueError):
        return {}
    return notice if isinstance(notice, dict) else {}


if __name__ == "__main__":
    Server(sys.argv[1], sys.argv[2]).serve_forever()
