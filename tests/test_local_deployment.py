"""Whole deployments to a folder of this machine: the real command, the example project, supervisor.

What needs a host of its own (SSH, systemd, nginx, lost links) is in ``tests/hosts``.
"""

from __future__ import annotations

import csv
import getpass
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.bundle.archives import make_wheel
from tests.error_ids import without_ids
from tests.hosts.keyboard import Keyboard

CHECKOUT = Path(__file__).parents[1]
PACKAGE = ("django_deploy", "pyproject.toml", "setup.py", "README.rst", "LICENSE")
GARBAGE = shutil.ignore_patterns("__pycache__", "*.egg-info", "var", "build")


#: Checks of the site: one that depends on its surroundings, and one that does not.
NO_COFFEE = """
import os
from django.core import checks

@checks.register
def find_coffee(app_configs, **kwargs):
    missing = os.path.exists({trouble!r})
    return [checks.Error("There is no coffee.", id="shop.E001")] if missing else []
"""
NO_TEA = """
@checks.register
def find_tea(app_configs, **kwargs):
    is_deployed = "DJANGO_DEPLOY_SHARED" in os.environ
    return [checks.Error("There is no tea.", id="shop.E002")] if is_deployed else []
"""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


class Shop:
    """A developer's copy of the bookshop with its virtualenv, and the folder that it is deployed to."""

    def __init__(self, folder):
        self.project = folder / "example_project"
        self.root = folder / "site"
        self.package = folder / "django-deploy"
        self.venv = folder / "venv"
        shutil.copytree(CHECKOUT / "example_project", self.project, ignore=GARBAGE)
        self.package.mkdir()
        for name in PACKAGE:
            source = CHECKOUT / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, self.package / name, **({"ignore": GARBAGE} if source.is_dir() else {}))
        self._create_virtualenv()
        self.environment = {**os.environ, "BOOKSHOP_DEMO_ROOT": str(self.root)}
        self.environment.pop("DJANGO_SETTINGS_MODULE", None)

    def _create_virtualenv(self):
        uv = Path(sys.executable).with_name("uv")
        editable = [
            word for path in (self.package, self.project, self.project / "reviews") for word in ("-e", path)
        ]
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, self.venv], check=True)
        python = self.venv / "bin" / "python"
        subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *editable], check=True)

    @contextmanager
    def lookalike(self, name, folder):
        """Installed from a folder: the same files but one; gives the version."""
        info = next(self.venv.glob(f"lib/python*/site-packages/{name}-*.dist-info"))
        changed = {f"{name}/__init__.py": (info.parent / name / "__init__.py").read_text() + "# changed\n"}
        names = [row[0] for row in csv.reader((info / "RECORD").read_text().splitlines())]
        kept = [name for name in names if name.endswith((".py", "entry_points.txt")) and name not in changed]
        version = info.name.removesuffix(".dist-info").rpartition("-")[2]
        files = {**changed, **{name: (info.parent / name).read_text() for name in kept}}
        make_wheel(folder, name, version, files=files)
        self._reinstall(f"{name}=={version}", "--no-index", "--find-links", folder)
        yield version
        self._reinstall(f"{name}=={version}")

    def _reinstall(self, requirement, *options):
        command = [
            Path(sys.executable).with_name("uv"),
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--reinstall",
        ]
        python = self.venv / "bin" / "python"
        subprocess.run([*command, "--python", python, *options, requirement], check=True)

    def start(self, *command):
        argv = [self.venv / "bin" / "python", "manage.py", *command]
        return subprocess.Popen(
            argv,
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command):
        with self.start(*command) as process:
            out, err = process.communicate(timeout=240)
        return process.returncode, out, without_ids(err)

    def sit_at(self, *command):
        """The same at a terminal."""
        argv = [str(self.venv / "bin" / "python"), "manage.py", *command]
        return Keyboard(argv, self.project, self.environment)

    def deploy(self, *options):
        status, out, err = self.run("deploy", "demo", "--json", *options)
        assert status == 0, out + err
        return json.loads(out.splitlines()[-1])

    def change_mark(self, text):
        (self.project / "catalogue" / "mark.py").write_text(f'MARK = "{text}"\n')

    def add_command(self, name, body):
        path = self.project / "catalogue" / "management" / "commands" / f"{name}.py"
        path.write_text(
            "import os, time\nfrom django.core.management.base import BaseCommand, CommandError\n"
            f"class Command(BaseCommand):\n    def handle(self, **options):\n        {body}\n"
        )

    @contextmanager
    def dawdling(self):
        """A deployment waits in its step ``dawdle`` until the block ends."""
        gate = self.root / "shared" / "gate"
        self.add_command(
            "dawdle",
            f"deadline = time.monotonic() + 60\n"
            f"        while os.path.exists({str(gate)!r}) and time.monotonic() < deadline: time.sleep(0.05)",
        )
        self.set_target(STEPS=["collectstatic --noinput", "compress --force", "dawdle"])
        gate.touch()
        try:
            yield
        finally:
            gate.unlink()

    def set_target(self, **keys):
        settings = self.project / "bookshop" / "settings.py"
        settings.write_text(f"{settings.read_text()}\nDEPLOY_TARGETS['demo'].update({keys!r})\n")

    def mark(self):
        """What the site says over its socket."""
        connection = UnixConnection(self.root / "run" / "web.sock")
        connection.request("GET", "/", headers={"Host": "localhost"})
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        assert response.status == 200, body
        return re.search(r'<span id="mark">(.*?)</span>', body)[1]

    @property
    def live(self):
        return Path(os.readlink(self.root / "current")).name

    def states(self):
        return {path.name: (path / "state").read_text().strip() for path in self.root.glob("releases/2*")}

    def check(self):
        """Links, states, sockets and processes agree, once the old ones have gone."""
        deadline = time.monotonic() + 30
        while True:
            try:
                return self._check_once()
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _check_once(self):
        live = self.live
        assert [id for id, state in self.states().items() if state == "live"] == [live]
        assert "preparing" not in self.states().values()
        assert os.readlink(self.root / "run" / "web.sock") == f"web.{live}.sock"
        assert {path.name for path in (self.root / "run").iterdir()} == {"web.sock", f"web.{live}.sock"}
        journal = self.root / ".deploy" / "transaction.json"
        assert not journal.exists(), (journal.read_text(), (self.root / ".deploy/lock").read_text())
        programs = {path.name for path in (self.root / ".deploy/supervisor/programs").iterdir()}
        assert programs == {f"web@{live}.conf", f"worker@{live}.conf"}
        assert self.releases_that_run() == {live}

    def releases_that_run(self):
        """The releases whose virtualenv any process of this machine runs in."""
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            found |= set(re.findall(rf"{re.escape(str(self.root))}/releases/([^/]+)/", command))
        return found

    def stop(self):
        try:
            pid = int((self.root / ".deploy" / "supervisor" / "supervisord.pid").read_text())
        except FileNotFoundError:
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 30
        while self.releases_that_run() and time.monotonic() < deadline:
            time.sleep(0.1)


