"""A file says what a host gets: its hashes are checked there, its markers judged by the host's own Python."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import uv

from .bookshop import run
from .kinds import Project
from .test_interpreters import REDIS, interpreter

if TYPE_CHECKING:
    from pathlib import Path

    from .index import Index
    from .laptop import Laptop
    from .machines import Machine


@pytest.mark.parametrize("name", ["requirements.txt", "pylock.toml"])
def test_pins_for_the_hosts_interpreter_come_from_the_file(
    tmp_path: Path, laptop: Laptop, index: Index, machine: Machine, name: str
) -> None:
    python = interpreter("3.11.7")
    newsroom = Project("newsroom", tmp_path, laptop, index, machine, requirements=REDIS, python=python)
    newsroom.install("--editable", str(newsroom.folder))
    wanted = "\n".join((*REDIS, "async-timeout<5 ; python_full_version < '3.11.3'\n"))
    (newsroom.folder / "wanted.in").write_text(wanted)
    compiler = (uv.find_uv_bin(), "pip", "compile", "--quiet", "--universal", "--generate-hashes")
    environment = {**os.environ, "UV_DEFAULT_INDEX": index.url}
    words = ("--python", python, "--output-file", newsroom.folder / name, newsroom.folder / "wanted.in")
    run(*compiler, *words, environment=environment)
    newsroom.replace("src/newsroom/settings.py", '"ROOT"', f'"REQUIREMENTS": "{name}", "ROOT"')

    result = newsroom.deployed()

    [host] = result.one("plan.ready")["plan"]["hosts"]
    assert host["added"] == {}
    assert "<p>Water found</p>" in newsroom.read("/")
    found = machine.run("ls", f"{machine.root}/current/venv/lib/python3.11/site-packages").stdout.split()
    assert [entry for entry in found if entry.startswith("async_timeout-")] == [
        "async_timeout-4.0.3.dist-info"
    ]
