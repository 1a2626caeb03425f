"""The processes behind one socket: a master that only starts others, and the workers that answer.

Linux tells them, in ``/proc`` (proc(5)); elsewhere none are seen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Optional

PROC = Path("/proc")

#: ``__SO_ACCEPTCON`` in the flags of /proc/net/unix: the socket listens.
_LISTENS = 0x10000


def workers_of(socket_path: str) -> set[int]:
    """The process ids of all who could accept a connection there, without those who only start them.

    Of a server that forks, as gunicorn and uvicorn do, the parent holds the socket, too.
    """
    inode = _listening_inode(socket_path)
    holders = set(_holders(inode)) if inode else set()
    return holders - {parent for pid in holders if (parent := _parent_of(pid)) is not None}


def _listening_inode(socket_path: str) -> str:
    """Empty where nobody listens."""
    with suppress(OSError), open(PROC / "net/unix", encoding="utf-8", errors="surrogateescape") as table:
        next(table, None)
        for line in table:
            _, _, _, flags, _, _, inode, *path = line.rstrip("\n").split(None, 7)
            if path == [socket_path] and int(flags, 16) & _LISTENS:
                return inode
    return ""


def _holders(inode: str) -> Iterator[int]:
    """Of other users' processes the system tells nothing; the site's are ours."""
    wanted = f"socket:[{inode}]"
    for process in PROC.glob("[0-9]*"):
        with suppress(OSError):
            files = [entry.path for entry in os.scandir(process / "fd")]
            if any(_leads_to(file) == wanted for file in files):
                yield int(process.name)


def _leads_to(file: str) -> str:
    with suppress(OSError):  # closed meanwhile
        return os.readlink(file)
    return ""


def _parent_of(pid: int) -> Optional[int]:
    """None where it has ended."""
    with suppress(OSError):
        # Behind the name, which may have anything in it, brackets as well.
        return int((PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    return None
