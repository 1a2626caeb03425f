"""A developer's interpreter and a host's are rarely the same: what differs is named, and made up for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .kinds import Project

if TYPE_CHECKING:
    from .index import Index
    from .laptop import Laptop
    from .machines import Machine

#: It requires async-timeout on Python before 3.11.3, and a host has 3.11.2.
REDIS = ("django~=5.2.0", "gunicorn", "whitenoise", "redis==8.1.0")


def interpreter(version: str) -> str:
    """An interpreter of this machine, of pyenv or on the path; the test is skipped without it."""
    versions = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    found = [*map(str, versions.glob(f"{version}*/bin/python3")), shutil.which(f"python{version}")]
    python = next(filter(None, found), None)
    return python or pytest.skip(f"There is no Python {version} here.")


@pytest.mark.parametrize("version", ["3.11.7", "3.12", "3.13"])
def test_what_the_hosts_interpreter_needs_more_is_found_and_named(
    tmp_path: Path, laptop: Laptop, index: Index, machine: Machine, version: str
) -> None:
    python = interpreter(version)
    newsroom = Project("newsroom", tmp_path, laptop, index, machine, requirements=REDIS, python=python)
    newsroom.install("--editable", str(newsroom.folder))

    result = newsroom.deployed()

    [host] = result.one("plan.ready")["plan"]["hosts"]
    assert list(host["added"]) == ["async-timeout"]
    assert "<p>Water found</p>" in newsroom.read("/")
    site = machine.run(
        f"{machine.root}/current/venv/bin/python",
        "-c",
        "import redis, async_timeout, sys; print(sys.version_info[:3])",
    )
    assert site.stdout.strip() == "(3, 11, 2)"
    again = newsroom.run("deploy", "--json")
    assert again.one("rollout.finished")["outcome"] == "unchanged"


def test_strictly_nothing_is_made_up(tmp_path: Path, laptop: Laptop, index: Index, machine: Machine) -> None:
    python = interpreter("3.12")
    newsroom = Project("newsroom", tmp_path, laptop, index, machine, requirements=REDIS, python=python)
    newsroom.install("--editable", str(newsroom.folder))
    newsroom.replace("src/newsroom/settings.py", '"ROOT"', '"STRICT_ENVIRONMENT": True, "ROOT"')

    result = newsroom.run("deploy", "--yes")

    assert result.status == 1
    assert "Python 3.11.2 there needs async-timeout (for redis), not installed here." in result.err
    assert machine.run("ls", machine.root).stdout == ""
