"""What there is on a host at rest, counted: what deployments leave behind grows from one to the next."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .inspection import at_rest

if TYPE_CHECKING:
    from .machines import Machine

#: Runs on the host as root: counts what the user of the site has there.
COUNT = r"""
import collections, json, os, pathlib, pwd, re, subprocess, sys

root, user = pathlib.Path(sys.argv[1]), pwd.getpwnam("deploy")
home = pathlib.Path(user.pw_dir)

def read(path):
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""

def kilobytes(text, name):
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(name + ":"))

def entries(folder):
    return sum(len(folders) + len(files) for _, folders, files in os.walk(folder))

def is_the_sites(folder):
    try:
        mine = folder.stat().st_uid == user.pw_uid
    except OSError:
        return False
    # Those of a login, ours among them, come and go.
    return mine and "session-" not in read(folder / "cgroup")

def descriptors(folder):
    try:
        return len(os.listdir(folder / "fd"))
    except OSError:
        return 0

processes = [folder for folder in pathlib.Path("/proc").glob("[0-9]*") if is_the_sites(folder)]
managers = [f for f in processes if read(f / "cmdline").startswith("/lib/systemd/systemd\0--user")]
control = ["runuser", "-u", user.pw_name, "--", "env", f"XDG_RUNTIME_DIR=/run/user/{user.pw_uid}"]
units = subprocess.run(
    [*control, "systemctl", "--user", "list-units", "--all", "--plain", "--no-legend"],
    capture_output=True, text=True, check=True,
).stdout
loaded = [line.split() for line in units.splitlines()]
kinds = collections.Counter(
    re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{7}", "RELEASE", name)
    for name, _, state, *_ in loaded
    if state != "inactive"
)
sockets = read(pathlib.Path("/proc/net/unix")).splitlines()
private = root / ".deploy"
print(json.dumps({
    "processes": len(processes),
    "open files": sum(map(descriptors, processes)),
    "open files of the manager": sum(map(descriptors, managers)),
    "memory of the manager, kB": sum(kilobytes(read(folder / "status"), "VmRSS") for folder in managers),
    "memory of the site, kB": sum(kilobytes(read(f / "smaps_rollup"), "Pss") for f in processes),
    "sockets": sum(str(root) in line for line in sockets),
    **{f"unit {name}": count for name, count in kinds.items()},
    "units that are inactive": sum(state == "inactive" for _, _, state, *_ in loaded),
    "unit files": entries(home / ".config/systemd/user"),
    "sessions": len(os.listdir("/run/systemd/sessions")) if os.path.isdir("/run/systemd/sessions") else 0,
    "releases": len(os.listdir(root / "releases")),
    "files of the releases": entries(root / "releases"),
    "files in the store": entries(private / "store"),
    "files in the cache": entries(private / "cache"),
    "other files under ROOT": entries(root) - entries(root / "releases") - entries(private / "store")
        - entries(private / "cache"),
    "files in the home folder": entries(home),
    "temporary files": entries("/tmp") + entries("/run/user"),
    "disk of ROOT, kB": int(subprocess.check_output(["du", "-sk", root]).split()[0]),
}))
"""

#: What may be a little more at the next look: memory that allocators keep, what is logged, and units that
#: systemd has not forgotten yet, with what it watches of them.
TOLERANCE = {
    "memory of the manager, kB": 500,
    "memory of the site, kB": 10_000,
    "disk of ROOT, kB": 1000,
    "units that are inactive": 4,
    "open files of the manager": 4,
    "open files": 8,
}


def take_stock(machine: Machine) -> dict[str, int]:
    """Count, as soon as no deployment is at work on the host and the old release has left."""
    at_rest(machine)
    counted: dict[str, int] = json.loads(
        machine.run("python3", "-", machine.root, user="root", input=COUNT).stdout
    )
    return counted


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, tuple[int, int]]:
    """What is more than before, beyond its tolerance."""
    return {
        name: (before.get(name, 0), count)
        for name, count in after.items()
        if count > before.get(name, 0) + TOLERANCE.get(name, 0)
    }