@pytest.fixture(scope="module")
def environment():
    # Not pytest's own folder: its path is too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="shop-") as folder:
        shop = Shop(Path(folder))
        yield shop
        shop.stop()


@pytest.fixture
def shop(environment):
    """The shop with its first edition live, and the developer's folder as the checkout has it."""
    for path in CHECKOUT.joinpath("example_project").rglob("*.py"):
        copy = environment.project / path.relative_to(CHECKOUT / "example_project")
        if copy.exists() and copy.read_bytes() != path.read_bytes():
            shutil.copyfile(path, copy)
    for path in (environment.project / "catalogue" / "management" / "commands").glob("*.py"):
        if not (CHECKOUT / "example_project" / path.relative_to(environment.project)).exists():
            path.unlink()
    environment.deploy()
    assert environment.mark() == "first edition"
    return environment


def wait_for_event(deployer, kind, **fields):
    """Read a running deployment's events up to one; what came before is given back."""
    seen = []
    for line in deployer.stdout:
        seen.append(json.loads(line))
        if seen[-1]["event"] == kind and fields.items() <= seen[-1].items():
            return seen
    raise AssertionError(f"no {kind} in {seen}\n{deployer.stderr.read()}")


def test_a_changed_line_is_a_new_release(shop):
    before = shop.live
    shop.change_mark("second edition")

    finished = shop.deploy()

    assert (finished["outcome"], finished["release"]) == ("deployed", shop.live)
    assert shop.mark() == "second edition"
    shop.check()
    assert shop.states()[before] == "retired"


def log_in(shop, name):
    """As an administrator of the site, whom this makes; gives the cookies."""
    with_password = {**os.environ, "DJANGO_SUPERUSER_PASSWORD": "a long password"}
    make = ["createsuperuser", "--noinput", "--username", name, "--email", f"{name}@example.com"]
    subprocess.run(
        [shop.root / "current/manage.py", *make], check=True, env=with_password, capture_output=True
    )
    cookies = cookies_of(ask(shop, "GET", "/admin/login/"))
    fields = {"username": name, "password": "a long password", "csrfmiddlewaretoken": cookies["csrftoken"]}
    return {**cookies, **cookies_of(ask(shop, "POST", "/admin/login/", cookies, urlencode(fields)))}


def ask(shop, method, path, cookies=None, body=None):
    """The answer of the site over its socket; its text is in ``text``."""
    connection = UnixConnection(shop.root / "run" / "web.sock")
    cookie = "; ".join(f"{name}={value}" for name, value in (cookies or {}).items())
    form = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
    connection.request(method, path, body, {"Host": "localhost", "Cookie": cookie, **form})
    response = connection.getresponse()
    response.text = response.read().decode()
    connection.close()
    return response


