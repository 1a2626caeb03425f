"""A project as ``startproject`` makes it, and what is proposed for it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.error_ids import without_ids
from tests.test_local_deployment import CHECKOUT, UnixConnection
from tests.test_plain_project import Site


class Project:
    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        subprocess.run([sys.executable, "-m", "django", "startproject", "mysite", folder], check=True)
        self.settings, self.urls = folder / "mysite/settings.py", folder / "mysite/urls.py"
        self.append('INSTALLED_APPS += ["django_deploy"]')

    def append(self, text):
        self.settings.write_text(f"{self.settings.read_text()}{text}\n")

    @property
    def files(self):
        return self.settings.read_text(), self.urls.read_text()

    def command(self, *words):
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "TERM": "dumb"}
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        return {"args": [sys.executable, "manage.py", *words], "cwd": self.folder, "env": environment}

    def run(self, *words):
        done = subprocess.run(
            **self.command(*words), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        return done.returncode, done.stdout, without_ids(done.stderr)

    def answer(self, *words, answers):
        """The same at a terminal; gives the status and what was seen."""
        controller, terminal = pty.openpty()
        process = subprocess.Popen(**self.command(*words), stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        os.write(controller, answers.encode())
        seen = b""
        while True:
            try:
                data = os.read(controller, 4096)
            except OSError:  # Linux says so when the last writer has gone
                break
            if not data:
                break
            seen += data
        os.close(controller)
        return process.wait(60), seen.decode()


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "shop")


def test_changes_are_shown_and_not_made_without_a_word(project):
    before = project.files

    status, out, err = project.run("deploy_init", "--host", "deploy@web1.example.com:2222")

    assert (status, err) == (
        1,
        "CommandError: Nothing was written.\nWith --yes all of it is, without a question.\n",
    )
    assert '+    path("healthz/", health),\n' in out
    assert '+        "HOSTS": ["deploy@web1.example.com:2222"],\n+        "ROOT": "/srv/shop",\n' in out
    assert '+            "ALLOWED_HOSTS": "web1.example.com",\n' in out
    assert project.files == before


def test_what_is_written_passes_the_checks(project):
    status, out, err = project.run("deploy_init", "--host", "deploy@web1", "--yes")

    assert (status, err) == (0, "")
    assert (
        out.endswith(
            "Now:\n"
            "  export STAGING_SECRET_KEY=\"$(python -c 'import secrets; print(secrets.token_urlsafe(50))')\""
            "    # once; keep its value\n"
            "  python manage.py deploy_setup staging    # a new server, once\n"
            "  python manage.py deploy --plan staging\n"
            "  python manage.py deploy staging\n"
        )
        or "  pip install gunicorn\n" in out
    )
    assert project.run("check", "--tag", "django_deploy") == (
        0,
        "System check identified no issues (0 silenced).\n",
        "",
    )
    assert project.run("deploy")[1] == "staging  deploy@web1  /srv/shop\n"


def test_a_site_does_not_belong_to_root(project):
    """What one knows of a new server is root: deploy_setup makes the user."""
    project.run("deploy_init", "--host", "root@203.0.113.7", "--domain", "shop.example.com", "--yes")

    wanted = """\
        "HOSTS": ["203.0.113.7"],
        "USER": "shop",
        "ROOT": "/srv/shop",
        "WEB": "caddy",
        "DOMAIN": "shop.example.com",
        "ENV": {
            "ALLOWED_HOSTS": "shop.example.com",
"""
    assert wanted in project.files[0]
    assert project.run("check", "--tag", "django_deploy")[0] == 0


def test_a_second_target_is_added_and_the_first_one_left_alone(project):
    project.run("deploy_init", "--host", "web1", "--yes")
    first = project.files

    again = project.run("deploy_init", "--host", "web1", "--yes")
    second = project.run("deploy_init", "production", "--host", "web2", "--root", "/srv/other", "--yes")

    assert again == (2, "", "CommandError: DEPLOY_TARGETS has a target 'staging' already: edit it there.\n")
    assert second[0] == 0
    assert project.files[1] == first[1]
    assert project.files[0].startswith(first[0].rstrip())
    assert project.run("deploy")[1].splitlines() == [
        "staging     web1  /srv/shop",
        "production  web2  /srv/other",
    ]


def test_each_change_is_asked_about(project):
    before = project.files

    status, seen = project.answer("deploy_init", answers="deploy@web1\nn\ny\n")

    assert "Where does staging live? (its address, or user@address)" in seen
    assert "Change urls.py like this? [Y/n]" in seen
    assert "Change settings.py like this? [Y/n]" in seen
    assert status == 1
    assert project.files[1] == before[1]
    assert '"HOSTS": ["deploy@web1"]' in project.files[0]


def test_without_a_host_there_is_no_target(project):
    assert project.run("deploy_init") == (
        2,
        "",
        "CommandError: Where does it go?\nSay it with --host USER@HOST, or --host local.\n",
    )


def test_a_target_that_would_be_refused_is_not_written(project):
    before = project.files

    status, _, err = project.run("deploy_init", "--host", "web1", "--root", "srv", "--yes")

    assert status == 2
    assert "DEPLOY_TARGETS['staging']['ROOT']: must be an absolute path" in err
    assert project.files == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--host", "web1", "--domain", "x y"),
            "DEPLOY_TARGETS['staging']['DOMAIN']: must be the name that visitors type, as in"
            " 'shop.example.com', not 'x y'",
        ),
        (
            ("--host", "web1", "--host", "web2", "--domain", "x y"),
            "DEPLOY_TARGETS['staging']['DOMAIN']: must be the name that visitors type",
        ),
        (("a b", "--host", "web1"), "is not a name for a target: use letters, digits, '.', '-' and '_'."),
        (
            ("--host", "ann@web1", "--host", "bob@web2", "--host", "web3"),
            "DEPLOY_TARGETS['staging']['USER']: is 'shop', and HOSTS logs in as another",
        ),
    ],
)
def test_what_the_checks_refuse_is_not_written(project, words, message):
    before = project.files

    status, _, err = project.run("deploy_init", *words, "--yes")

    assert status == 2
    assert message in err
    assert project.files == before


def test_targets_do_not_share_a_folder_on_a_host(project):
    project.run("deploy_init", "--host", "web1", "--yes")
    before = project.files

    status, _, err = project.run("deploy_init", "production", "--host", "web1", "--yes")

    assert status == 2
    assert (
        "DEPLOY_TARGETS['production']['ROOT']: is that of 'staging', too, on the same host (web1): each would"
        " replace the other. Give each target a ROOT of its own."
    ) in " ".join(err.split())
    assert project.files == before


def test_what_the_settings_tell(project):
    project.append('SECRET_KEY = os.environ["DJANGO_KEY"] if False else os.environ["MY_KEY"]')
    project.settings.write_text(f"import os\n{project.settings.read_text()}")
    (project.folder / "mysite/celery.py").write_text("")
    project.append('CELERY_BEAT_SCHEDULE = {"x": {}}')
    project.append('ASGI_APPLICATION = "mysite.asgi.application"\nMEDIA_ROOT = BASE_DIR / "uploads"')
    (project.folder / "celery.py").write_text("")  # as if it were installed
    os.environ["MY_KEY"] = "k"
    try:
        _, out, _ = project.run("deploy_init", "--host", "web1")
    finally:
        del os.environ["MY_KEY"]

    added = [line[1:] for line in out.splitlines() if re.match(r"\+[^+]", line)]
    assert '            "MY_KEY": os.environ.get("STAGING_MY_KEY", ""),' in added
    assert not any("SECRET_KEY" in line for line in added)
    assert '    MEDIA_ROOT = os.path.join(os.environ["DJANGO_DEPLOY_SHARED"], "uploads")' in added
    assert any(line.strip().startswith('"web": "') and "mysite.asgi" in line for line in added)
    assert '            "worker": "celery -A mysite worker",' in added
    beat = '"COMMAND": "celery -A mysite beat --schedule /srv/shop/shared/celerybeat-schedule",'
    assert f"                {beat}" in added


@pytest.mark.parametrize(
    ("installed", "apps", "server"),
    [
        (("uvicorn", "daphne", "channels"), ("daphne", "channels"), "daphne"),
        (("uvicorn", "daphne", "channels"), ("channels",), "daphne"),  # that uvicorn knows no WebSockets
        (("uvicorn", "daphne", "channels", "websockets"), ("channels",), "uvicorn"),
        (("uvicorn", "daphne", "channels"), (), "uvicorn"),
    ],
)
def test_the_server_of_channels(project, installed, apps, server):
    for name in installed:
        (project.folder / name).mkdir()
        (project.folder / name / "__init__.py").touch()
    project.append(f'ASGI_APPLICATION = "mysite.asgi.application"\nINSTALLED_APPS += {list(apps)}')

    _, out, _ = project.run("deploy_init", "--host", "web1")

    assert f'+            "web": "{server} ' in out


@pytest.mark.parametrize(
    ("celery", "has_beat"),
    [
        ("app.conf.beat_schedule = {}", True),
        ("app.conf.update(beat_schedule={})", True),
        ("@app.on_after_finalize.connect\ndef plan(sender, **_):\n    sender.add_periodic_task(10, x)", True),
        ("app.autodiscover_tasks()", False),
    ],
)
def test_the_schedule_of_a_celery_app(project, celery, has_beat):
    (project.folder / "mysite/celery.py").write_text(f"{celery}\n")
    (project.folder / "celery.py").touch()  # as if it were installed

    _, out, _ = project.run("deploy_init", "--host", "web1")

    command = "celery -A mysite beat --schedule /srv/shop/shared/celerybeat-schedule"
    beat = f'+                "COMMAND": "{command}",\n+                "SINGLETON": True,\n'
    assert '+            "worker": "celery -A mysite worker",' in out
    assert (beat in out) is has_beat


def split(folder, *, wsgi="mysite.settings.production"):
    """Settings for here and for servers, with what they share; gives the three files."""
    package = folder / "mysite/settings"
    package.mkdir()
    (package / "__init__.py").touch()
    base, dev, production = (package / f"{name}.py" for name in ("base", "dev", "production"))
    (folder / "mysite/settings.py").rename(base)
    base.write_text(base.read_text().replace("parent.parent", "parent.parent.parent"))
    dev.write_text("from .base import *\n\nDEBUG = True\n")
    production.write_text("from .base import *\n\nDEBUG = False\n")
    for name, module in (("manage.py", "mysite.settings.dev"), ("mysite/wsgi.py", wsgi)):
        file = folder / name
        file.write_text(
            file.read_text()
            .replace('MODULE", "mysite.settings"', f'MODULE", "{module}"')
            .replace("MODULE', 'mysite.settings'", f"MODULE', '{module}'")
        )
    return base, dev, production


def test_what_is_in_files_that_the_settings_import(project):
    base, dev, production = split(project.folder, wsgi="mysite.settings.dev")
    before = base.read_text(), production.read_text()

    status, out, err = project.run("deploy_init", "--host", "web1", "--yes")

    assert (status, err) == (0, ""), out
    assert '    SECRET_KEY = os.environ["SECRET_KEY"]\n' in dev.read_text()
    assert '    ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split()\n' in dev.read_text()
    assert '            "SECRET_KEY": os.environ.get("STAGING_SECRET_KEY", ""),\n' in dev.read_text()
    assert "SETTINGS_MODULE" not in dev.read_text()
    assert (base.read_text(), production.read_text()) == before


def test_settings_that_only_servers_run(project):
    base, dev, production = split(project.folder)
    production.write_text(
        f'{production.read_text()}DATABASES["default"]["NAME"] = "x"\nLOGGING = {{"version": 1}}\n'
    )
    before = base.read_text()

    status, out, err = project.run("deploy_init", "--host", "web1", "--yes")

    assert (status, err) == (0, ""), out
    assert out.startswith(
        "mysite/wsgi.py names the settings mysite.settings.production, manage.py mysite.settings.dev.\n"
        "The target gets the former; DEPLOY_TARGETS stands in the latter.\n\n"
    )
    assert production.read_text().startswith("import os\nfrom .base import *\n")
    assert '    SECRET_KEY = os.environ["SECRET_KEY"]\n' in production.read_text()
    assert '    ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split()\n' in production.read_text()
    assert "DEBUG = False\n" in production.read_text() and "    DEBUG" not in production.read_text()
    assert "    LOGGING" not in production.read_text()
    assert '        "SETTINGS_MODULE": "mysite.settings.production",\n' in dev.read_text()
    assert "DJANGO_DEPLOY_RELEASE_DIR" not in dev.read_text()
    assert base.read_text() == before
    assert project.run("check", "--tag", "django_deploy")[0] == 0

    second = project.run("deploy_init", "production", "--host", "web2", "--yes")

    assert second[0] == 0
    assert production.read_text().count("DJANGO_DEPLOY_RELEASE_DIR") == 2  # the first time's
    assert dev.read_text().count('"SETTINGS_MODULE": "mysite.settings.production"') == 2


def test_hosts_that_a_servers_settings_name_are_meant_so(project):
    _, dev, production = split(project.folder)
    production.write_text(f'{production.read_text()}ALLOWED_HOSTS = ["shop.example.com"]\n')

    project.run("deploy_init", "--host", "web1", "--yes")

    assert "ALLOWED_HOSTS" not in dev.read_text()
    assert production.read_text().count("ALLOWED_HOSTS") == 1


@pytest.mark.parametrize("wsgi", ["mysite.settings", "mysite.settings.nowhere"])
def test_settings_that_are_none(project, wsgi):
    """An ``wsgi.py`` that names the package still: servers get the settings that the command runs with."""
    _, dev, _ = split(project.folder, wsgi=wsgi)

    assert project.run("deploy_init", "--host", "web1", "--yes")[0] == 0
    assert "SETTINGS_MODULE" not in dev.read_text()


def test_settings_that_somebody_chose(project):
    _, _, production = split(project.folder)

    status, _, _ = project.run(
        "deploy_init", "--host", "web1", "--yes", "--settings", "mysite.settings.production"
    )

    assert status == 0
    assert "DEPLOY_TARGETS" in production.read_text() and "SETTINGS_MODULE" not in production.read_text()


class Fresh(Site):
    """A project of which nothing is written but that the app is installed."""

    def _start_project(self) -> None:
        admin = self.venv / "bin" / "django-admin"
        subprocess.run([admin, "startproject", "mysite", self.project], check=True)
        self.append('INSTALLED_APPS += ["django_deploy"]')


@pytest.mark.parametrize("is_split", [False, True])
def test_a_new_project_goes_live_by_what_was_proposed(monkeypatch, is_split):
    # Not pytest's own folder: its path is too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="init-") as folder:
        site = Fresh(Path(folder))
        if is_split:
            split(site.project)
        monkeypatch.setenv("HERE_SECRET_KEY", "long enough to please everybody, and not a secret at all")

        status, out, err = site.run(
            "deploy_init", "here", "--host", "local", "--root", str(site.root), "--yes"
        )
        assert (status, err) == (0, ""), out
        file = "mysite/settings/dev.py" if is_split else "mysite/settings.py"
        site.append('DEPLOY_TARGETS["here"]["PROCESS_MANAGER"] = "supervisor"', file)
        try:
            status, out, err = site.run("deploy", "here")
            assert status == 0, out + err
            connection = UnixConnection(site.root / "run" / "web.sock")
            connection.request("GET", "/healthz/", headers={"Host": "localhost"})
            answer = connection.getresponse().read().decode()
            connection.close()
            record = json.loads((site.root / "current" / "release.json").read_text())
        finally:
            site.stop()

    assert record["settings_module"] == ("mysite.settings.production" if is_split else "mysite.settings")
    live = re.search(r"(?m)^(20\S+) is live", out)[1]
    assert json.loads(answer).items() >= {"ok": True, "release": live}.items()
