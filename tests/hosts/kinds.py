"""Projects of different kinds, each in a developer's environment of its own; their targets name the host."""

from __future__ import annotations

import os
import shutil
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import uv

from .bookshop import copy_package, run
from .deployer import Deployer, Result

if TYPE_CHECKING:
    from .index import Index
    from .laptop import Laptop
    from .machines import Machine

KINDS = Path(__file__).parent / "kinds"


class Project:
    """A copy of one of ``kinds/``, an environment with ``requirements``, and a host that is its target."""

    def __init__(
        self,
        kind: str,
        folder: Path,
        laptop: Laptop,
        index: Index,
        machine: Machine,
        *,
        requirements: tuple[str, ...] = ("django~=5.2.0", "gunicorn", "whitenoise"),
        python: str = sys.executable,
    ) -> None:
        self.folder = folder / kind
        self.machine = machine
        self.index = index
        self._laptop = laptop
        self._python = folder / "venv/bin/python"
        shutil.copytree(KINDS / kind, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        self._aim()
        copy_package(folder / "django-deploy")
        run(uv.find_uv_bin(), "venv", "--quiet", "--python", python, folder / "venv")
        self.install("--editable", str(folder / "django-deploy"), *requirements)

    def _aim(self) -> None:
        facts = {"@ADDRESS@": self.machine.address, "@ROOT@": self.machine.root, "@INDEX@": self.index.url}
        for settings in self.folder.rglob("*.py"):
            text = settings.read_text()
            if "DEPLOY_TARGETS" in text:
                for name, value in facts.items():
                    text = text.replace(name, value)
                settings.write_text(text)

    def install(self, *words: str) -> None:
        """``uv pip install`` into the environment."""
        environment = {**os.environ, "UV_DEFAULT_INDEX": self.index.url}
        pip = (uv.find_uv_bin(), "pip", "install", "--quiet", "--python", self._python)
        run(*pip, *words, environment=environment)

    def replace(self, path: str, old: str, new: str) -> None:
        """Change a file of the project."""
        file = self.folder / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    def run(self, command: str, *words: str) -> Result:
        """``python manage.py COMMAND staging WORDS``."""
        argv = [str(self._python), "manage.py", command, "staging", *words]
        with Deployer(argv, self.folder, self._laptop.environment) as deployer:
            return deployer.end()

    def deployed(self) -> Result:
        """Deploy, which must succeed."""
        result = self.run("deploy", "--json")
        assert result.status == 0, result
        return result

    def read(self, path: str) -> str:
        """A page or file of the site, as the host's nginx serves it."""
        with urllib.request.urlopen(f"http://{self.machine.address}{path}", timeout=10) as answer:
            text: str = answer.read().decode()
            return text