def cookies_of(response):
    return dict(re.match(r"(\w+)=([^;]*)", value).groups() for value in response.msg.get_all("Set-Cookie"))


def test_the_sites_admin_tells_of_its_deployments(shop):
    before = shop.live
    shop.change_mark("second edition")
    shop.deploy()

    cookies = log_in(shop, "anna")
    page = ask(shop, "GET", "/admin/django_deploy/deployment/", cookies)

    assert page.status == 200, page.text
    assert f"the release <strong>{shop.live}</strong> is live, version 1.0" in page.text
    assert page.text.count("<strong>live</strong>") == 1
    (newest, *_) = re.findall(r'href="(/admin/django_deploy/deployment/\d+/)"', page.text)
    text = re.sub(r"(\s|<[^>]*>)+", " ", ask(shop, "GET", newest, cookies).text)
    assert f"Release {shop.live}" in text
    assert f"Before it {before}" in text
    assert re.search(r"bookshop 1\.0 1\.0 rebuilt", text), text
    for phase in ("prepare", "preflight", "steps: migrate --noinput", "activate"):
        assert re.search(rf"{phase} [0-9.]+ s [0-9.]+ s", text), (phase, text)


def test_nothing_changed(shop):
    before = shop.live

    status, out, err = shop.run("deploy", "demo")

    assert (status, err) == (0, ""), out + err
    assert f"{before} is live already" in out
    assert shop.live == before


def test_a_plan_changes_nothing(shop):
    before, states = shop.live, shop.states()
    shop.change_mark("planned edition")

    status, out, err = shop.run("deploy", "demo", "--plan")

    assert (status, err) == (0, ""), out + err
    assert "~ bookshop 1.0 (other content)" in out
    assert (shop.live, shop.states(), shop.mark()) == (before, states, "first edition")


def test_rollback_and_forward_again(shop):
    first = shop.live
    shop.change_mark("second edition")
    second = shop.deploy()["release"]

    status, out, err = shop.run("deploy_rollback", "demo")
    assert (status, err) == (0, ""), out + err
    assert (shop.live, shop.mark()) == (first, "first edition")
    shop.check()

    status, out, err = shop.run("deploy_rollback", "demo", second)
    assert (status, err) == (0, ""), out + err
    assert (shop.live, shop.mark()) == (second, "second edition")
    shop.check()


def test_rollback_to_a_release_that_is_not_there(shop):
    before = shop.live
    shop.change_mark("second edition")
    second = shop.deploy()["release"]

    status, _out, err = shop.run("deploy_rollback", "demo", "yesterday")

    assert status == 2
    remedy = rf"There is: (2\S+, )*{before}(, 2\S+)*\."
    assert re.fullmatch(rf"CommandError: There is no release 'yesterday'\.\n{remedy}\n", err), err
    assert shop.live == second


def test_what_cannot_be_written_down_after_confirm_is_a_warning(shop):
    history = shop.root / ".deploy/history.jsonl"
    kept = history.rename(history.with_name("kept"))
    history.mkdir()
    shop.change_mark("second edition")

    status, out, err = shop.run("deploy", "demo", "--json")
    history.rmdir()
    kept.rename(history)

    assert (status, err) == (0, "")
    [warning] = [event for event in map(json.loads, out.splitlines()) if event["event"] == "warning"]
    assert warning["message"] == (
        f"{shop.live} is live, but something could not be recorded: [Errno 21] Is a directory: '{history}'"
    )
    assert shop.mark() == "second edition"
    shop.check()


def test_a_lost_link_to_the_socket_is_made_again(shop):
    before, link = shop.live, shop.root / "run" / "web.sock"
    link.unlink()

    assert shop.deploy()["outcome"] == "deployed"

    assert shop.live != before
    assert link.is_symlink()
    shop.check()


def test_a_folder_in_the_place_of_current_is_put_aside_though_nothing_else_changes(shop):
    before = shop.live
    shop.root.joinpath("current").unlink()
    shop.root.joinpath("current").mkdir()

    status, out, err = shop.run("deploy", "demo", "--json")

    assert (status, err) == (0, "")
    aside = shop.root / "current.aside-1"
    [warning] = [event for event in map(json.loads, out.splitlines()) if event["event"] == "warning"]
    link = f"{shop.root}/current"
    assert warning["message"] == f"{link} was not made by django-deploy; it was renamed to {aside}"
    aside.rmdir()
    assert shop.live > before
    shop.check()


def test_a_failing_step_changes_nothing(shop):
    before = shop.live
    shop.change_mark("never seen")
    shop.add_command("explode", "self.stdout.write('lighting the fuse'); raise CommandError('bang')")
    shop.set_target(STEPS=["migrate --noinput", "explode"])

    status, _out, err = shop.run("deploy", "demo")

    assert status == 1
    assert err == (
        "CommandError: local: step 'explode' failed: CommandError: bang\n"
        "  | lighting the fuse\n"
        "  | CommandError: bang\n"
        "Fix it and deploy again.\n"
        f"Nothing changed: the host serves {before}, as before.\n"
    )
    assert (shop.live, shop.mark()) == (before, "first edition")
    shop.check()


