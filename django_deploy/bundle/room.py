"""The room that distributions take on a host's disk, known before they are there: bytes and inodes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from django_deploy.bundle.manifest import Wheel

#: What a file system gives out, in bytes: the smallest file takes that much.
BLOCK = 4096

#: Python's bytecode is about as large as its source.
_SOURCE = re.compile(r"\.py$")

#: What collectstatic copies, and once more under its hashed name.
_STATIC = re.compile(r"(?:^|/)static/")
STATIC_COPIES = 2

#: Not in an index's wheel: who installs here has made it.
_BYTECODE = re.compile(r"(?:^|/)__pycache__/")


@dataclass(frozen=True)
class Room:
    """Bytes, in whole blocks, and inodes, one a file or folder."""

    bytes: int = 0
    inodes: int = 0

    def __add__(self, other: Room) -> Room:
        return Room(self.bytes + other.bytes, self.inodes + other.inodes)


NO_ROOM = Room()


@dataclass(frozen=True)
class Extent:
    """What an installed distribution takes.

    ``shared`` are its files, which releases share (uv's hard links), in the folders of uv's cache; ``own`` is
    what each release has anew: folders, those of bytecode too, and the copies of its static files.
    """

    shared: Room
    own: Room

    @property
    def whole(self) -> Room:
        return self.shared + self.own

    @property
    def download(self) -> Room:
        """As a file of an index, in a cache; wheels are compressed to a third or less."""
        return Room(whole_blocks(self.shared.bytes // 3), 3)


#: Of which nothing is known here: what a host's own interpreter needs more, or a file says. Most are smaller.
UNKNOWN = Extent(Room(3_000_000, 300), Room(40 * BLOCK, 40))


def whole_blocks(size: int) -> int:
    """The bytes that a file of this size takes."""
    return -(-size // BLOCK) * BLOCK


def of_files(files: Iterable[tuple[str, int]]) -> Extent:
    """By the paths and sizes of its files."""
    shared, own, folders, of_bytecode = [0, 0], [0, 0], {"."}, set[str]()
    for path, size in files:
        taken, copies = whole_blocks(size), 2 if _SOURCE.search(path) else 1
        shared[0], shared[1] = shared[0] + copies * taken, shared[1] + copies
        if copies > 1:
            of_bytecode.add(path.rpartition("/")[0])
        if _STATIC.search(path):
            own[0], own[1] = own[0] + STATIC_COPIES * taken, own[1] + STATIC_COPIES
        while (path := path.rpartition("/")[0]) and path not in folders:
            folders.add(path)
    anew = len(folders) + len(of_bytecode)
    return Extent(
        Room(shared[0] + len(folders) * BLOCK, shared[1] + len(folders)),
        Room(own[0] + anew * BLOCK, own[1] + anew),
    )


@lru_cache(maxsize=1024)
def of_wheel(path: Path) -> Extent:
    """By the wheel's directory; of an sdist nobody knows before it is built."""
    try:
        with ZipFile(path) as archive:
            return of_files((entry.filename, entry.file_size) for entry in archive.infolist())
    except (OSError, BadZipFile):
        return UNKNOWN


@lru_cache(maxsize=1024)
def of_installed(metadata: Path) -> Extent:
    """By the RECORD of what is installed here; the ``.dist-info`` folder is given."""
    try:
        text = (metadata / "RECORD").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return UNKNOWN
    rows = (line.rsplit(",", 2) for line in text.splitlines() if not _BYTECODE.search(line))
    return of_files(
        (row[0].strip('"'), int(row[2] or 0)) for row in rows if len(row) == 3 and _is_size(row[2])
    )


def _is_size(text: str) -> bool:
    return not text or (text.isascii() and text.isdigit())


def in_store(wheels: Iterable[Wheel]) -> Room:
    """Of files as they are sent."""
    found = [whole_blocks(wheel.size) for wheel in wheels]
    return Room(sum(found) + 2 * BLOCK * len(found), 2 * len(found))
