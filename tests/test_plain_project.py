"""Whole deployments of a project that nobody has made a package of, to a folder of this machine.

It is as ``startproject`` and two ``startapp`` leave it, with templates, static files, uploads and a
front-end beside ``manage.py``. Only DEPLOY_TARGETS is added, and what the tool itself asks for.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.error_ids import without_ids
from tests.test_local_deployment import CHECKOUT, GARBAGE, PACKAGE, UnixConnection

UV = Path(sys.executable).with_name("uv")

TARGETS = """
INSTALLED_APPS += ["blog", "shop", "django_deploy"]
ALLOWED_HOSTS = ["localhost"]
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates", "more_templates"]
STATICFILES_DIRS = [BASE_DIR / "static", BASE_DIR.parent / "frontend" / "dist"]
MEDIA_ROOT = BASE_DIR / "media"
STATIC_ROOT = BASE_DIR / "staticfiles"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"file": {"class": "logging.FileHandler", "filename": BASE_DIR / "debug.log"}},
    "root": {"handlers": ["file"]},
}
DEPLOY_TARGETS = {
    "demo": {
        "HOSTS": ["local"],
        "ROOT": "@ROOT@",
        "PROCESSES": {"web": "gunicorn mysite.wsgi --bind unix:{socket} --no-control-socket"},
        "PROCESS_MANAGER": "supervisor",
        "HEALTH_CHECK": {"PATH": "/", "TIMEOUT": 60},
        "ENV": {},
    },
}
"""

URLS = """\
from pathlib import Path
from django.conf import settings
from django.http import JsonResponse
from django.template.loader import render_to_string
from django.urls import path
from blog.models import Post
from helpers import GREETING

def page(request):
    Post.objects.create(title="visited")
    return JsonResponse({
        "base": str(settings.BASE_DIR),
        "greeting": GREETING,
        "template": render_to_string("base.html").strip(),
        "more": render_to_string("more.html").strip(),
        "relative": Path("data/cities.txt").read_text(),
        "posts": Post.objects.count(),
        "debug": settings.DEBUG,
    })

urlpatterns = [path("", page)]
"""

MODELS = """\
from django.db import models

class Post(models.Model):
    title = models.CharField(max_length=100)
