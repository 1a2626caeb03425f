from __future__ import annotations

import tempfile
from http.server import BaseHTTPRequestHandler
from socketserver import UnixStreamServer
from threading import Thread

import pytest

from django_deploy.host import maintenance
from django_deploy.host.layout import Layout
from django_deploy.host.protocol import Failure

TEXT = {"message": "", "retry_after": 300, "since": 1764400000.0, "by": "ada@laptop"}


class Site(BaseHTTPRequestHandler):
    """Somebody else, who answers where the page should."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def address_string(self):
        return "nginx"

    def log_message(self, format, *words):
        pass


class Manager:
    """A process manager that is told to serve the page, and has ``answers`` answer instead, if anyone."""

    def __init__(self, path, answers=None):
        self._server = None
        self._path, self._answers = path, answers
        self.ended = []

    def serve(self, name, argv):
        if self._answers is not None:
            self._server = UnixStreamServer(str(self._path), self._answers)
            Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}).start()

    def end(self, name):
        self.ended.append(name)
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(maintenance, "START_TIMEOUT", 0.2)
    # Not pytest's own folder: its path is too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="site-") as folder:
        layout = Layout(folder)
        layout.create()
        yield layout


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        pytest.param(Site, "status 200", id="another answer"),
        pytest.param(None, "[Errno 2] No such file or directory", id="no answer"),
    ],
)
def test_a_page_that_does_not_come_is_not_on(site, answers, why):
    manager = Manager(maintenance.socket(site), answers)

    with pytest.raises(Failure) as caught:
        maintenance.start(site, manager, TEXT)

    assert caught.value.message == f"the maintenance page does not answer: {why}"
    assert manager.ended == [maintenance.NAME]
    assert maintenance.notice(site) is None
