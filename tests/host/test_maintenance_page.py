from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
import time

import pytest

from django_deploy.host import maintenance_page
from django_deploy.host.health import UnixConnection


def is_answered(path):
    """A socket has its name before anybody listens."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
    except OSError:
        return False
    return True


@pytest.fixture
def page(tmp_path, request):
    """The server as a program of its own, over what a killed one has left; gives what asks it."""
    path, notice = tmp_path / "m.sock", tmp_path / "notice.json"
    path.touch()
    argv = [sys.executable, "-I", "-S", maintenance_page.__file__, str(notice), str(path)]
    with subprocess.Popen(argv) as process:
        deadline = time.monotonic() + 30
        while not is_answered(path) and time.monotonic() < deadline:
            time.sleep(0.02)

        def ask(method="GET", body=None):
            connection = UnixConnection(str(path), timeout=20)
            try:
                connection.request(method, "/any/path?x", body=body)
                response = connection.getresponse()
                return response, response.read().decode()
            finally:
                connection.close()

        yield ask, notice, path
        process.terminate()


def test_it_says_that_it_is_only_for_a_while(page):
    ask, _, path = page

    response, body = ask()

    assert response.status == 503
    assert (response.headers["Retry-After"], response.headers["Cache-Control"]) == ("300", "no-store")
    assert response.headers.get_all("Server") == ["django-deploy"]
    assert f"<p>{maintenance_page.MESSAGE}</p>" in body
    assert stat.S_IMODE(path.stat().st_mode) == 0o666


def test_the_message_is_text_and_may_change(page):
    ask, notice, _ = page
    notice.write_text(json.dumps({"message": "<b>Back</b>\nsoon", "retry_after": 60}))

    response, body = ask()

    assert "<p>&lt;b&gt;Back&lt;/b&gt;<br>soon</p>" in body
    assert response.headers["Retry-After"] == "60"
    notice.write_text("{")
    assert maintenance_page.MESSAGE in ask()[1]


@pytest.mark.parametrize("method", maintenance_page.METHODS)
def test_every_method_is_answered_and_what_is_sent_is_read(page, method):
    ask, _, _ = page

    response, body = ask(method, b"x" * 1_000_000 if method in ("POST", "PUT", "PATCH") else None)

    assert response.status == 503
    assert bool(body) == (method != "HEAD")
