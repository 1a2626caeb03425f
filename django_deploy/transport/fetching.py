"""Files of a host: those of its store, and the locks of its releases. Nothing is locked or changed there."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

from django_deploy.bundle.cache import write_aside
from django_deploy.exceptions import HostError
from django_deploy.host.store import FETCHED
from django_deploy.transport.session import HostSession, Reply

#: Pieces that are asked for before the first of them has come.
AT_ONCE = 4

#: Seconds in which a piece must come; several share the line.
PIECE_TIMEOUT = 300.0

#: Bytes of a release's lock, at most.
MAX_LOCK = 32 * 1024 * 1024


def fetch_lock(session: HostSession, release: str) -> str:
    """The requirements file that a release was installed from; ``HostError`` when it is not to be had."""
    what = f"the lock of {release}"
    first = _wait(session, session.request("fetch", release=release, offset=0), what)
    size = first.get("size")
    if not isinstance(size, int) or not 0 <= size <= MAX_LOCK:
        raise _odd(session, what)
    pieces = _pieces(session, size, what, release=release)
    return b"".join(pieces).decode("utf-8", "replace")


def fetch_file(session: HostSession, sha256: str, name: str, size: int, place: Path) -> None:
    """Writes a file of the host's store to ``place``; ``HostError`` when it is not what its sha256 says."""
    found = hashlib.sha256()
    with write_aside(place) as aside, aside.open("wb") as sink:
        for piece in _pieces(session, size, name, sha256=sha256, file=name):
            found.update(piece)
            sink.write(piece)
        if found.hexdigest() != sha256:
            raise _odd(session, name)


def _pieces(session: HostSession, size: int, what: str, **fields: Any) -> Iterator[bytes]:
    """The pieces of a file of so many bytes, each asked for a few pieces ahead."""
    waiting: deque[Future[Reply]] = deque()
    asked = done = 0
    while done < size:
        while asked < size and len(waiting) < AT_ONCE:
            waiting.append(session.request("fetch", offset=asked, **fields))
            asked += FETCHED
        piece = _content(_wait(session, waiting.popleft(), what))
        if len(piece) != min(FETCHED, size - done):
            raise _odd(session, what)
        done += len(piece)
        yield piece


def _wait(session: HostSession, future: Future[Reply], what: str) -> Reply:
    try:
        return future.result(PIECE_TIMEOUT)
    except FutureTimeout:
        message = f"no more of {what} has come for {PIECE_TIMEOUT:g} s."
        raise HostError(session.host.name, message, remedy="Look at the host, and try again.") from None


def _content(reply: Reply) -> bytes:
    try:
        return base64.b64decode(reply.get("data", ""), validate=True)
    except (binascii.Error, TypeError, ValueError):
        return b""


def _odd(session: HostSession, what: str) -> HostError:
    return HostError(session.host.name, f"{what} is damaged there.", remedy="Deploy there again.")
