"""The health check, asked of a real server over its UNIX socket."""

from __future__ import annotations

import json
import os
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from django_deploy.host.health import Answered, check, check_workers, look
from django_deploy.host.layout import Layout
from django_deploy.host.protocol import Failure
from django_deploy.host.serving import Serving


class Site(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers with ``statuses`` one after the other, with the last one for ever; keeps what it was asked."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Answer)
        self.statuses = [200]
        self.body = b"what the page says"
        self.hosts: list[str] = []


class Answer(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.hosts.append(self.headers["Host"])
        statuses = self.server.statuses
        self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
        self.end_headers()
        self.wfile.write(self.server.body)

    def address_string(self) -> str:
        return "nginx"

    def log_message(self, format: str, *words: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path / "web.sock") as site:
        threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield site
        site.shutdown()


def ask(site: Site, status: int | None = None, timeout: float = 5.0) -> int:
    """The status that was taken for right; a ``Failure`` when none was."""
    wanted: dict[str, Any] = {
        "path": "/",
        "host": "shop.example.com",
        "status": status,
        "timeout": timeout,
        "headers": {},
    }
    answer, *_ = check("run/web.sock:/", str(site.server_address), wanted, lambda: None, time.sleep)
    return answer


@pytest.mark.parametrize("status", [200, 302, 403, 404])
def test_any_answer_of_a_healthy_site_will_do(site: Site, status: int) -> None:
    site.statuses = [status]

    assert ask(site) == status
    assert site.hosts == ["shop.example.com"]


def test_it_may_take_a_moment(site: Site) -> None:
    site.statuses = [503, 503, 200]

    assert ask(site) == 200


RELEASE, OTHER = "20261122T174500Z-3f9c2a1", "20261121T174500Z-3f9c2a1"


def ask_for_release(site: Site, address: str, said: str) -> int:
    site.body = json.dumps({"ok": True, "release": said}).encode()
    wanted = {"path": "/", "host": "x", "status": None, "timeout": 0.1, "headers": {}, "release": RELEASE}
    return check(address, str(site.server_address), wanted, lambda: None, time.sleep)[0]


def test_another_release_that_answers(site: Site) -> None:
    """RESTART has restarted nothing: what runs is what ran before."""
    with pytest.raises(Failure) as failure:
        ask_for_release(site, "http://127.0.0.1:8000/healthz/", OTHER)

    assert failure.value.message == (
        f"http://127.0.0.1:8000/healthz/ answered status 200 as the release {OTHER}, for 0.1 s;"
        " expected any status but 400 and 5xx"
    )


def test_numbers_in_what_was_answered_are_no_status(site: Site) -> None:
    """The name of the release that answers has a 400 in it."""
    with pytest.raises(Failure) as failure:
        ask_for_release(site, "http://127.0.0.1:8000/healthz/", "20261122T184500Z-3f9c400")

    assert failure.value.remedy == "Does the path work here, with the target's SETTINGS_MODULE and ENV?"


def test_a_redirect_where_a_page_was_asked_for(site: Site) -> None:
    site.statuses = [302]

    with pytest.raises(Failure) as failure:
        ask(site, status=200, timeout=0.1)

    assert failure.value.remedy == "It redirects: ask the final path, or set HEALTH_CHECK's STATUS."


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:8000/healthz/", RELEASE),
        ("http://127.0.0.1:8000/healthz/", "1.4"),
        ("http://shop.example.com/healthz/", OTHER),  # another host's, say
    ],
)
def test_who_answers_is_not_always_known(site: Site, address: str, said: str) -> None:
    assert ask_for_release(site, address, said) == 200


@pytest.mark.parametrize("status", [400, 500])
def test_no_visitor_could_be_served(site: Site, status: int) -> None:
    site.statuses = [status]

    with pytest.raises(Failure) as failure:
        ask(site, timeout=0.1)

    assert failure.value.type == "HealthCheckFailed"
    assert failure.value.message == (
        f"run/web.sock:/ answered status {status}, for 0.1 s; expected any status but 400 and 5xx"
    )


def test_host_that_the_site_does_not_accept(site: Site) -> None:
    site.statuses = [400]

    with pytest.raises(Failure) as failure:
        ask(site, timeout=0.1)

    assert failure.value.remedy == (
        "Is 'shop.example.com' in ALLOWED_HOSTS? Set HEALTH_CHECK's HOST to one that is."
    )


def test_status_that_was_asked_for(site: Site) -> None:
    site.statuses = [400]
    assert ask(site, status=400) == 400

    site.statuses = [404]
    with pytest.raises(Failure) as failure:
        ask(site, status=200, timeout=0.1)
    assert failure.value.message == ("run/web.sock:/ answered status 404, for 0.1 s; expected status 200")
    assert failure.value.details["lines"] == []


def test_what_the_page_says_is_told(site: Site) -> None:
    site.statuses = [500]

    with pytest.raises(Failure) as failure:
        ask(site, timeout=30.0)

    assert failure.value.details["lines"] == ["what the page says"]


