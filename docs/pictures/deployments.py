"""Makes the pictures of the admin's page "Deployments": a real site, deployed a few times, in a real browser.

::

    $ sudo apt install chromium git
    $ sudo make PYTHON=python3 .venv/.test
    $ sudo .venv/bin/python docs/pictures/deployments.py

It deploys a copy of ``example_project`` to a temporary folder of this machine, which takes some minutes, and
writes ``deployments-*.png`` beside this file. It is no part of ``make docs``: run it when the page changes.
As root, it runs under the host name ``web1``, so that no picture tells what your machine is called.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from browser import SCHEMES, find_browser, photograph

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "example_project"))

import demo as demonstration  # noqa: E402

HOST = "web1"
LIST = "/admin/django_deploy/deployment/"

SESSION = """\
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
user = User.objects.create_superuser("anna", "anna@example.com", None)
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.create()
print("session", session.session_key)
"""


def main() -> None:
    if os.geteuid() == 0 and socket.gethostname() != HOST:
        rename = f'hostname {HOST} && exec "$@"'
        os.execvp("unshare", ["unshare", "--uts", "sh", "-c", rename, "sh", sys.executable, *sys.argv])
    os.environ.update(LOGNAME="anna", TZ="UTC")
    browser = find_browser()
    with tempfile.TemporaryDirectory(prefix="pictures-") as folder:
        demo = demonstration.Demo(Path(folder))
        try:
            deploy_a_few_times(demo)
            take_pictures(demo, browser)
        finally:
            demonstration.stop(demo)


# A history


def deploy_a_few_times(demo: demonstration.Demo) -> None:
    """A first release, a fix, a new version with a dependency and a migration, a restart, a way back."""
    demo.create()
    demonstration.copy_project(demo)
    (demo.project / ".gitignore").write_text("*.egg-info\n__pycache__\nvar\n")
    git(demo, "init", "--quiet", "--initial-branch", "main")
    commit(demo, "The bookshop")
    demonstration.install(demo)
    install(demo, "whitenoise==6.9.0")
    demonstration.deploy(demo)

    demonstration.write_mark(demo, "second edition")
    commit(demo, "A second edition")
    demonstration.deploy(demo)

    edit(demo, "pyproject.toml", r'version = "1\.0"', 'version = "1.1"')
    field = "shelf = models.PositiveIntegerField(null=True)"
    edit(demo, "catalogue/models.py", r"( +)(title = .*\n)", rf"\1\2\1{field}\n")
    install(demo, "-e", str(demo.project))
    install(demo, "--upgrade", "whitenoise")
    manage(demo, "makemigrations", "catalogue", "--name", "shelf")
    commit(demo, "Books have shelves")
    demonstration.deploy(demo)

    manage(demo, "deploy_restart", "demo")

    demonstration.write_mark(demo, "a mistake")
    demonstration.deploy(demo)
    manage(demo, "deploy_rollback", "demo")


def git(demo: demonstration.Demo, *words: str) -> None:
    names = ["-c", "user.name=Anna", "-c", "user.email=anna@example.com"]
    demonstration.run(demo, ["git", *names, *words])


def commit(demo: demonstration.Demo, message: str) -> None:
    git(demo, "add", "--all")
    git(demo, "commit", "--quiet", "--message", message)


def install(demo: demonstration.Demo, *words: str) -> None:
    (command,) = demonstration.installation_commands(demo, list(words))[1:]
    demonstration.run(demo, command)


def manage(demo: demonstration.Demo, *words: str) -> None:
    demonstration.run(demo, [str(demo.python), "manage.py", *words])


def edit(demo: demonstration.Demo, name: str, pattern: str, text: str) -> None:
    path = demo.project / name
    changed, count = re.subn(pattern, text, path.read_text(), count=1)
    assert count, f"{name} has no {pattern}"
    path.write_text(changed)


# The pictures


def take_pictures(demo: demonstration.Demo, browser: str) -> None:
    script = [str(demo.root / "current/manage.py"), "shell", "--verbosity", "0", "-c", SESSION]
    told = subprocess.run(script, check=True, capture_output=True, text=True).stdout
    cookie = f"sessionid={re.search(r'session (.*)', told)[1]}"
    status, page = visit(demo.socket, LIST, cookie)
    assert status == 200, page
    addresses = re.findall(rb'href="(/admin/django_deploy/deployment/\d+/)"', page)
    with_migration = addresses[-3].decode()
    with serving(demo.socket, cookie) as port:
        for scheme in SCHEMES:
            photograph(browser, f"http://127.0.0.1:{port}{LIST}", f"deployments-{scheme}", scheme, 800)
            address = f"http://127.0.0.1:{port}{with_migration}"
            photograph(browser, address, f"deployments-one-{scheme}", scheme, 1130)


def visit(path: Path, address: str, cookie: str) -> tuple[int, bytes]:
    answer, body = _ask(path, address, cookie)
    return answer.status, body


def _ask(path: Path, address: str, cookie: str) -> tuple[http.client.HTTPResponse, bytes]:
    connection = demonstration.UnixConnection(str(path))
    connection.request("GET", address, headers={"Host": "127.0.0.1", "Cookie": cookie})
    answer = connection.getresponse()
    return answer, answer.read()


class serving:
    """A port that shows the site to a browser which is logged in: each request gets the cookie."""

    def __init__(self, path: Path, cookie: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer, body = _ask(path, self.path, cookie)
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> int:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self.server.server_address[1]

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()


if __name__ == "__main__":
    main()