SICK = """
import sys

if "gunicorn" in sys.argv[0]:
    try:
        os.close(os.open({note!r}, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        pass
    else:  # this worker is the first

        def application(environ, start_response):
            start_response("500 Sick", [])
            return [b"I am the sick one"]
"""


def test_one_sick_worker_of_two_gets_no_visitors(shop, tmp_path):
    before = shop.live
    shop.change_mark("never seen")
    with (shop.project / "bookshop" / "wsgi.py").open("a") as file:
        file.write(SICK.format(note=str(tmp_path / "note")))

    status, _out, err = shop.run("deploy", "demo")

    assert status == 1
    # As that of a worker, if it was the other one that answered first.
    said = rf"{shop.root}/run/web\.sock:/healthz/ answered status 500( from one of its workers)?; expected"
    assert re.search(said, err), err
    assert err.endswith(f"Nothing changed: the host serves {before}, as before.\n")
    shop.check()


def test_a_step_that_hangs_is_ended_with_all_that_it_started(shop):
    before = shop.live
    shop.change_mark("never seen")
    note = shop.project.parent / "child"
    shop.add_command(
        "hang",
        "import subprocess, time\n"
        f"        child = subprocess.Popen(['sh', '-c', 'trap \"\" TERM; echo $$ > {note}; sleep 100'])\n"
        "        self.stdout.write('waiting for the tide')\n"
        "        time.sleep(100)",
    )
    shop.set_target(STEPS=["migrate --noinput", {"COMMAND": "hang", "TIMEOUT": 2}])

    status, _out, err = shop.run("deploy", "demo")

    assert status == 1
    assert err == (
        "CommandError: local: step 'hang' failed: took longer than its TIMEOUT, 2 s\n"
        "  | waiting for the tide\n"
        "It was ended with all that it had started. Give it a longer TIMEOUT in STEPS, or None.\n"
        f"Nothing changed: the host serves {before}, as before.\n"
    )
    assert not Path("/proc", note.read_text().strip()).exists()
    shop.check()


@pytest.mark.parametrize("mark", ["first edition", "never seen"])
def test_a_lookalike_from_a_folder_is_not_deployed(shop, tmp_path, mark):
    """Installed here from a wheel that no index has, under a name and version that the index has too."""
    before = shop.live
    shop.change_mark(mark)

    with shop.lookalike("sqlparse", tmp_path) as version:
        status, _out, err = shop.run("deploy", "demo")

    assert status == 1
    assert err == (
        "CommandError: local: what the host got under the same name and version has other files than here\n"
        f"  | sqlparse {version}\n"
        "Set INDEX_URL to where they come from, or install here what the hosts get: "
        "pip install --force-reinstall --no-deps NAME==VERSION\n"
        f"Nothing changed: the host serves {before}, as before.\n"
    )
    assert (shop.live, shop.mark()) == (before, "first edition")
    shop.check()


def test_an_error_that_the_live_release_has_as_well_makes_nothing_worse(shop):
    urls, trouble = shop.project / "bookshop/urls.py", shop.root / "shared/no-coffee"
    urls.write_text(urls.read_text() + NO_COFFEE.format(trouble=str(trouble)))
    before = shop.deploy()["release"]
    trouble.touch()
    try:
        shop.change_mark("no coffee")
        status, out, err = shop.run("deploy", "demo", "--json")
        urls.write_text(urls.read_text() + NO_TEA)
        refused = shop.run("deploy", "demo")
    finally:
        trouble.unlink()

    assert status == 0, out + err
    warnings = [event for event in map(json.loads, out.splitlines()) if event["event"] == "warning"]
    text = "an error, which the live release has, too: (shop.E001) There is no coffee."
    assert text in [event["message"] for event in warnings]
    assert shop.live != before
    assert refused[0] == 1
    assert refused[2].startswith(
        "CommandError: local: the new release does not start: its checks found errors\n"
        "  | (shop.E001) There is no coffee.\n"
        "  | (shop.E002) There is no tea.\n"
    )


@pytest.mark.parametrize("command", ["deploy_doctor", "deploy_status", "deploy_history", "deploy --plan"])
def test_who_has_read_enough_closes_the_pipe(shop, command):
    piped = f"exec {shop.venv}/bin/python manage.py {command} demo | (read -r line; exec <&-; sleep 1)"

    done = subprocess.run(
        ["sh", "-c", piped], cwd=shop.project, env=shop.environment, capture_output=True, text=True
    )

    assert "Traceback" not in done.stderr, done
    assert "Exception ignored" not in done.stderr, done


