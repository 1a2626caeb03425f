"""What is measured on: a developer's environment, a real host, and the floor beside django-deploy on it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from functools import cached_property
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uv

from tests.hosts import base
from tests.hosts.index import Index
from tests.hosts.laptop import Laptop
from tests.hosts.machines import NGINX, Machine
from tests.hosts.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
CHECKOUT = HERE.parent

#: What of the checkout is installed: a copy, so that nothing changes while it is measured.
PACKAGE = ("django_deploy", "pyproject.toml", "setup.py", "MANIFEST.in", "README.rst", "LICENSE")

#: Of the tester's environment, what would make the developer's slower than it is.
UNWANTED = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PIP_FIND_LINKS")

#: The bookshop's own, with the target that the developer's environment describes.
SETTINGS = """\
import json
import os

from .settings import *

DEPLOY_TARGETS = {"staging": json.loads(os.environ.get("BENCHMARK_TARGET", "{}"))}
"""

WEB = "gunicorn bookshop.wsgi --bind unix:{socket} --workers 2 --no-control-socket"
FLOOR_PORT = 81
FLOOR_UNIT = f"""\
[Service]
Type=exec
EnvironmentFile=/srv/floor/env
WorkingDirectory=/srv/floor
ExecStart=/srv/floor/venv/bin/{WEB.format(socket="/srv/floor/run/web.sock")}
KillMode=mixed
"""


class Workshop:
    """A folder with a developer's project, its environment and home: the bookshop in three editable parts."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder = folder
        self.project = folder / "bookshop"
        self.python = folder / "venv/bin/python"
        self.laptop = Laptop(folder / "home")
        self._index = index
        self._copy_sources()
        self._install()
        self._commit()

    def _copy_sources(self) -> None:
        ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "var")
        shutil.copytree(CHECKOUT / "example_project", self.project, ignore=ignore)
        (self.project / "bookshop/target.py").write_text(SETTINGS)
        package = self.folder / "django-deploy"
        package.mkdir()
        for name in PACKAGE:
            source = CHECKOUT / name
            if source.is_dir():
                shutil.copytree(source, package / name, ignore=ignore)
            else:
                shutil.copy(source, package / name)

    def _install(self) -> None:
        environment = {
            **os.environ,
            "UV_DEFAULT_INDEX": self._index.url,
            "UV_INSECURE_HOST": self._index.host,
        }
        tool = uv.find_uv_bin()
        run([tool, "venv", "--quiet", "--no-project", "--python", sys.executable, self.folder / "venv"])
        editable = [self.folder / "django-deploy", self.project, self.project / "reviews"]
        install = [tool, "pip", "install", "--quiet", "--python", self.python, "pip"]
        run([*install, *(word for path in editable for word in ("--editable", path))], env=environment)

    def _commit(self) -> None:
        (self.project / ".gitignore").write_text("__pycache__\n*.egg-info\nvar\n")
        git = ["git", "-c", "user.name=Dev", "-c", "user.email=dev@example.com"]
        for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "A bookshop"]):
            run([*git, *words], cwd=self.project)

    @cached_property
    def environment(self) -> dict[str, str]:
        """For the processes of the developer."""
        kept = {name: value for name, value in self.laptop.environment.items() if name not in UNWANTED}
        return {
            **kept,
            "PATH": os.pathsep.join([str(Path(uv.find_uv_bin()).parent), kept["PATH"]]),
            "DJANGO_SETTINGS_MODULE": "bookshop.target",
            "PIP_INDEX_URL": self._index.url,
            "PIP_TRUSTED_HOST": self._index.host,
            "UV_INSECURE_HOST": self._index.host,
        }

    def change(self) -> str:
        """Change one line of the site; gives the mark that its pages then show."""
        mark = f"benchmark {time.monotonic_ns()}"
        path = self.project / "catalogue/mark.py"
        path.write_text(re.sub(r"(?m)^MARK = .*$", f'MARK = "{mark}"', path.read_text()))
        return mark

    @contextmanager
    def ballast(self, size: int) -> Iterator[None]:
        """The project's wheel holds so many bytes more, that cannot be compressed and are new each time."""
        path = self.project / "catalogue/templates/catalogue/ballast.bin"
        path.write_bytes(os.urandom(size))
        yield
        path.unlink()