WANTED = {"path": "/", "host": "shop.example.com", "status": 200, "timeout": 30.0, "headers": {}}


def test_a_look_asks_once(site: Site, tmp_path: Path) -> None:
    look("web.sock:/", str(tmp_path / "web.sock"), WANTED)
    site.statuses = [503, 200]

    with pytest.raises(Failure) as caught:
        look("web.sock:/", str(tmp_path / "web.sock"), WANTED)

    assert caught.value.type == "HealthCheckFailed"
    assert caught.value.message == "web.sock:/ answered status 503; expected status 200"
    assert caught.value.details == {"lines": ["what the page says"], "status": 503}
    assert site.hosts == ["shop.example.com"] * 2


def test_a_look_at_nothing(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        look("web.sock:/", str(tmp_path / "web.sock"), WANTED)

    assert caught.value.message == (
        "web.sock:/ answered FileNotFoundError: [Errno 2] No such file or directory; expected status 200"
    )


# Workers behind one socket


FORKING = """
import json, os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(64)
number, count = 0, int(sys.argv[2])
while number < count and os.fork():
    number += 1
if number == count:
    print("ready", flush=True)
    os.wait()
status = int(sys.argv[3]) if number == 1 else 200
body = json.dumps({"worker": str(os.getpid())}).encode()
while True:
    connection, _ = listener.accept()
    if sys.argv[4] == "stuck" and number == 1:
        os.read(0, 1)
    connection.recv(4096)
    head = f"HTTP/1.1 {status} -\\r\\nContent-Length: {len(body)}\\r\\nConnection: close\\r\\n\\r\\n"
    connection.sendall(head.encode() + body)
    connection.close()
"""


@pytest.fixture
def fork(tmp_path):
    """Starts a server that forks ``count`` workers, the second perhaps an odd one; gives its socket."""
    with ExitStack() as stack:

        def start(count, status=200, mood="well", path=tmp_path / "forking.sock"):
            words = [sys.executable, "-c", FORKING, str(path), str(count), str(status), mood]
            pipe = subprocess.PIPE
            server = stack.enter_context(
                subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
            )
            stack.callback(os.killpg, server.pid, signal.SIGKILL)
            assert server.stdout.readline() == "ready\n"
            return str(path)

        yield start


@pytest.fixture
def forked(fork):
    """Asks the workers of such a server."""

    def ask(count, **oddity):
        path = fork(count, **oddity)
        wanted = {"path": "/", "host": "", "headers": {}, "status": None}
        first = check("web.sock:/", path, {**wanted, "timeout": 5.0}, lambda: None, time.sleep)
        return check_workers("web.sock:/", path, wanted, first, time.sleep)

    return ask


def test_each_worker_is_heard(forked):
    assert forked(3) == (3, 3)


def test_one_worker_alone_is_asked_once(forked):
    assert forked(1) == (1, 1)


def test_a_worker_that_answers_otherwise(forked):
    with pytest.raises(Failure) as caught:
        forked(3, status=500)

    assert caught.value.message == (
        "web.sock:/ answered status 500 from one of its workers; expected any status but 400 and 5xx"
    )


def test_a_worker_that_does_not_answer(forked, monkeypatch):
    monkeypatch.setattr("django_deploy.host.health.WORKERS_PATIENCE", 1.0)
    monkeypatch.setattr("django_deploy.host.health.ANSWER_TIMEOUT", 0.5)  # it may be asked first

    assert forked(3, mood="stuck") == (2, 3)


@pytest.fixture
def short_folder():
    """The path of a socket has 107 bytes at most (unix(7))."""
    with tempfile.TemporaryDirectory() as folder:
        yield folder


def test_a_worker_that_does_not_answer_is_warned_of(fork, short_folder, monkeypatch):
    monkeypatch.setattr("django_deploy.host.health.WORKERS_PATIENCE", 1.0)
    monkeypatch.setattr("django_deploy.host.health.ANSWER_TIMEOUT", 0.5)
    layout, told = Layout(short_folder), []
    layout.create()
    release = layout.release("20261122T174500Z-3f9c2a1")
    fork(3, mood="stuck", path=layout.socket("web", release.id))
    link = SimpleNamespace(report=lambda kind, **fields: told.append((kind, fields)), pause=time.sleep)
    watch = SimpleNamespace(look=lambda: None)
    wanted = {"path": "/", "host": "", "headers": {}, "status": None, "timeout": 5.0}

    Serving(layout, link, -1)._check_socket(None, release, "web", wanted, watch)

    assert [kind for kind, _ in told] == ["health.checked", "warning"]
    assert told[1][1] == {
        "message": "process 'web': of 3 workers behind its socket, 1 did not answer",
        "remedy": "deploy_logs may say why.",
    }


def test_workers_without_names_are_not_asked(tmp_path):
    nobody = str(tmp_path / "nobody.sock")

    assert check_workers("web.sock:/", nobody, {}, Answered(200, 0.1, ""), time.sleep) == (1, 1)
