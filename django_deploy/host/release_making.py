"""A release's folder is filled: its virtualenv, the files that start what is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import environment, launch
from .layout import Layout, Release, write_atomically
from .link import Link
from .store import Store
from .virtualenv import Installer, carry_bytecode, unpack_tool, unshare_project

MANAGE = """\
#!{python}
\"\"\"manage.py of release {id}, with the target's settings and environment.\"\"\"
import sys

import launch

launch.enter()

from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
"""


def install(
    layout: Layout, store: Store, link: Link, release: Release, message: dict[str, Any]
) -> dict[str, Path]:
    """Build the release's virtualenv as ``message`` says; gives the folders of the tools that came along.

    The fields are those of the request ``prepare``. Raises ``Failure``, also for a file that is not whole.
    """
    for artifact in message["artifacts"]:
        store.path(artifact["sha256"], artifact["name"])
    lock = release.path / "requirements.lock"
    lock.write_text(message["lock"])
    tools = unpack_tools(layout, store, message["tools"])
    installer = message["installer"]
    Installer(
        layout,
        name=installer["name"],
        tool=tools.get(installer["name"]),
        python=message["python"],
        index_url=installer["index_url"],
        vendored=installer.get("vendored", False),
        report=link.report,
        stop=link.lost,
    ).build(release, lock, message["distributions"], installer["offline_first"])
    unshare_project(release)
    live = layout.live()
    if live is not None and layout.release(live).venv.is_dir():
        carry_bytecode(layout.release(live), release)
    return tools


def unpack_tools(layout: Layout, store: Store, tools: Mapping[str, Mapping[str, str]]) -> dict[str, Path]:
    """The folders of tools whose wheels are stored: ``sha256`` and ``name`` of each, by its name."""
    return {
        name: unpack_tool(layout, store.path(tool["sha256"], tool["name"]), tool["sha256"])
        for name, tool in tools.items()
    }


def write_files(
    layout: Layout,
    release: Release,
    record: Mapping[str, Any],
    settings: Mapping[str, str],
    tools: Mapping[str, Path],
) -> None:
    """Write what starts the release's programs, with their environment."""
    source = launch.__loader__.get_source(launch.__name__)  # type: ignore[union-attr]
    write_atomically(release.path / "launch.py", source)
    manage = MANAGE.format(python=release.python, id=release.id)
    write_atomically(release.path / "manage.py", manage, 0o755)
    environment.write(release, settings, environment.of_host(layout))
    told = {**record, "tools": {name: str(path) for name, path in tools.items()}}
    write_atomically(release.path / "release.json", json.dumps(told, indent=1), 0o600)