def test_a_template_that_was_broken(shop):
    before = shop.live
    (shop.project / "catalogue/templates/catalogue/broken.html").write_text("{% if x %}")
    try:
        status, _out, err = shop.run("deploy", "demo")
        with (shop.project / "bookshop/settings.py").open("a") as settings:
            settings.write("\nSILENCED_SYSTEM_CHECKS = ['deploy.W004']\n")
        silenced = shop.run("deploy", "demo")
    finally:
        (shop.project / "catalogue/templates/catalogue/broken.html").unlink()

    assert status == 1
    assert err == (
        "CommandError: local: templates are broken that the live release can use, or does not have\n"
        "  | (deploy.W004) The template catalogue/broken.html cannot be used: Unclosed tag on line 1: 'if'."
        " Looking for one of: elif, else, endif.\n"
        "Fix them and deploy again. If they are for something else than Django, say SILENCED_SYSTEM_CHECKS ="
        ' ["deploy.W004"].\n'
        f"Nothing changed: the host serves {before}, as before.\n"
    )
    assert silenced[0] == 0, silenced


def test_a_process_whose_program_is_nowhere(shop):
    before = shop.live
    shop.set_target(PROCESSES={"web": "gunikorn bookshop.wsgi --bind unix:{socket}"})

    status, _out, err = shop.run("deploy", "demo", "--plan")

    assert status == 1
    assert err == (
        "CommandError: local: process 'web' could not start: there is no program gunikorn, neither in the"
        " release nor on the host\n"
        "If a package brings it, install that here and deploy again: pip install gunikorn\n"
        "Nothing was changed.\n"
    )
    assert shop.live == before


def test_a_release_that_does_not_start(shop):
    before = shop.live
    shop.change_mark("never seen")
    wsgi = shop.project / "bookshop" / "wsgi.py"
    wsgi.write_text(
        wsgi.read_text()
        + "\nimport sys\nif 'gunicorn' in sys.argv[0]:\n    raise RuntimeError('no coffee')\n"
    )

    status, out, err = shop.run("deploy", "demo", "--json")

    assert status == 1
    assert "  | RuntimeError: no coffee\n" in err
    (failed,) = [event for event in map(json.loads, out.splitlines()) if event["event"] == "host.failed"]
    assert "RuntimeError: no coffee" in failed["lines"]
    assert "local: process 'web' of the new release does not stay up\n" in err
    assert f"Nothing changed: the host serves {before}, as before." in err
    assert (shop.live, shop.mark()) == (before, "first edition")
    shop.check()


def test_a_health_check_that_says_500(shop):
    before = shop.live
    shop.change_mark("never seen")
    urls = shop.project / "bookshop" / "urls.py"
    urls.write_text(
        urls.read_text() + "\ndef broken(request):\n    raise RuntimeError('sick')\n"
        "urlpatterns.insert(0, path('healthz/', broken))\n"
    )

    status, _out, err = shop.run("deploy", "demo")

    assert status == 1
    socket_path = shop.root / "run" / "web.sock"
    assert f"local: {socket_path}:/healthz/ answered status 500; expected status 200" in err
    assert "  | RuntimeError: sick\n" in err
    assert (shop.live, shop.mark()) == (before, "first edition")
    shop.check()


def test_settings_that_the_site_does_not_start_with(shop):
    before = shop.live
    settings = shop.project / "bookshop" / "settings.py"
    settings.write_text(settings.read_text() + "\nif IS_DEPLOYED:\n    os.environ['PAYMENT_KEY']\n")

    status, out, err = shop.run("deploy", "demo")

    assert status == 1
    assert "the new release does not start" in err
    assert "PAYMENT_KEY" in out + err
    assert shop.live == before


def test_what_the_preflight_warns_of(shop):
    settings = shop.project / "bookshop" / "settings.py"
    settings.write_text(settings.read_text() + "\nif IS_DEPLOYED:\n    DEBUG = True\n")

    status, out, err = shop.run("deploy", "demo")

    assert status == 0, out + err
    warning = "local: warning: (security.W018) You should not have DEBUG set to True in deployment.\n"
    assert out.count(warning) == 1


def test_ctrl_c_puts_everything_back(shop):
    before = shop.live
    shop.change_mark("never seen")

    with shop.start("deploy", "demo", "--json") as process:
        wait_for_event(process, "process.started", process="web")
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert (
        without_ids(err)
        == f"CommandError: Interrupted. Nothing changed: the host serves {before}, as before.\n"
    )
    assert (shop.live, shop.mark()) == (before, "first edition")
    shop.check()


