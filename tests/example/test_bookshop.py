"""The bookshop as its developer and its server run it: real processes, in a copy."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "example_project"
RELEASE = "20261122T174500Z-3f9c2a1"

#: Asks a site in its own process for some pages.
VISIT = """
import json, sys
from contextlib import closing
import django
from django.test import Client
django.setup()
pages = {}
for path in sys.argv[1:]:
    with closing(Client(headers={"host": "localhost"}).get(path)) as response:
        pages[path] = [response.status_code, response.getvalue().decode()]
print(json.dumps(pages))
"""


class Shop:
    """A copy of the project and the environment it runs in."""

    def __init__(self, folder, **environment):
        self.folder = folder
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("DJANGO_", "BOOKSHOP_"))
            },
            "PYTHONPATH": os.pathsep.join([str(folder), str(folder / "reviews"), str(EXAMPLE.parent)]),
            "DJANGO_SETTINGS_MODULE": "bookshop.settings",
            **environment,
        }

    def command(self, *words):
        return [sys.executable, str(self.folder / "manage.py"), *words]

    def manage(self, *words):
        """Standard output of a command that succeeds."""
        return self.run(*self.command(*words))

    def visit(self, *paths):
        """Status and text by path."""
        return json.loads(self.run(sys.executable, "-c", VISIT, *paths))

    def run(self, *command):
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def copy(tmp_path):
    folder = tmp_path / "shop"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("var", "*.egg-info", "__pycache__"))
    return folder


@pytest.fixture
def development(copy):
    return Shop(copy)


@pytest.fixture
def deployed(copy, tmp_path):
    """As the host program runs it: folders of a release and of the site."""
    release, shared = tmp_path / "release", tmp_path / "shared"
    release.mkdir()
    shared.mkdir()
    (release / "release.json").write_text(json.dumps({"id": RELEASE}))
    return Shop(
        copy,
        DJANGO_DEPLOY_RELEASE_DIR=str(release),
        DJANGO_DEPLOY_SHARED=str(shared),
        BOOKSHOP_SECRET_KEY="not a secret, but long enough for a check that counts letters",
        BOOKSHOP_ALLOWED_HOSTS="localhost",
    )


def test_its_own_tests_pass(development):
    development.manage("test", "--verbosity", "0")


def test_migrations_are_complete(development):
    development.manage("makemigrations", "--check", "--dry-run")


def test_nothing_needs_to_be_set_in_development(development):
    development.manage("migrate", "--verbosity", "0")

    [(status, body)] = development.visit("/healthz/").values()
    assert (status, body.partition(', "worker"')[0]) == (200, '{"ok": true, "release": null')
    assert (development.folder / "var" / "database.sqlite3").is_file()


def test_a_server_must_be_told_its_secret(deployed):
    del deployed.environment["BOOKSHOP_SECRET_KEY"]

    done = subprocess.run(
        deployed.command("check"),
        cwd=deployed.folder,
        env=deployed.environment,
        capture_output=True,
        text=True,
    )

    assert done.stderr.endswith("KeyError: 'BOOKSHOP_SECRET_KEY'\n")


def test_deployed(deployed, tmp_path):
    deployed.manage("collectstatic", "--noinput", "--verbosity", "0")
    deployed.manage("migrate", "--verbosity", "0")
    deployed.manage("compress", "--force")
    [(status, home)] = deployed.visit("/").values()
    stylesheet = re.search(r'href="(/static/CACHE/css/[^"]+\.css)"', home)[1]
    pages = deployed.visit("/healthz/", "/books/emma/", stylesheet)

    assert status == 200
    assert f'<code id="release">{RELEASE}</code>' in home
    status, body = pages["/healthz/"]
    assert (status, body.partition(', "worker"')[0]) == (200, f'{{"ok": true, "release": "{RELEASE}"')
    assert "Jane Austen" in pages["/books/emma/"][1]
    assert ".shelf" in pages[stylesheet][1]
    assert ".stars" in pages[stylesheet][1]  # of the other distribution
    assert sorted(path.name for path in (tmp_path / "release").iterdir()) == ["release.json", "static"]
    assert (tmp_path / "shared" / "database.sqlite3").is_file()


def test_the_worker_leaves_at_once_when_asked(development):
    development.manage("migrate", "--verbosity", "0")
    worker = subprocess.Popen(
        development.command("restock", "--every", "600"),
        cwd=development.folder,
        env={**development.environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )

    with worker:
        assert worker.stdout.readline() == "Emma: 6 in stock\n"
        worker.send_signal(signal.SIGTERM)
        rest = worker.stdout.read()

    assert worker.returncode == 0
    assert rest == "The worker has stopped.\n"
