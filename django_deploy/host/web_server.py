"""The web server in front of the site, as far as the site's user may look: who it is, what it is told."""

from __future__ import annotations

import glob
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from . import commands
from .protocol import Failure
from .users import user_name

#: By the program's name: the file that its configuration begins with, and the command that only reads it.
SERVERS = {
    "nginx": (Path("/etc/nginx/nginx.conf"), ["nginx", "-t"]),
    "caddy": (Path("/etc/caddy/Caddyfile"), ["caddy", "adapt", "--config", "/etc/caddy/Caddyfile"]),
}

#: By which words a file has another one read, after comments are gone.
_COMMENT = re.compile(r"(^|\s)#.*", re.MULTILINE)
_INCLUDE = {
    "nginx": re.compile(r"""(?:^|[\s{};])include\s+["']?([^"';]+)["']?\s*;"""),
    "caddy": re.compile(r"""^\s*import\s+["`]?([^\s"`]+)""", re.MULTILINE),
}

#: Seconds that the command may take.
TEST_TIMEOUT = 10.0

#: Debian has them where the PATH of a plain user does not lead.
FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")

#: Files of a configuration that are read, at most, and bytes of one.
MAX_FILES = 1000
MAX_FILE = 1048576


def find_servers() -> list[dict[str, Any]]:
    """Each that is installed or runs: ``name``, and of what runs ``user``, ``uid``, ``groups``."""
    running = _running()
    found = []
    for name in SERVERS:
        if name in running:
            found.append({"name": name, "is_running": True, **running[name]})
        elif _program(name):
            found.append({"name": name, "is_running": False, "user": "", "uid": -1, "groups": []})
    return found


def _running() -> dict[str, dict[str, Any]]:
    """Who answers requests: of nginx that are the workers, and not their master, which is root."""
    found: dict[str, dict[str, Any]] = {}
    for status in filter(None, map(_status, os.listdir("/proc"))):
        if len(status.get("NSpid", "").split()) > 1:
            continue  # in a container, where it sees other files
        name, uid = status["Name"], int(status["Uid"].split()[1])
        if name in SERVERS and (name not in found or found[name]["uid"] == 0):
            groups = {int(status["Gid"].split()[1]), *map(int, status["Groups"].split())}
            found[name] = {"user": user_name(uid), "uid": uid, "groups": sorted(groups)}
    return found


def _status(pid: str) -> Optional[dict[str, str]]:
    """As of proc_pid_status(5)."""
    try:
        lines = Path(f"/proc/{int(pid)}/status").read_text(errors="replace").splitlines()
    except (OSError, ValueError):
        return None
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _program(name: str) -> Optional[str]:
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *FOLDERS]))


def find_configuration(
    servers: Sequence[dict[str, Any]], links: Sequence[Path], wanted: Optional[str] = None
) -> Optional[dict[str, Any]]:
    """Of the ``wanted`` server, else of one that runs, else of one that is installed; null where none is.

    ``files`` name one of the sockets' ``links``; ``status`` and ``lines`` are what the server itself says
    of its configuration, with null for one that cannot be asked.
    """
    best_first = sorted(servers, key=lambda server: (server["name"] != wanted, not server["is_running"]))
    if not best_first:
        return None
    chosen = best_first[0]
    _, argv = SERVERS[chosen["name"]]
    names = {str(link) for link in links} | {
        os.path.realpath(link.parent) + f"/{link.name}" for link in links
    }
    files = [str(file) for file, text in _texts(chosen["name"]) if any(name in text for name in names)]
    program = _program(chosen["name"])
    status, lines = _test([program, *argv[1:]]) if program else (None, [])
    return {"server": chosen["name"], "files": files, "status": status, "lines": lines}


def _texts(server: str) -> Iterator[tuple[Path, str]]:
    """What the server reads, without comments: its first file, and from there what files have it read.

    What lies beside that is not: sites that are not enabled, and what a setup has kept of an earlier file.
    """
    first = SERVERS[server][0]
    waiting = [str(first)]
    seen: set[str] = set()
    while waiting and len(seen) < MAX_FILES:
        path = waiting.pop(0)
        if path in seen or not os.path.isfile(path):
            continue
        seen.add(path)
        text = _read(path)
        yield Path(path), text
        # A relative path counts for nginx from its first file, for Caddy from the file that it stands in.
        folder = first.parent if server == "nginx" else Path(path).parent
        for pattern in _INCLUDE[server].findall(text):
            waiting += sorted(glob.glob(os.path.join(str(folder), pattern)))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return _COMMENT.sub("", file.read(MAX_FILE))
    except OSError:
        return ""


def _test(argv: list[str]) -> tuple[Optional[int], list[str]]:
    lines: list[str] = []

    def on_line(stream: str, line: str) -> None:
        if stream == "stderr":
            lines.append(line[:500])

    try:
        status, _ = commands.run(argv, on_line=on_line, timeout=TEST_TIMEOUT)
    except Failure as failure:
        return None, [failure.message]
    return status, lines[-20:]