def test_ctrl_c_says_what_it_waits_for(shop):
    before = shop.live
    shop.change_mark("never seen")

    with ExitStack() as gate:
        gate.enter_context(shop.dawdling())
        with shop.start("deploy", "demo") as process:
            for line in process.stdout:
                if line == "local: dawdle ...\n":
                    break
            process.send_signal(signal.SIGINT)
            said = [process.stdout.readline() for _ in range(3)]
            gate.close()
            out, err = process.communicate(timeout=60)

    assert sorted(said) == [
        "interrupted: every host reverts; press Ctrl-C again to exit at once; they revert by themselves\n",
        "local: waiting for the end of dawdle, which is not stopped half-way\n",
        "revert ...\n",
    ]
    assert re.sub(r"[\d.]+ m?s\n", "SECONDS\n", out) == (
        f"local: dawdle: SECONDS\nlocal: reverted: serves {before}, as before\n"
    )
    assert (
        without_ids(err)
        == f"CommandError: Interrupted. Nothing changed: the host serves {before}, as before.\n"
    )
    assert process.returncode == 130
    shop.check()


def test_ctrl_c_while_a_failed_deployment_is_reverted(shop):
    """The release that failed has a process that does not leave at once."""
    before = shop.live
    shop.change_mark("never seen")
    shop.add_command(
        "stay", "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(60)"
    )
    settings = shop.project / "bookshop" / "settings.py"
    settings.write_text(
        f"{settings.read_text()}\nDEPLOY_TARGETS['demo']['PROCESSES']['stay'] = "
        "{'COMMAND': 'python manage.py stay', 'STOP_TIMEOUT': 5}\n"
    )
    shop.set_target(RESTART=["false"])

    with shop.start("deploy", "demo", "--json") as process:
        wait_for_event(process, "phase.started", phase="revert")
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert without_ids(err) == (
        "CommandError: Interrupted while the hosts were reverting: left at once."
        " Every host reverts by itself within 20 s, or as soon as its running step has ended.\n"
    )
    shop.check()
    assert (shop.live, shop.mark()) == (before, "first edition")


@pytest.mark.parametrize("moment", ["install.started", "step.started", "process.started", "switched"])
def test_a_killed_deployer_leaves_nothing_half_done(shop, moment):
    before = shop.live
    shop.change_mark(f"killed at {moment}")

    with shop.start("deploy", "demo", "--json") as process:
        wait_for_event(process, moment)
        process.kill()

    assert shop.mark() in ("first edition", f"killed at {moment}")
    assert shop.deploy()["outcome"] in ("deployed", "unchanged")
    assert shop.mark() == f"killed at {moment}"
    assert shop.states()[before] == "retired"
    shop.check()


def test_two_deployments_at_once(shop):
    before = shop.live
    shop.change_mark("patient edition")

    with ExitStack() as gate:
        gate.enter_context(shop.dawdling())
        with shop.start("deploy", "demo", "--json") as first:
            wait_for_event(first, "step.started", step="dawdle")
            status, _out, err = shop.run("deploy", "demo")
            gate.close()
            _first_out, first_err = first.communicate(timeout=60)

    assert status == 1
    assert "CommandError: local: another deployment is running: " in err
    assert ", running dawdle\n" in err
    assert f"Nothing changed: the host serves {before}, as before." in err
    assert first.returncode == 0, first_err
    assert shop.mark() == "patient edition"


def test_a_second_deployment_can_wait_for_the_first(shop):
    shop.add_command("dawdle", "time.sleep(2)")
    shop.set_target(STEPS=["collectstatic --noinput", "compress --force", "dawdle"])

    with shop.start("deploy", "demo", "--json") as first:
        wait_for_event(first, "step.started", step="dawdle")
        status, out, err = shop.run("deploy", "demo", "--wait", "120")
        first.communicate(timeout=60)

    assert first.returncode == 0
    assert (status, err) == (0, ""), out + err
    # By then the first had made live what the second one wanted.
    assert f"{shop.live} is live already" in out
    shop.check()


def test_a_host_that_does_not_answer_stops_everything(shop):
    before = shop.live
    shop.change_mark("second edition")
    shop.set_target(HOSTS=["local", f"127.0.0.1:{closed_port()}", f"127.0.0.1:{closed_port()}"])

    status, _out, err = shop.run("deploy", "demo")

    assert status == 1
    assert err.count(" refused the connection\n") == 2
    assert err.endswith("\nNothing was changed.\n")
    assert (shop.live, shop.mark()) == (before, "first edition")


def test_hosts_that_do_not_answer_can_be_left_out(shop):
    silent = f"127.0.0.1:{closed_port()}"
    shop.change_mark("second edition")
    shop.set_target(HOSTS=["local", silent])

    status, out, err = shop.run("deploy", "demo", "--json", "--skip-unreachable")

    assert status == 0, out + err
    assert shop.mark() == "second edition"
    events = [json.loads(line) for line in out.splitlines()]
    warnings = [event["message"] for event in events if event["event"] == "warning"]
    assert f"Left out, as it does not answer: {silent}: {silent} refused the connection." in warnings
    assert warnings[-1] == f"Not a part of this, and unchanged: {silent}."
    assert events[-1]["left_out"] == [silent]
    history = (shop.root / ".deploy" / "history.jsonl").read_text().splitlines()
    assert json.loads(history[-1])["left_out"] == [silent]


