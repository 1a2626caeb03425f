"""A project that none of us wrote, ColdFront, from its published source to a minimal host.

It has its own idea of settings, databases and static files, some 45 distributions with compiled ones among
them, and nobody made it for this tool. Beside HOSTS, ROOT and PROCESSES there had to be set:

- INDEX_URL, only because the hosts of these tests reach no other index.
- ``django_deploy`` in INSTALLED_APPS, in the settings of a small site of its own (``foreign/site``). They
  take WhiteNoise as well, since the nginx of these hosts serves no static files; and the two lines that the
  tool shows for a STATIC_ROOT among the code.
- By the host's administrator, in ColdFront's own ``/etc/coldfront/coldfront.env``: a SECRET_KEY, without
  which every process makes one up; and a DB_URL in the shared folder, without which the database is a
  file of the folder in which a process starts.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import tarfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest
import uv

from .bookshop import copy_package, run
from .deployer import Deployer, Result
from .inspection import assert_consistent

if TYPE_CHECKING:
    from .index import Index
    from .laptop import Laptop
    from .machines import Machine

FOREIGN = Path(__file__).parent / "foreign"

VERSION = "1.1.10"

#: The first page, for visitors who have not logged in.
TEMPLATE = "coldfront/core/portal/templates/portal/nonauthorized_home.html"

HEADING = "Log In to ColdFront"


class Developer:
    """ColdFront's source, the site and django-deploy, editable, with all that they need in a virtualenv."""

    def __init__(self, folder: Path, laptop: Laptop, index: Index) -> None:
        self.source = folder / f"coldfront-{VERSION}"
        self.site = folder / "site"
        self.laptop = laptop
        self.index = index
        self._python = folder / "venv/bin/python"
        self._unpack(folder)
        copy_package(folder / "django-deploy")
        self._install(self.source, self.site, folder / "django-deploy")

    def _unpack(self, folder: Path) -> None:
        url = urljoin(self.index.url, f"/files/coldfront/coldfront-{VERSION}.tar.gz")
        with urllib.request.urlopen(url, timeout=120) as answer:
            archive = io.BytesIO(answer.read())
        with tarfile.open(fileobj=archive) as unpacked:
            unpacked.extractall(folder, filter="data")
        shutil.copytree(FOREIGN / "site", self.site)

    def _install(self, *sources: Path) -> None:
        command = uv.find_uv_bin()
        environment = {**os.environ, "UV_DEFAULT_INDEX": self.index.url}
        run(command, "venv", "--quiet", "--python", sys.executable, self._python.parents[1])
        editable = [word for source in sources for word in ("--editable", source)]
        requirements = ("--requirement", FOREIGN / "requirements.txt")
        install = (command, "pip", "install", "--quiet", "--python", self._python)
        run(*install, *requirements, *editable, environment=environment)

    def aim(self, machine: Machine) -> None:
        """Say in the settings where it goes, and on the host what it needs there."""
        facts = {"@ADDRESS@": machine.address, "@ROOT@": machine.root, "@INDEX@": self.index.url}
        settings = self.site / "hpc/settings.py"
        settings.write_text(fill(settings.read_text(), facts))
        machine.chroot("mkdir", "/etc/coldfront")
        text = fill((FOREIGN / "coldfront.env").read_text(), facts)
        machine.put("/etc/coldfront/coldfront.env", text, mode="600")

    def run(self, command: str, *words: str) -> Result:
        """``python manage.py COMMAND staging WORDS``."""
        argv = [str(self._python), "manage.py", command, "staging", *words]
        with Deployer(argv, self.site, self.laptop.environment) as deployer:
            return deployer.end()

    def deployed(self) -> Result:
        """Deploy, which must succeed."""
        result = self.run("deploy", "--json")
        assert result.status == 0, result
        return result

    def change_heading(self, old: str, new: str) -> None:
        template = self.source / TEMPLATE
        text = template.read_text()
        assert old in text
        template.write_text(text.replace(old, new))


def fill(text: str, facts: dict[str, str]) -> str:
    """The text with its ``@NAME@``s replaced."""
    return re.sub("@[A-Z]+@", lambda name: facts[name[0]], text)


@pytest.fixture
def developer(tmp_path: Path, laptop: Laptop, index: Index, machine: Machine) -> Developer:
    developer = Developer(tmp_path, laptop, index)
    developer.aim(machine)
    return developer


def read(machine: Machine, path: str) -> str:
    """A page or file of the site, as the host's nginx serves it."""
    with urllib.request.urlopen(f"http://{machine.address}{path}", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def heading(machine: Machine) -> str:
    found = re.search(r'<h2 class="text-center">(.*?)</h2>', read(machine, "/"))
    assert found
    return found[1]


def test_coldfront_is_deployed_changed_and_rolled_back(developer: Developer, machine: Machine) -> None:
    first = developer.deployed()
    assert heading(machine) == HEADING
    assert "bootstrap" in read(machine, "/static/coldfront.css")
    assert first.one("plan.ready")["plan"]["distributions"] == 45
    assert "allocation.0001_initial" in migrations(first)

    developer.change_heading(HEADING, "Log In to the Cluster")
    second = developer.deployed()
    assert heading(machine) == "Log In to the Cluster"
    assert second.one("plan.ready")["plan"]["hosts"][0]["send"] == [f"coldfront-{VERSION}-py3-none-any.whl"]
    assert migrations(second) == []
    assert_consistent(machine, release(second), processes=("web",))

    assert developer.run("deploy_rollback").status == 0
    assert heading(machine) == HEADING
    assert_consistent(machine, release(first), processes=("web",))


def release(result: Result) -> str:
    id: str = result.one("rollout.finished")["release"]
    return id


def migrations(result: Result) -> list[str]:
    """Those that a deployment has applied."""
    [step] = [event for event in result.all("step.finished") if event["step"].startswith("migrate")]
    applied: list[str] = step["result"]["applied"]
    return applied