"""

MIGRATION = """\
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel("Post", [
            ("id", models.BigAutoField(
                auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
            ("title", models.CharField(max_length=100)),
        ]),
    ]
"""

FILES = {
    "backend/templates/base.html": "first edition",
    "backend/more_templates/more.html": "found from the working folder",
    "backend/static/css/site.css": "body {}",
    "backend/data/cities.txt": "Bern",
    "backend/media/photo.jpg": "a photo",
    "backend/lib/helpers.py": "GREETING = 'hello'\n",
    "backend/.env": "SECRET=1",
    "backend/tests/__init__.py": "",
    "backend/tests/test_blog.py": "raise RuntimeError\n",
    "backend/grüße aus.txt": "",
    "frontend/dist/app.js": "built",
    "frontend/node_modules/x/index.js": "no",
    ".gitignore": "frontend/dist\nmedia\n*.sqlite3\n",
}


class Site:
    """A developer's repository with its virtualenv in it, and the folder that it is deployed to."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder / "work"
        self.project = self.repository / "backend"
        self.root = folder / "site"
        self.venv = self.project / ".venv"
        self.project.mkdir(parents=True)
        self.package = folder / "django-deploy"
        self._install()
        self._start_project()
        self._kept = folder / "kept"
        self.keep()

    def _install(self) -> None:
        package = self.package
        package.mkdir()
        for name in PACKAGE:
            source = CHECKOUT / name
            if source.is_dir():
                shutil.copytree(source, package / name, ignore=GARBAGE)
            else:
                shutil.copy(source, package / name)
        subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, self.venv], check=True)
        install = [UV, "pip", "install", "--quiet", "--python", self.venv / "bin" / "python"]
        subprocess.run([*install, "-e", package, "gunicorn"], check=True)

    def _start_project(self) -> None:
        admin = self.venv / "bin" / "django-admin"
        subprocess.run([admin, "startproject", "mysite", self.project], check=True)
        for app in ("blog", "shop"):
            subprocess.run([admin, "startapp", app], check=True, cwd=self.project)
        settings = self.project / "mysite" / "settings.py"
        settings.write_text(settings.read_text() + TARGETS.replace("@ROOT@", str(self.root)))
        manage = self.project / "manage.py"
        path = "sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'lib'))"
        manage.write_text(manage.read_text().replace("\n\ndef main", f"\n\n{path}\n\n\ndef main", 1))
        for name, text in FILES.items():
            (self.repository / name).parent.mkdir(parents=True, exist_ok=True)
            (self.repository / name).write_text(text)
        (self.project / "mysite" / "urls.py").write_text(URLS)
        (self.project / "blog" / "models.py").write_text(MODELS)
        (self.project / "blog" / "migrations" / "0001_initial.py").write_text(MIGRATION)

    def keep(self) -> None:
        """From now on ``restore`` brings this state of the repository back."""
        shutil.rmtree(self._kept, ignore_errors=True)
        shutil.copytree(self.repository, self._kept, ignore=shutil.ignore_patterns(".venv"))

    def restore(self) -> None:
        """The repository as it was kept; what is deployed stays."""
        shutil.rmtree(self.repository / ".git", ignore_errors=True)
        for path in self.project.iterdir():
            if path != self.venv:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        shutil.copytree(self._kept, self.repository, dirs_exist_ok=True)

    def run(self, *command: str, folder: Path | None = None, **environ: str) -> tuple[int, str, str]:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environ}
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        done = subprocess.run(
            [self.venv / "bin" / "python", "manage.py", *command],
            cwd=folder or self.project,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return done.returncode, done.stdout, without_ids(done.stderr)

    def deploy(self) -> dict:
        status, out, err = self.run("deploy", "demo", "--json")
        assert status == 0, out + err
        return json.loads(out.splitlines()[-1])

    def append(self, text: str, name: str = "mysite/settings.py") -> None:
        file = self.project / name
        file.write_text(f"{file.read_text()}\n{text}\n")

    def fix(self, err: str) -> None:
        """Do what the error says: the lines for the settings, and those for ENV."""
        lines = [line.removeprefix("  | ") for line in err.splitlines() if line.startswith("  | ")]
        start = lines.index("  At the end of mysite.settings:")
        middle = lines.index("  In the target's ENV:")
        self.append("\n".join(line.removeprefix("    ") for line in lines[start + 1 : middle]))
        values = "".join(line.strip() for line in lines[middle + 1 :])
        self.append(f"DEPLOY_TARGETS['demo']['ENV'].update({{{values}}})")

    def page(self) -> dict:
        connection = UnixConnection(self.root / "run" / "web.sock")
        connection.request("GET", "/", headers={"Host": "localhost"})
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        assert response.status == 200, body
        return json.loads(body)

    @property
    def live(self) -> Path:
        return self.root / "releases" / Path(os.readlink(self.root / "current")).name

    def stop(self) -> None:
        try:
            pid = int((self.root / ".deploy" / "supervisor" / "supervisord.pid").read_text())
        except FileNotFoundError:
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 30
        while (self.root / ".deploy" / "supervisor" / "supervisor.sock").exists():
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)


@pytest.fixture(scope="module")
def repository():
    # Not pytest's own folder: its path is too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="plain-") as folder:
        site = Site(Path(folder))
        yield site
        site.stop()


@pytest.fixture(scope="module")
def refusal(repository) -> tuple[int, str, str]:
    """What the first deployment of all said; the repository is fixed as it has asked for."""
    done = repository.run("deploy", "demo")
    assert not (repository.root / "current").exists()
    repository.fix(done[2])
    repository.keep()
    return done


@pytest.fixture
def site(repository, refusal) -> Site:
    """The site with its first edition live."""
    repository.restore()
    repository.deploy()
    return repository