def test_hosts_can_be_chosen(shop):
    silent = f"127.0.0.1:{closed_port()}"
    shop.change_mark("second edition")
    shop.set_target(HOSTS=[silent, "local"])

    status, out, err = shop.run("deploy", "demo", "--hosts", "local")

    assert status == 0, out + err
    assert f"warning: Left out, as --hosts does not name them: {silent}.\n" in out
    assert f"warning: Not a part of this, and unchanged: {silent}. See what they serve: " in out
    assert shop.mark() == "second edition"

    status, out, err = shop.run("deploy_rollback", "demo", "--hosts", "loc*")

    assert status == 0, out + err
    assert f"warning: Not a part of this, and unchanged: {silent}. See what they serve: " in out
    assert shop.mark() == "first edition"


def test_no_host_answers(shop):
    shop.set_target(HOSTS=[f"127.0.0.1:{closed_port()}"])

    status, _out, err = shop.run("deploy", "demo", "--skip-unreachable")

    assert status == 1
    assert err.endswith("\nIs the SSH server running there, and is this its port?\nNothing was changed.\n")


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_status(shop):
    shop.check()
    live = shop.live

    status, out, err = shop.run("deploy_status", "demo")

    assert (status, err) == (0, ""), out + err
    lines = out.splitlines()
    assert lines[0] == "local"
    assert re.match(rf"  live        {live}, .* old$", lines[1])
    assert re.match(r"  processes   web     running for ", lines[3])
    assert re.match(r"              worker  running for ", lines[4])


def test_status_names_who_deploys(shop):
    with ExitStack() as gate:
        gate.enter_context(shop.dawdling())
        with shop.start("deploy", "demo", "--json") as deployer:
            wait_for_event(deployer, "step.started", step="dawdle")
            status, out, err = shop.run("deploy_status", "demo")
            gate.close()
            deployer.communicate(timeout=60)

    assert (status, err) == (0, ""), out + err
    name = f"{getpass.getuser()}@{socket.gethostname()}"
    assert re.search(
        rf"^  locked      by {re.escape(name)} for [\d.]+ m?s: running dawdle$", out, re.MULTILINE
    ), out


def cut_off(shop, mark):
    """Kill the deployer and the host program after the switch; gives the release that is served then."""
    shop.change_mark(mark)
    shop.set_target(RESTART=["sleep 5"])
    with shop.start("deploy", "demo", "--json") as deployer:
        wait_for_event(deployer, "switched")
        deployer.kill()
        os.kill(json.loads((shop.root / ".deploy" / "lock").read_text())["pid"], signal.SIGKILL)
    return shop.live


def test_status_names_a_deployment_that_was_cut_off(shop):
    cut = cut_off(shop, "cut edition")

    status, out, err = shop.run("deploy_status", "demo")

    assert status == 1, out + err
    assert f"  interrupted {cut}, in the phase switch; the next deployment fixes it\n" in out
    assert err == "CommandError: Interrupted: local.\n"
    fixed = shop.deploy()
    assert (fixed["outcome"], fixed["release"] > cut) == ("deployed", True)
    assert shop.run("deploy_status", "demo")[0] == 0
    shop.check()


def test_rollback_of_a_deployment_that_was_cut_off(shop):
    before = shop.live
    cut_off(shop, "cut edition")

    status, out, err = shop.run("deploy_rollback", "demo")

    assert (status, err) == (0, ""), out + err
    assert (shop.live, shop.mark()) == (before, "first edition")
    shop.check()


def test_the_release_has_a_manage_py_for_people(shop):
    """Whichever Python runs it, from whichever folder, with the target's settings and environment."""
    manage = shop.root / "current" / "manage.py"
    question = "import os, sys, django.conf; print(sys.prefix, django.conf.settings.SECRET_KEY != '')"

    for argv in ([manage], [sys.executable, manage]):
        done = subprocess.run(
            [*argv, "shell", "--no-imports", "-c", question], cwd="/", capture_output=True, text=True
        )
        assert done.stderr == ""
        assert done.stdout == f"{shop.root}/releases/{shop.live}/venv True\n"


def test_the_environment_is_private(shop):
    release = shop.root / "releases" / shop.live

    for name in ("environment.json", "release.json"):
        assert (release / name).stat().st_mode & 0o777 == 0o600


# What comes after


def test_restart(shop):
    shop.change_mark("second edition")
    shop.deploy()
    before = shop.live

    status, out, err = shop.run("deploy_restart", "demo")

    assert (status, err) == (0, ""), out + err
    assert f"{shop.live} is live: restarted in " in out
    assert before < shop.live
    assert shop.mark() == "second edition"
    shop.check()
    assert shop.states().get(before) in (None, "renewed")
    assert shop.deploy()["outcome"] == "unchanged"
    status, out, err = shop.run("deploy_rollback", "demo")
    assert (status, err) == (0, ""), out + err
    assert shop.mark() == "first edition"


def pids(shop):
    status, out, err = shop.run("deploy_status", "demo", "--json")
    assert status == 0, out + err
    processes = json.loads(out)["processes"]
    return {process["name"]: process["pid"] for process in processes if process["release"] == shop.live}


def test_restart_of_one_process(shop):
    before, old = shop.live, pids(shop)

    status, out, err = shop.run("deploy_restart", "demo", "worker")
    refused = shop.run("deploy_restart", "demo", "web")
    unknown = shop.run("deploy_restart", "demo", "printer")

    assert (status, err) == (0, ""), out + err
    assert shop.live == before
    assert pids(shop)["web"] == old["web"]
    assert pids(shop)["worker"] != old["worker"]
    assert refused[0] == 2
    assert "alone it cannot be restarted without losing any.\n" in refused[2]
    assert unknown[::2] == (
        1,
        "CommandError: No host runs a process 'printer'.\nThere is: web, worker.\n",
    )
    shop.check()


def set_variable(shop, name, value):
    argv = [shop.venv / "bin/python", "manage.py", "deploy_env", "demo", "--set", name]
    done = subprocess.run(
        argv, cwd=shop.project, env=shop.environment, input=value, capture_output=True, text=True
    )
    return done.returncode, done.stdout, without_ids(done.stderr)


def variable(shop, name):
    code = f"import os; print(os.environ.get({name!r}))"
    return shop.run("deploy_run", "demo", "--", "shell", "--no-imports", "-c", code)[1].strip()


def test_variables_of_the_hosts(shop):
    before = shop.live

    status, out, err = set_variable(shop, "BOOKSHOP_COLOUR", "a very secret green\n")

    assert (status, err) == (0, ""), out + err
    assert "secret green" not in out
    assert f"{shop.live} is live: environment changed in " in out
    assert variable(shop, "BOOKSHOP_COLOUR") == "a very secret green"
    assert "BOOKSHOP_COLOUR         set on the hosts\n" in shop.run("deploy_env", "demo")[1]
    told = json.loads(shop.run("deploy_env", "demo", "--json")[1])
    assert (told["event"], told["host"]) == ("host.environment", "local")
    assert told["on_host"] == ["BOOKSHOP_COLOUR"]
    shop.change_mark("second edition")
    shop.deploy()
    assert variable(shop, "BOOKSHOP_COLOUR") == "a very secret green"
    broken = set_variable(shop, "BOOKSHOP_SECRET_KEY", "")
    assert broken[0] == 2, broken
    assert shop.run("deploy_env", "demo", "--unset", "BOOKSHOP_COLOUR")[0] == 0
    assert variable(shop, "BOOKSHOP_COLOUR") == "None"
    status, out, err = shop.run("deploy_rollback", "demo")
    assert (status, err) == (0, ""), out + err
    assert variable(shop, "BOOKSHOP_COLOUR") == "a very secret green"
    status, out, err = shop.run("deploy_rollback", "demo", before)
    assert (status, err) == (0, ""), out + err
    assert json.loads((shop.root / ".deploy/environment.json").read_text()) == {}
    shop.check()
    history = shop.run("deploy_history", "demo", "--lines", "5")[1].splitlines()
    actions = ["rollback", "rollback", "environment", "deploy", "environment"]
    assert [line.split()[2] for line in history] == actions
    assert re.fullmatch(r"[-0-9]+ [:0-9]+  rollback     \S+, bookshop 1.0.*, by \S+@\S+", history[0]), history


def test_a_variable_that_the_site_cannot_live_with(shop):
    before = shop.live

    status, out, err = set_variable(shop, "PYTHONHOME", "/nowhere")

    assert status == 1, out + err
    assert f"Nothing changed: the host serves {before}, as before." in err
    assert variable(shop, "PYTHONHOME") == "None"


def test_logs_of_supervisor(shop):
    shop.mark()

    status, out, err = shop.run("deploy_logs", "demo", "web")

    assert (status, err) == (0, ""), out + err
    assert re.search(r"^[-0-9]+ [:0-9]+ web  .*Listening at: unix:", out, re.MULTILINE)


def test_a_password_of_here_is_not_sent_and_that_is_said(shop):
    shop.environment["DJANGO_SUPERUSER_PASSWORD"] = "box-hill-picnic"
    words = ["createsuperuser", "--noinput", "--username", "emma", "--email", "emma@example.com"]
    try:
        status, out, err = shop.run("deploy_run", "demo", "--", *words)
    finally:
        del shop.environment["DJANGO_SUPERUSER_PASSWORD"]

    assert status == 0, out + err
    assert err == (
        "DJANGO_SUPERUSER_PASSWORD is not sent, as nothing of this environment is. With --noinput nobody has"
        " a password then: manage.py deploy_run demo -- changepassword NAME.\n"
    )
