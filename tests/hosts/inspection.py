"""What a host serves, through its nginx, and whether everything on it agrees."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .machines import Machine

#: Runs on the host, as its user: waits until nobody is at work there, then tells as JSON all that a
#: deployment may leave behind.
LOOK = r"""
import fcntl, json, os, pathlib, re, subprocess, sys, time

root, patience = pathlib.Path(sys.argv[1]), float(sys.argv[2])
journal = root / ".deploy/transaction.json"
user_units = pathlib.Path.home() / ".config/systemd/user"
os.environ["XDG_RUNTIME_DIR"] = f"/run/user/{os.getuid()}"

def read(path):
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""

def parent(pid):
    fields = read(pathlib.Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return int(fields[1]) if fields else 0

def is_locked():
    try:
        with open(root / ".deploy/lock") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False

def processes():
    mine, found, pid = set(), [], os.getpid()
    while pid:
        mine.add(pid)
        pid = parent(pid)
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        words = read(folder / "cmdline").replace("\0", " ").strip()
        try:
            is_ours = folder.stat().st_uid == os.getuid()
        except OSError:
            continue
        # Those of sshd and PAM: a session's go a moment after the program that it ran.
        if int(folder.name) in mine or not is_ours or not words or words.startswith(("sshd:", "(sd-pam)")):
            continue
        unit = re.search(r"[^/]+@[^/]+Z-[0-9a-f]{7}\.service", read(folder / "cgroup"))
        if unit or not re.search(r"/init\.scope|/dbus\.service", read(folder / "cgroup")):
            found.append([unit and unit[0], words])
    return found

while patience > 0 and (journal.exists() or is_locked()):
    time.sleep(0.05)
    patience -= 0.05
listed = subprocess.run(
    ["systemctl", "--user", "list-units", "--all", "--plain", "--no-legend", "*@*Z-*.service"],
    capture_output=True, text=True,
).stdout
print(json.dumps({
    "current": os.readlink(root / "current") if (root / "current").is_symlink() else None,
    "sockets": {p.name: os.readlink(p) if p.is_symlink() else "socket" for p in root.glob("run/*.sock")},
    "states": {p.parent.name: p.read_text().strip() for p in root.glob("releases/2*/state")},
    "folders": [p.name for p in root.glob("releases/*")],
    "journal": journal.exists(),
    "locked": is_locked(),
    "units": {line.split()[0]: line.split()[2] for line in listed.splitlines()},
    "enabled": sorted({p.name for p in user_units.glob("*.wants/*@*.service")}),
    "processes": processes(),
}))
"""

#: Seconds in which a host has undone a deployment whose link is silent, with time to spare.
REST = 25.0

#: Seconds in which then the last processes and folders of other releases are gone.
SETTLED = 15.0


@dataclass(frozen=True)
class Page:
    """What the site shows. ``release`` and ``mark`` are empty where there is no page."""

    status: int
    mark: str = ""
    release: str = ""


def visit(machine: Machine) -> Page:
    """The site's first page, as the host's nginx serves it."""
    try:
        with urllib.request.urlopen(f"http://{machine.address}/", timeout=10) as answer:
            body = answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return Page(error.code)
    mark = re.search(r'<span id="mark">(.*?)</span>', body)
    release = re.search(r'<code id="release">(.*?)</code>', body)
    assert mark and release, body
    return Page(200, mark[1], release[1])


def visit_when_up(machine: Machine) -> Page:
    """What the processes that boot started answer."""
    deadline = time.monotonic() + 30
    while (page := visit(machine)).status != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    return page


def look(machine: Machine, *, patience: float = 0.0) -> dict[str, Any]:
    """What is on the host now, or as soon as no deployment is at work, within ``patience`` seconds."""
    answer = machine.enter("python3", "-", machine.root, str(patience), input=LOOK)
    found: dict[str, Any] = json.loads(answer)
    return found


def current(found: dict[str, Any]) -> str | None:
    """The release that the link points to."""
    link: str | None = found["current"]
    return link.removeprefix("releases/") if link else None


def live(machine: Machine) -> str:
    """The release that the host serves now."""
    release = current(look(machine))
    assert release, "nothing is live"
    return release


#: What the bookshop runs, unless a test says otherwise.
PROCESSES = ("web", "worker")


def problems(found: dict[str, Any], release: str | None, processes: tuple[str, ...] = PROCESSES) -> list[str]:
    """What on the host does not agree with ``release``, and nothing else, being live."""
    wanted_sockets = {"web.sock": f"web.{release}.sock", f"web.{release}.sock": "socket"} if release else {}
    units = {unit: state for unit, state in found["units"].items() if state != "inactive"}
    own = {unit for unit in units if release and unit.endswith(f"@{release}.service")}
    checks = {
        "current": found["current"] == (f"releases/{release}" if release else None),
        "sockets": found["sockets"] == wanted_sockets,
        "states": [id for id, state in found["states"].items() if state == "live"]
        == ([release] if release else []),
        "half a release": not {"preparing", "ready"} & set(found["states"].values()),
        "folders": sorted(found["folders"]) == sorted(found["states"]),
        "journal": not found["journal"],
        "lock": not found["locked"],
        "units": set(units) == own and set(units.values()) <= {"active"},
        "number of units": len(own) == (len(processes) if release else 0),
        "names of units": all(any(f"-{name}@" in unit for unit in own) for name in processes if release),
        "enabled": set(found["enabled"]) == own,
        "processes": all(unit in own for unit, words in found["processes"]),
    }
    return [name for name, holds in checks.items() if not holds]


def assert_consistent(
    machine: Machine, release: str | None, *, processes: tuple[str, ...] = PROCESSES
) -> None:
    """Within a moment, ``release`` and nothing else is live there: links, states, units, processes, lock."""
    found = look(machine, patience=REST)
    deadline = time.monotonic() + SETTLED
    while wrong := problems(found, release, processes):
        if time.monotonic() > deadline:
            text = json.dumps(found, indent=1)
            raise AssertionError(f"{wrong} on {machine.name}, where {release} should live: {text}")
        time.sleep(0.3)
        found = look(machine)


def at_rest(machine: Machine) -> str | None:
    """The release that is live when no deployment is at work any more; everything agrees with it."""
    release = current(look(machine, patience=REST))
    assert_consistent(machine, release)
    return release


def assert_serves(machine: Machine, release: str, mark: str | None = None) -> None:
    """Visitors see this release, and everything on the host agrees with it."""
    page = visit(machine)
    assert page.release == release, page
    assert mark is None or page.mark == mark, page
    assert_consistent(machine, release)
