"""Control groups of its own for each host: else units of one name share theirs, on hosts that know nothing of
each other, and systemd takes the processes of one for those of the other.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def folders(name: str) -> list[Path]:
    """Those of a host: one in every hierarchy that systemd keeps its units in."""
    return [hierarchy / name for hierarchy in _hierarchies()]


def make(name: str) -> list[Path]:
    """The folders are there now; what joins them can start the host."""
    made = folders(name)
    for group in made:
        group.mkdir(exist_ok=True)
    return made


def remove(name: str) -> None:
    """Those of a host that is off, with all that its systemd has made below."""
    for group in folders(name):
        for folder, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):  # a process of it is a zombie still
                os.rmdir(folder)


def _hierarchies() -> list[Path]:
    """Where this process is in each: cgroup2, and what systemd has of its own beside cgroup 1."""
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own[controllers] = path.lstrip("/")
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup2" and "" in own:
            found.append(Path(place, own[""]))
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            found.append(Path(place, own["name=systemd"]))
    return [folder for folder in found if os.access(folder, os.W_OK)]
