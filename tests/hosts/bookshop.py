"""The project that is deployed: a copy of the example project in the virtualenv of a developer.

Tests change the copy as a developer would, say where it goes, and run the real command. ``restore()`` undoes
all of it, so that one virtualenv serves all tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .deployer import Deployer, Result
from .keyboard import Keyboard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .index import Index
    from .laptop import Laptop
    from .machines import Machine

CHECKOUT = Path(__file__).parents[2]

#: What django-deploy is built from.
PACKAGE = (
    "django_deploy",
    "pyproject.toml",
    "setup.py",
    "MANIFEST.in",
    "README.rst",
    "CHANGELOG.rst",
    "LICENSE",
)

#: The settings of the laptop. Not a part of what is deployed: a new target is not a new release.
SETTINGS = """\
import json, os, pathlib
from bookshop.settings import *
DEPLOY_TARGETS = json.loads(pathlib.Path(os.environ["BOOKSHOP_TARGETS"]).read_text())
"""

#: Waits for a file of the site's shared folder to appear; what comes after it is in the test's hands.
WAIT_FOR = """\
import os, pathlib, time
from django.core.management.base import BaseCommand

class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("name")

    def handle(self, *, name, **options):
        path = pathlib.Path(os.environ["DJANGO_DEPLOY_SHARED"], name)
        print(f"waiting for {path}", flush=True)
        deadline = time.monotonic() + 60
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        path.unlink()
"""

WEB = "gunicorn bookshop.wsgi --bind unix:{socket} --threads 4 --no-control-socket"
WORKER = "python manage.py restock"

SECRET = "k3y-that-nobody-may-see-%s"


class Bookshop:
    """The developer's folder and virtualenv.

    ``target`` is the entry of DEPLOY_TARGETS that is deployed, called staging; ``others`` are beside it.
    """

    def __init__(self, folder: Path, laptop: Laptop, index: Index) -> None:
        self.folder = folder / "bookshop"
        self.python = folder / "venv/bin/python"
        self.laptop = laptop
        self.index = index
        self.secret = SECRET % folder.name
        self.target: dict[str, Any] = {}
        self.others: dict[str, dict[str, Any]] = {}
        self._packages = folder / "django-deploy"
        self._targets = folder / "targets.json"
        self._editions = count(2)
        copy_package(self._packages)
        self._copy()
        self._make_environment()
        self._frozen = self._freeze()

    # The environment

    def _copy(self) -> None:
        """The example project as the checkout has it; its folder stays the same one."""
        fresh = self.folder.with_name("fresh")
        shutil.copytree(
            CHECKOUT / "example_project", fresh, ignore=shutil.ignore_patterns("var", *BYPRODUCTS)
        )
        (fresh / "laptop.py").write_text(SETTINGS)
        (fresh / "catalogue/management/commands/wait_for.py").write_text(WAIT_FOR)
        if self.folder.exists():
            shutil.rmtree(self.folder)
        fresh.rename(self.folder)

    def _make_environment(self) -> None:
        venv = self.python.parents[1]
        self._environment = {
            **os.environ,
            "VIRTUAL_ENV": str(venv),
            "UV_DEFAULT_INDEX": self.index.url,
            "PIP_INDEX_URL": self.index.url,
            "PIP_TRUSTED_HOST": self.index.host,
            "PIP_YES": "1",
        }
        folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        if uv := shutil.which("uv", path=folders):
            self._pip = [uv, "pip"]
            run(uv, "venv", "--quiet", "--python", sys.executable, venv)
        else:
            self._pip = [str(self.python), "-m", "pip"]
            run(sys.executable, "-m", "venv", venv)
        editable = [self._packages, self.folder, self.folder / "reviews"]
        self.pip("install", *(word for path in editable for word in ("--editable", str(path))))

    def pip(self, command: str, *words: str) -> str:
        """pip, or uv's, in the developer's environment, with the rig's index; its output."""
        return run(*self._pip, command, "--quiet", *words, environment=self._environment)

    def _freeze(self) -> list[str]:
        return self.pip("freeze", "--exclude-editable").splitlines()

    def restore(self) -> None:
        """As the checkout and the first installation had it."""
        self._copy()
        self.others.clear()
        now = self._freeze()
        if new := [line for line in now if line not in self._frozen]:
            self.pip("uninstall", *new)
        if lost := [line for line in self._frozen if line not in now]:
            self.pip("install", *lost)

    # The code

    def write(self, path: str, text: str) -> None:
        """A file of the project."""
        (self.folder / path).write_text(text)

    def append(self, path: str, text: str) -> None:
        """More at the end of a file of the project."""
        self.write(path, (self.folder / path).read_text() + text)

    def new_edition(self) -> str:
        """Change the one line that every page shows; returns what it says now."""
        mark = f"edition {next(self._editions)}"
        self.write("catalogue/mark.py", f'MARK = "{mark}"\n')
        return mark

    # Where it goes

    def aim(self, machines: Sequence[Machine], hosts: Sequence[str] = (), **changes: Any) -> None:
        """Set the target: these machines, under these names where they are named, with keys of your own."""
        self.target = {
            "HOSTS": list(hosts) or [f"deploy@{machine.address}" for machine in machines],
            "ROOT": machines[0].root,
            "SETTINGS_MODULE": "bookshop.settings",
            "ENV": {
                "BOOKSHOP_SECRET_KEY": self.secret,
                "BOOKSHOP_ALLOWED_HOSTS": " ".join(machine.address for machine in machines),
            },
            "INDEX_URL": self.index.url,
            "PROCESSES": {"web": WEB, "worker": WORKER},
            "HEALTH_CHECK": "/healthz/",
            **changes,
        }

    # The command

    def start(self, command: str = "deploy", *words: str, **environment: str) -> Deployer:
        """``python manage.py COMMAND staging WORDS``, under way."""
        argv, folder, env = self.command(command, *words)
        return Deployer(argv, folder, {**env, **environment})

    def sit_at(self, command: str, *words: str) -> Keyboard:
        """The same at a terminal."""
        return Keyboard(*self.command(command, *words))

    def command(self, command: str, *words: str) -> tuple[list[str], Path, dict[str, str]]:
        """How it is run: words, folder and environment."""
        self._targets.write_text(json.dumps({"staging": self.target, **self.others}))
        environment = {
            **self.laptop.environment,
            "DJANGO_SETTINGS_MODULE": "laptop",
            "BOOKSHOP_TARGETS": str(self._targets),
        }
        return [str(self.python), "manage.py", command, "staging", *words], self.folder, environment

    def run(self, command: str, *words: str) -> Result:
        """The same, to its end, whatever that is."""
        with self.start(command, *words) as deployer:
            return deployer.end()

    def deploy(self, *words: str) -> Result:
        return self.run("deploy", *words)

    def deployed(self, *words: str) -> str:
        """Deploy, which must succeed; the release's id."""
        result = self.deploy("--json", *words)
        assert result.status == 0, result
        return result.release


BYPRODUCTS = ("__pycache__", "*.egg-info", "build", "dist")


def copy_package(folder: Path) -> None:
    """What is edited in the checkout while tests run does not change what they deploy."""
    folder.mkdir()
    for name in PACKAGE:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns(*BYPRODUCTS))
        elif source.exists():
            shutil.copy(source, folder / name)


def run(*words: str | Path, environment: dict[str, str] | None = None) -> str:
    """A command's output; what it says when it fails is the error."""
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout
