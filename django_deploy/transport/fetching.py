"""Files of a host: its store, the locks of its releases, copies of databases, media. Nothing is locked."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

from django_deploy.bundle.cache import write_aside
from django_deploy.exceptions import HostError, RequestFailed
from django_deploy.host.store import FETCHED
from django_deploy.transport.session import HostSession, Progress, Reply

#: Pieces that are asked for before the first of them has come.
AT_ONCE = 4

#: Those of them that may be under way where they are small.
SMALL_AT_ONCE = 100

#: Seconds in which a piece must come; several share the line.
PIECE_TIMEOUT = 300.0

#: Bytes of a release's lock, at most.
MAX_LOCK = 32 * 1024 * 1024

#: What helps where a host's file is damaged.
ANEW = "Deploy there again."
AGAIN = "Run the command again."


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


def fetch_copy(session: HostSession, copy: Mapping[str, Any], part: Path, progress: Progress) -> bool:
    """Append to ``part`` what it lacks of a copy of a database; gives whether its sha256 is then right.

    ``progress`` is called with the bytes of each piece. Raises ``HostError``; ``part`` may be gone on with.
    """
    with part.open("r+b") as file:
        found = hashlib.sha256()
        while data := file.read(FETCHED):
            found.update(data)
        start, what = file.tell(), f"the copy of {copy['place']}"
        for piece in _pieces(session, copy["size"], what, start, AGAIN, copy=copy["name"]):
            found.update(piece)
            file.write(piece)
            file.flush()
            progress(len(piece))
        os.fsync(file.fileno())
    return found.hexdigest() == str(copy["sha256"])


def fetch_media(
    session: HostSession, wanted: Iterable[tuple[str, int, int]]
) -> Iterator[tuple[bytes, Reply] | RequestFailed]:
    """Of files in MEDIA_ROOT what lies behind an offset: path, offset, and the size of the file.

    Gives each piece with what else was answered; a file has at least one piece. What the host says no to
    stands there instead.
    """
    requests = (
        ({"media": name, "offset": offset}, min(FETCHED, size - offset))
        for name, start, size in wanted
        for offset in range(start, max(size, start + 1), FETCHED)
    )
    for future in _ahead(session, requests):
        try:
            reply = _wait(session, future, "the media files")
        except RequestFailed as error:
            yield error
        else:
            yield _content(reply), reply


def _pieces(
    session: HostSession, size: int, what: str, start: int = 0, remedy: str = ANEW, **fields: Any
) -> Iterator[bytes]:
    """The pieces of a file of so many bytes, from ``start`` on, each asked for a few pieces ahead."""
    done = start
    requests = (
        ({"offset": offset, **fields}, min(FETCHED, size - offset)) for offset in range(start, size, FETCHED)
    )
    for future in _ahead(session, requests):
        piece = _content(_wait(session, future, what))
        if len(piece) != min(FETCHED, size - done):
            raise _odd(session, what, remedy)
        done += len(piece)
        yield piece


def _ahead(
    session: HostSession, requests: Iterable[tuple[Mapping[str, Any], int]]
) -> Iterator[Future[Reply]]:
    """Ask for pieces of so many bytes, a few ahead of the one that is waited for."""
    waiting: deque[tuple[Future[Reply], int]] = deque()
    under_way = 0
    for fields, size in requests:
        while waiting and (under_way + size > AT_ONCE * FETCHED or len(waiting) == SMALL_AT_ONCE):
            future, came = waiting.popleft()
            under_way -= came
            yield future
        waiting.append((session.request("fetch", **fields), size))
        under_way += size
    for future, _ in waiting:
        yield future


def _wait(session: HostSession, future: Future[Reply], what: str) -> Reply:
    try:
        return future.result(PIECE_TIMEOUT)
    except FutureTimeout:
        message = f"no more of {what} has arrived for {PIECE_TIMEOUT:g} s."
        raise HostError(session.host.name, message, remedy="Look at the host, and try again.") from None


def _content(reply: Reply) -> bytes:
    try:
        return base64.b64decode(reply.get("data", ""), validate=True)
    except (binascii.Error, TypeError, ValueError):
        return b""


def _odd(session: HostSession, what: str, remedy: str = ANEW) -> HostError:
    return HostError(session.host.name, f"{what} is damaged there.", remedy=remedy)