class Host:
    """A real host with the site of django-deploy on port 80 and that of the floor on port 81."""

    def __init__(self, machine: Machine, workshop: Workshop, index: Index) -> None:
        self.machine = machine
        self.workshop = workshop
        self.index = index
        self.bundle = workshop.folder / "floor"

    def target(self, at: str = "") -> str:
        """The target's settings, as JSON; ``at`` is another way to the machine."""
        return json.dumps(
            {
                "HOSTS": [f"deploy@{at or self.machine.address}"],
                "ROOT": self.machine.root,
                "INDEX_URL": self.index.url,
                "ENV": {"BOOKSHOP_SECRET_KEY": "benchmark" * 6, "BOOKSHOP_ALLOWED_HOSTS": "*"},
                "PROCESSES": {"web": WEB},
                "HEALTH_CHECK": "/healthz/",
            }
        )

    def manage(self, *words: str) -> list[str]:
        """The argv of a ``manage.py`` command of the developer's."""
        return [str(self.workshop.python), "manage.py", *words]

    def environment(self, at: str = "") -> dict[str, str]:
        """The developer's, with the target in it; ``at`` is another way to the machine."""
        return {**self.workshop.environment, "BENCHMARK_TARGET": self.target(at)}

    def run(self, *argv: object, at: str = "") -> str:
        """Run a command of the developer's; gives what it prints, raises with it when it fails."""
        return run([*argv], cwd=self.workshop.project, env=self.environment(at))

    def deploy(self, at: str = "") -> str:
        """Deploy with django-deploy; gives the events, one JSON object a line."""
        return self.run(*self.manage("deploy", "staging", "--yes", "--json"), at=at)

    def floor(self) -> str:
        """Deploy with the hand-written script."""
        return self.run("sh", HERE / "floor.sh", self.workshop.project, self.bundle, self.machine.address)

    # Preparation

    def prepare(self) -> None:
        """Everything that a first deployment does, so that all that is measured is warm."""
        self.machine.run("mkdir", "-p", ".local/bin", ".config/systemd/user")
        self.machine.push(Path(uv.find_uv_bin()), ".local/bin/uv")
        self.deploy()
        self._prepare_floor()
        self.settle()

    def _prepare_floor(self) -> None:
        machine = self.machine
        machine.chroot("install", "-d", "-o", "deploy", "-g", "deploy", "/srv/floor")
        machine.run("mkdir", "-p", "/srv/floor/run", "/srv/floor/shared")
        machine.put("/srv/floor/steps.py", (HERE / "floor_steps.py").read_text())
        machine.put("/srv/floor/env", self._floor_environment())
        machine.put("/srv/floor/release.json", '{"id": "floor"}')
        machine.put("/home/deploy/.config/systemd/user/floor.service", FLOOR_UNIT)
        machine.put("/home/deploy/.bashrc", self._floor_profile())
        machine.put("/etc/nginx/sites-enabled/floor", floor_nginx(), owner="root")
        machine.run("systemctl", "reload", "nginx", user="root")
        machine.systemctl("daemon-reload")
        self._make_floor_bundle()
        self.floor()

    def _floor_environment(self) -> str:
        variables = {
            "DJANGO_SETTINGS_MODULE": "bookshop.target",
            "DJANGO_DEPLOY_SHARED": "/srv/floor/shared",
            "DJANGO_DEPLOY_RELEASE_DIR": "/srv/floor",
            "BOOKSHOP_SECRET_KEY": "benchmark" * 6,
            "BOOKSHOP_ALLOWED_HOSTS": "*",
        }
        return "".join(f"{name}={value}\n" for name, value in variables.items())

    def _floor_profile(self) -> str:
        return f'PATH="$HOME/.local/bin:$PATH"\nexport UV_DEFAULT_INDEX={self.index.url}\n'

    def _make_floor_bundle(self) -> None:
        """The same pins, and the same wheels of what does not change."""
        root = self.machine.root
        lock = self.machine.run("cat", f"{root}/current/requirements.lock").stdout
        self.bundle.mkdir()
        pins = re.findall(r"(?m)^[\w.-]+==[^\s;\\]+", lock)
        (self.bundle / "requirements.txt").write_text("\n".join(pins) + "\n")
        for wheel in Path(self.workshop.laptop.home).glob(".cache/django-deploy/wheels/*/*.whl"):
            if not wheel.name.startswith("bookshop-1"):
                shutil.copy(wheel, self.bundle)

    # Between two runs

    def settle(self) -> None:
        """Wait until no host program is at work: it drains and prunes after its deployer has gone."""
        wait = "while pgrep -f '[d]jango_deploy_host' >/dev/null; do sleep 0.05; done"
        self.machine.run("timeout", "60", "sh", "-c", wait)

    def served(self, port: int, mark: str) -> Watch:
        return Watch(self.machine.address, port, mark)


class Watch:
    """Asks a site again and again, from entering to leaving, and notes when it first shows ``mark``."""

    def __init__(self, address: str, port: int, mark: str) -> None:
        self.address, self.port, self.mark = address, port, mark
        self.seconds = 0.0
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, type: object, *exception: object) -> None:
        if type is None:
            self._thread.join(30)
        self._leaving.set()
        if type is None and not self.seconds:
            raise RuntimeError(f"{self.mark!r} was never served.")

    def _watch(self) -> None:
        started = time.monotonic()
        # To be asked costs the site time as well: often enough to tell a tenth of a second.
        while not self._leaving.wait(0.05):
            if self.mark in self._page():
                self.seconds = time.monotonic() - started
                return

    def _page(self) -> str:
        connection = HTTPConnection(self.address, self.port, timeout=10)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode(errors="replace")
        except (OSError, HTTPException):
            return ""
        finally:
            connection.close()


@contextmanager
def open_stage() -> Iterator[Host]:
    """A host with both sites on it, ready for what is measured; all of it goes away at the end."""
    with ExitStack() as stack:
        disk = base.build()
        network = stack.enter_context(Network())
        index = stack.enter_context(Index(network.gateway))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="django-deploy-benchmark-")))
        workshop = Workshop(folder, index)
        machine = Machine(disk, network, workshop.laptop)
        stack.callback(machine.destroy)
        machine.boot()
        host = Host(machine, workshop, index)
        host.prepare()
        yield host


def floor_nginx() -> str:
    text = NGINX.format(root="/srv/floor").replace("upstream site", "upstream floor")
    return text.replace("listen 80 default_server", f"listen {FLOOR_PORT}").replace(
        "http://site", "http://floor"
    )


def run(argv: list[Any], **more: Any) -> str:
    """Run a command; gives what it prints, raises with it when it fails."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise RuntimeError(
            f"{argv[0]} … exited with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        )
    output: str = done.stdout
    return output
