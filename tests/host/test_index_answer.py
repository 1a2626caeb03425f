from __future__ import annotations

import base64
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from django_deploy.host.index_answer import VARIABLES, ask_index

#: Nobody is to be asked there where another one is named.
DEFAULT = "http://default.invalid/simple"


class Index(BaseHTTPRequestHandler):
    def do_GET(self):
        user = base64.b64encode(b"ann:s3 cret").decode()
        is_known = self.path == "/simple/django/"
        is_let_in = self.headers.get("Authorization") == f"Basic {user}"
        self.send_response(404 if not is_known else 200 if is_let_in else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def place():
    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_answers(place):
    address = f"http://{place}/simple"

    found = ask_index(f"http://ann:s3%20cret@{place}/simple", DEFAULT, "django")

    assert found == {"address": address, "status": 200, "error": ""}
    assert ask_index(address, DEFAULT, "django") == {"address": address, "status": 401, "error": ""}
    assert ask_index(f"{address}/", DEFAULT, "flask") == {
        "address": f"{address}/",
        "status": 404,
        "error": "",
    }


@pytest.fixture
def elsewhere():
    """Another server, at another address, with what it was told of who asks."""
    told = []

    class Elsewhere(Index):
        def do_GET(self):
            told.append(self.headers.get("Authorization"))
            super().do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", told
        server.shutdown()


def redirecting(to):
    class Redirect(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith("/old/"):
                self.send_response(302)
                self.send_header("Location", f"{to}/simple/django/")
                self.end_headers()
            else:
                Index.do_GET(self)

        log_message = Index.log_message

    return Redirect


def test_a_redirect_to_another_server_does_not_take_the_password_along(elsewhere):
    other, told = elsewhere

    with ThreadingHTTPServer(("127.0.0.1", 0), redirecting(f"http://{other}")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = ask_index(f"http://ann:s3%20cret@127.0.0.1:{server.server_port}/old", DEFAULT, "django")
        server.shutdown()

    assert told == [None]
    assert found["status"] == 401


def test_a_redirect_of_the_same_server_logs_in_again():
    with ThreadingHTTPServer(("127.0.0.1", 0), redirecting("")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = ask_index(f"http://ann:s3%20cret@127.0.0.1:{server.server_port}/old", DEFAULT, "django")
        server.shutdown()

    assert found["status"] == 200


def test_no_answer():
    found = ask_index("http://127.0.0.1:9/simple/", DEFAULT, "django")

    assert found == {"address": "http://127.0.0.1:9/simple/", "status": None, "error": "Connection refused"}
    assert ask_index("nonsense", DEFAULT, "django")["error"] == "unknown url type: 'nonsense/django/'"


def test_the_hosts_own(place, monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    own, default = f"http://{place}/simple", f"http://{place}/default"

    assert ask_index("", default, "django") == {"address": default, "status": 404, "error": ""}
    monkeypatch.setenv("PIP_INDEX_URL", own)
    assert ask_index("", default, "django") == {"address": own, "status": 401, "error": ""}