def test_settings_that_would_write_into_the_release(repository, refusal):
    status, _out, err = refusal

    assert status == 1
    (app,) = set(re.findall(r"DATABASES.* is (\S+)/db\.sqlite3", err))
    assert app.startswith(f"{repository.root}/releases/") and app.endswith("/venv/app")
    assert err.startswith(
        "CommandError: local: the new release does not start: its checks found errors\n"
        f'  | DATABASES["default"]["NAME"] is {app}/db.sqlite3, inside of the release: the next release would'
        " begin with an empty one.\n"
        f"  | MEDIA_ROOT is {app}/media, inside of the release: the next one would not have its files.\n"
        f"  | STATIC_ROOT is {app}/staticfiles, inside of the release: among its code. There is a better"
        " place in it:\n"
        f'  | LOGGING["handlers"]["file"]["filename"] is {app}/debug.log, inside of the release: it would end'
        " with the release.\n"
        "  |   At the end of mysite.settings:\n"
        "  |     import os\n"
        '  |     DATABASES["default"]["NAME"] = os.environ.get('
        '"DATABASE_DEFAULT", DATABASES["default"]["NAME"])\n'
        '  |     MEDIA_ROOT = os.environ.get("MEDIA_ROOT", MEDIA_ROOT)\n'
        '  |     if "DJANGO_DEPLOY_RELEASE_DIR" in os.environ:\n'
        '  |         STATIC_ROOT = os.path.join(os.environ["DJANGO_DEPLOY_RELEASE_DIR"], "static")\n'
    )
    assert f'  |     "DATABASE_DEFAULT": "{repository.root}/shared/db.sqlite3",\n' in err


def test_the_site_runs_as_it_does_here(site):
    page = site.page()

    posts = page.pop("posts")
    assert posts > 0
    assert page == {
        "base": str(site.live / "venv" / "app"),
        "greeting": "hello",
        "template": "first edition",
        "more": "found from the working folder",
        "relative": "Bern",
        "debug": True,
    }
    assert (site.live / "static" / "app.js").read_text() == "built"
    assert (site.live / "static" / "css" / "site.css").read_text() == "body {}"
    assert (site.root / "shared" / "db.sqlite3").stat().st_size > 0


def test_what_is_carried_and_what_stays_here(site):
    app = site.live / "venv" / "app"

    top = {path.name for path in app.iterdir()}
    assert top == {
        *("manage.py", "mysite", "blog", "shop", "lib", "templates", "more_templates", "static", "data"),
        *("tests", "grüße aus.txt"),
    }
    assert os.access(app / "manage.py", os.X_OK)
    assert (app / "manage.py").stat().st_nlink == 1
    assert (site.live / "venv" / "frontend" / "dist" / "app.js").is_file()
    assert not (site.live / "venv" / "frontend" / "node_modules").exists()


def test_the_plan_says_what_the_project_is_made_of(site):
    site.append("", "blog/views.py")

    status, out, err = site.run("deploy", "demo", "--plan")

    assert (status, err) == (0, ""), out + err
    (line,) = [line for line in out.splitlines() if "is no package" in line]
    pattern = r"  mysite is no package: \d+ files, \d+ kB; left out: (.*)"
    assert re.fullmatch(pattern, line)[1] == ".env, .venv/, debug.log, media/"
    assert re.search(r"~ mysite 0\+[0-9a-f]{12} -> 0\+[0-9a-f]{12}$", out, re.MULTILINE)


def test_modules_that_only_this_machine_has(site, tmp_path):
    packages = next(site.venv.glob("lib/python*/site-packages"))
    for name in (tmp_path / "from_path.py", packages / "dropped.py"):
        name.write_text("")
    site.append("import dropped, from_path")

    try:
        status, out, err = site.run("deploy", "demo", "--plan", PYTHONPATH=str(tmp_path))
    finally:
        (packages / "dropped.py").unlink()

    assert status == 1, out + err
    assert "  | ModuleNotFoundError: No module named 'dropped'\n" in err
    assert [line for line in out.splitlines() if line.startswith("warning")] == [
        f"warning: Modules {how} {folder} that no distribution owns, so no host gets them: {name}."
        " Install them, or take them off the path."
        for how, folder, name in (("run here from", tmp_path, "from_path"), ("lie in", packages, "dropped"))
    ]


