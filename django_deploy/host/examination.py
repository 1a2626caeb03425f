"""What a doctor asks of a host. Facts only: nothing is created or changed, and they are judged elsewhere.

``django_deploy/doctor/`` knows what they mean, ``EXAMINATION`` in ``transport/answers.py`` their shape.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

from . import health, maintenance
from .index_answer import ask_index
from .layout import Layout, Release
from .processes import open_manager
from .protocol import Failure
from .serving import has_socket
from .static_files import static_root
from .steps import StepProcess
from .web_server import find_configuration, find_servers

#: Seconds in which the live release's Django starts and has reached its databases.
REACH_TIMEOUT = 40.0

#: Seconds in which the live release's interpreter says its version.
VERSION_TIMEOUT = 10.0


def examine(
    layout: Layout, index_url: Optional[str], default_index: str, distribution: str, web: Optional[str]
) -> dict[str, Any]:
    """Everything but the databases. ``index_url`` None: no index is to be asked; ``""``: the host's own.

    ``default_index`` is what installers ask where a host has none; ``distribution`` is one that the index
    should have a page of. ``web`` is the server that is to be in front of the site, ``"nginx"`` say.
    """
    release = _live(layout)
    sockets = _sockets(layout, release) if release else []
    links = [Path(entry["link"]) for entry in sockets]
    servers = find_servers()
    return {
        "disks": list(_disks(layout)),
        "interpreter": _interpreter(release) if release else None,
        "manager": str(release.record["manager"]) if release else "",
        "left_to_hand": _left_to_hand(layout, release) if release else [],
        "sockets": sockets,
        "way": list(_way([*links, *(_served_files(layout, release) if release and web else [])])),
        "servers": servers,
        "configuration": find_configuration(servers, links, web),
        "index": ask_index(index_url, default_index, distribution) if index_url is not None else None,
        "time": time.time(),
    }


def reach_databases(layout: Layout) -> dict[str, Any]:
    """The databases of the live release, from within its own environment: see ``site/databases.py``."""
    release = _live(layout)
    if release is None:
        return {"databases": {}}
    nothing = os.open(os.devnull, os.O_RDONLY)  # no lock is held that a step would have to keep
    try:
        steps = StepProcess(release, nothing, lambda stream, line: None)
        try:
            reply = steps.ask({"do": "reach"}, REACH_TIMEOUT)
        finally:
            steps.close()
    finally:
        os.close(nothing)
    if not reply["ok"]:
        message = str(reply.get("error", "it did not answer"))
        raise Failure("StepFailed", message, lines=steps.last_lines())
    return {"databases": reply["databases"]}


def _live(layout: Layout) -> Optional[Release]:
    live = layout.live()
    return layout.release(live) if live else None


def _disks(layout: Layout) -> Iterator[dict[str, Any]]:
    """The file systems that a site writes to, ROOT's first; each once."""
    seen = set()
    for folder in (layout.root, Path.home(), Path("/tmp"), Path("/var"), Path("/")):  # noqa: S108
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        with suppress(OSError):
            device, found = folder.stat().st_dev, os.statvfs(folder)
            if device not in seen and found.f_blocks:
                seen.add(device)
                yield {
                    "path": str(folder),
                    "bytes": found.f_blocks * found.f_frsize,
                    "free_bytes": found.f_bavail * found.f_frsize,
                    # File systems that make inodes as they need them have none to count.
                    "inodes": found.f_files or None,
                    "free_inodes": found.f_favail if found.f_files else None,
                    "is_read_only": bool(found.f_flag & os.ST_RDONLY),
                }


def _interpreter(release: Release) -> dict[str, str]:
    """The Python that the live release was made with, and what its virtualenv leads to now."""
    made = ""
    with suppress(OSError):
        for line in (release.venv / "pyvenv.cfg").read_text().splitlines():
            name, _, value = line.partition("=")
            if name.strip() in ("version", "version_info"):
                made = ".".join(value.strip().split(".")[:3])
    code = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    try:
        done = subprocess.run(
            [str(release.python), "-I", "-c", code], capture_output=True, timeout=VERSION_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {"made": made, "now": "", "error": getattr(error, "strerror", None) or str(error)}
    error_text = done.stderr.decode(errors="replace").strip() if done.returncode else ""
    return {"made": made, "now": done.stdout.decode(errors="replace").strip(), "error": error_text[-500:]}


def _left_to_hand(layout: Layout, release: Release) -> list[str]:
    """The processes that nobody would start with the host."""
    names = [process["name"] for process in release.record["processes"]]
    return open_manager(release.record["manager"], layout, None).left_to_hand(release.id, names)


def _sockets(layout: Layout, release: Release) -> list[dict[str, Any]]:
    """Each web process's link, where it leads, and whether the site answers there."""
    record = release.record
    names = [process["name"] for process in record["processes"] if has_socket(process)]
    return [_socket(layout, release, record["health"], name) for name in names]


def _socket(layout: Layout, release: Release, wanted: Optional[dict[str, Any]], name: str) -> dict[str, Any]:
    link, own = layout.socket_link(name), layout.socket(name, release.id)
    try:
        leads_to = os.readlink(link)
    except OSError:
        leads_to = ""
    # Behind the maintenance page the site is asked all the same.
    is_in_maintenance = maintenance.notice(layout) is not None
    failure = _ask_socket(own if is_in_maintenance else link, release, wanted)
    return {
        "process": name,
        "link": str(link),
        "leads_to": leads_to,
        "own": own.name,
        "is_in_maintenance": is_in_maintenance,
        "failure": failure,
    }


def _ask_socket(path: Path, release: Release, wanted: Optional[dict[str, Any]]) -> Optional[dict[str, Any]]:
    try:
        if wanted is None or wanted["path"].startswith("http://"):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(health.ANSWER_TIMEOUT)
                connection.connect(str(path))
        else:
            health.look(f"{path}:{wanted['path']}", str(path), health.for_site(wanted, release.site))
    except Failure as failure:
        lines = [str(line) for line in failure.details.get("lines", [])]
        return {"message": failure.message, "remedy": failure.remedy, "lines": lines}
    except OSError as error:
        return {"message": f"{path}: {error.strerror or error}", "remedy": "", "lines": []}
    return None


def _served_files(layout: Layout, release: Release) -> list[Path]:
    """Any file that the web server sends itself, as it goes there."""
    static, media = static_root(release), Path(release.site.get("media_root") or "/")
    served = [layout.current / static.relative_to(release.path)] if static else []
    served += [media] if layout.root in media.parents else []
    return [folder / "*" for folder in served]


def _way(links: list[Path]) -> Iterator[dict[str, Any]]:
    """What a web server passes on its way there: every folder once, then the sockets themselves."""
    folders: dict[Path, None] = {}
    for link in links:
        for part in reversed(link.parents):
            real = Path(os.path.realpath(part))
            folders.update(dict.fromkeys([*reversed(real.parents), real]))
    sockets = dict.fromkeys(Path(os.path.realpath(link)) for link in links)
    for path in (*folders, *sockets):
        with suppress(OSError):
            found = path.stat()
            yield {
                "path": str(path),
                "is_folder": path not in sockets,
                "mode": found.st_mode & 0o7777,
                "uid": found.st_uid,
                "gid": found.st_gid,
                "has_acl": _has_acl(path),
            }


def _has_acl(path: Path) -> bool:
    """Whether the mode does not say all (acl(5))."""
    try:
        return "system.posix_acl_access" in os.listxattr(path)
    except OSError:
        return False