def test_the_list_of_files(site):
    status, out, err = site.run("deploy_bundle", "demo", "--files")

    assert (status, err) == (0, ""), out + err
    lines = out.splitlines()
    assert f"{len('Bern'):12}  data/cities.txt" in lines
    assert f"{'-':>12}  .env" in lines
    assert f"{'-':>12}  media/" in lines
    assert f"{len('built'):12}  ../frontend/dist/app.js" in lines


def test_nothing_changed(site):
    before = site.live

    assert site.deploy()["outcome"] == "unchanged"
    assert site.live == before


def test_a_changed_template_is_a_new_release_and_goes_back(site):
    before, posts = site.live, site.page()["posts"]
    (site.project / "templates" / "base.html").write_text("second edition")

    assert site.deploy()["outcome"] == "deployed"

    page = site.page()
    assert page["template"] == "second edition"
    assert page["posts"] > posts  # the database stays
    assert site.live != before
    status, out, err = site.run("deploy_rollback", "demo")
    assert (status, err) == (0, ""), out + err
    assert (site.page()["template"], site.live) == ("first edition", before)


def test_manage_py_of_the_release(site):
    question = "import blog, helpers, os; print(blog.__file__, helpers.GREETING, os.environ['MEDIA_ROOT'])"
    expected = f"{site.live}/venv/app/blog/__init__.py hello {site.root}/shared/media\n"

    for manage in (site.root / "current" / "manage.py", site.live / "manage.py"):
        command = [manage, "shell", "--no-imports", "-c", question]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == (expected, "")


def test_an_app_with_the_name_of_an_installed_module(site):
    before = site.live
    (site.project / "sqlparse").mkdir()
    (site.project / "sqlparse" / "__init__.py").write_text("__path__ = []\n")
    (site.project / "colorsys.py").touch()

    status, _out, err = site.run("deploy", "demo", "--plan")

    assert status == 1
    assert err == (
        "CommandError: On a server the project's own modules come after all that is installed, so these would"
        " be hidden: colorsys, which Python itself has, too; sqlparse, which sqlparse has, too.\n"
        f"Rename them in {site.project}. Name in PROJECT_EXCLUDE what the site does not import.\n"
    )
    assert site.live == before


def test_a_settings_module_that_stays_here(site):
    site.append("DEPLOY_TARGETS['demo']['PROJECT_EXCLUDE'] = ['settings.py']")

    status, _out, err = site.run("deploy", "demo", "--plan")

    assert status == 1
    assert err == (
        "CommandError: The wheel of mysite does not hold the settings module mysite.settings.\n"
        "PROJECT_EXCLUDE or a rule for all projects leaves it out: name it in PROJECT_INCLUDE.\n"
    )


def test_a_log_in_a_folder_that_is_only_here(site):
    site.append("LOGGING['handlers']['file']['filename'] = BASE_DIR / 'logs' / 'debug.log'")
    (site.project / "logs").mkdir()

    status, _out, err = site.run("deploy", "demo")

    assert status == 1
    assert "  | ValueError: Unable to configure handler 'file'\n" in err
    assert (
        "If its file cannot be made there: at the end of the settings, say\n"
        '  LOGGING["handlers"]["file"]["filename"] = os.environ.get('
        '"LOG_FILE", LOGGING["handlers"]["file"]["filename"])\n'
        "and in the target's ENV name a file in ROOT/shared as LOG_FILE.\n"
    ) in err


def test_a_requirements_file_beside_manage_py(site):
    freeze = [UV, "pip", "freeze", "--exclude-editable", "--python", site.venv / "bin" / "python"]
    pins = subprocess.run(freeze, check=True, capture_output=True, text=True).stdout.splitlines()
    names = ("django=", "gunicorn=", "asgiref=", "sqlparse=", "packaging=", "typing-extensions=")
    kept = [pin for pin in pins if pin.startswith(names)]
    (site.project / "requirements.txt").write_text("\n".join(kept) + "\n")
    site.append("DEPLOY_TARGETS['demo']['REQUIREMENTS'] = 'requirements.txt'")

    status, out, err = site.run("deploy", "demo", "--plan")

    assert (status, err) == (0, ""), out + err
    assert f": {len(kept) + 2} distributions\n" in out  # and the project, and django-deploy
    assert "- " not in out


def test_requirements_that_are_compiled(site):
    (site.project / "requirements.in").write_text("django\ngunicorn\n")
    site.append("DEPLOY_TARGETS['demo']['REQUIREMENTS'] = 'requirements.in'")

    status, out, err = site.run("deploy", "demo", "--plan")

    assert (status, err) == (0, ""), out + err
    assert re.search(r"^mysite 0\+[0-9a-f]{12}: \d distributions$", out, re.MULTILINE)


def test_a_lock_file_beside_manage_py(site):
    """What ``pip freeze`` writes does not know of the project, which is not installed."""
    freeze = [UV, "pip", "freeze", "--python", site.venv / "bin" / "python"]
    (site.project / "requirements.txt").write_bytes(subprocess.check_output(freeze))
    site.append("DEPLOY_TARGETS['demo']['LOCK_FILE'] = 'requirements.txt'")

    status, out, err = site.run("deploy", "demo", "--plan")

    assert (status, err) == (0, ""), out + err


def test_a_revision(site):
    """What git has of it: not the front-end that only a build makes, and not what was changed since."""
    git = ["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.com"]
    for folder in (site.repository, site.package):
        for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
            subprocess.run([*git, *words], check=True, cwd=folder)
    site.append("INSTALLED_APPS += ['nothing']", "blog/views.py")
    site.append("DEPLOY_TARGETS['demo']['REQUIRE_CLEAN'] = True")

    status, out, err = site.run("deploy", "demo", "--plan")
    assert status == 1
    assert err.startswith(f"CommandError: REQUIRE_CLEAN is set, but {site.project} has uncommitted changes: ")
    status, out, err = site.run("deploy", "demo", "--plan", "--revision", "HEAD")

    assert (status, err) == (0, ""), out + err
    (line,) = [line for line in out.splitlines() if "is no package" in line]
    assert re.match(r"  mysite is no package: 2\d files, ", line), line
    assert re.search(r"^mysite 0\+[0-9a-f]{12}, git [0-9a-f]{12}: ", out, re.MULTILINE), out
    (warning,) = [line for line in out.splitlines() if "The revision lacks what the VCS ignores" in line]
    assert warning == (
        "warning: The revision lacks what the VCS ignores, which a deployment without --revision has:"
        " ../frontend/dist/app.js."
    )


def test_a_bundle_file(site, tmp_path):
    status, out, err = site.run("deploy_bundle", "demo", "-o", str(tmp_path / "site.bundle"))
    assert (status, err) == (0, ""), out + err

    status, out, err = site.run("deploy", "demo", "--bundle", str(tmp_path / "site.bundle"))

    assert (status, err) == (0, ""), out + err
    assert f"{site.live.name} is live already" in out


def test_settings_beside_manage_py_in_a_project_in_a_project(site):
    inner = site.project / "inner"
    inner.mkdir()
    settings = (site.project / "mysite" / "settings.py").read_text()
    alone = 'ROOT_URLCONF, WSGI_APPLICATION, urlpatterns = "settings", None, []'
    (inner / "settings.py").write_text(settings.replace('"blog", "shop", ', "") + f"\n{alone}\n")
    manage = (site.project / "manage.py").read_text().replace("mysite.settings", "settings")
    (inner / "manage.py").write_text(manage)
    (inner / "lib").mkdir()

    status, out, err = site.run("deploy", "demo", "--plan", folder=inner)

    assert (status, err) == (0, ""), out + err
    assert re.search(r"^settings 0\+[0-9a-f]{12}: ", out, re.MULTILINE)
    # Its own two, and what its settings name beside it: templates/ and static/.
    assert "  settings is no package: 4 files, " in out


def test_closure_of_a_project_that_declares_nothing(site):
    site.append("DEPLOY_TARGETS['demo']['REQUIREMENTS'] = 'closure'")

    status, _out, err = site.run("deploy", "demo", "--plan")

    assert status == 1
    assert err.startswith(
        f"CommandError: REQUIREMENTS is 'closure', but the project in {site.project} is no package: it"
        " declares nothing.\nLeave REQUIREMENTS at 'environment' and EXTRAS empty, or make it a package. "
    )
