"""The folder of this machine into which the media files of a site are fetched.

What a host says of its files is not believed: nothing is written outside of the folder, whatever they are
called.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .bundle.cache import sha256_of
from .exceptions import DeployError

#: What a file that is not whole yet is called, in the folder itself.
PART = re.compile(r"\.deploy_fetch-[0-9a-f]{16}\.part")

#: Characters of a path, at most; and of one name in it, bytes.
MAX_PATH = 4096
MAX_NAME = 255

#: Times that differ by less are the same: not every file system notes nanoseconds.
SAME_TIME = 1000


@dataclass(frozen=True)
class MediaFile:
    """A file in MEDIA_ROOT: its path there, its size in bytes, when it was changed, in ns since the epoch."""

    name: str
    size: int
    changed: int


def is_harmless(name: str) -> bool:
    """Whether a path of a host stays in the folder that it is joined to, on any system."""
    try:
        parts = [part.encode("utf-8", "surrogateescape") for part in name.split("/")]
    except UnicodeEncodeError:  # half a character
        return False
    forbidden = b"\0\\:" if os.name == "nt" else b"\0"
    return len(name) <= MAX_PATH and all(
        part not in (b"", b".", b"..") and len(part) <= MAX_NAME and not set(part) & set(forbidden)
        for part in parts
    )


class MediaFolder:
    """Writes into one folder, and nowhere else."""

    def __init__(self, path: Path) -> None:
        """Raises ``DeployError`` where that can be no folder."""
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DeployError(f"{path}: no folder can be made there: {error.strerror}.") from None
        self.path = path.resolve()

    def place(self, name: str) -> Path:
        """The one function that joins a host's path to the folder; raises ``DeployError`` if it leads out."""
        if not is_harmless(name) or PART.fullmatch(name):
            raise DeployError(f"A file that is called {name[:100]!r} is not written.")
        path = self.path.joinpath(*PurePosixPath(name).parts)
        folder = path.parent.resolve()
        if folder != self.path and self.path not in folder.parents:
            raise DeployError(
                f"{path} is not written: a link leads from there to {folder}.", remedy="Remove the link."
            )
        return path

    def lacks(self, file: MediaFile) -> bool:
        """Whether the file is not there as the host has it, by its size and its time."""
        try:
            found = self.place(file.name).lstat()
        except OSError:
            return True
        is_same = found.st_size == file.size and abs(found.st_mtime_ns - file.changed) < SAME_TIME
        return not is_same

    def part(self, file: MediaFile) -> Path:
        """Where a file lies that is not whole; another size or time of it is another file."""
        about = f"{file.size} {file.changed} {file.name}".encode("utf-8", "surrogateescape")
        return self.path / f".deploy_fetch-{hashlib.sha256(about).hexdigest()[:16]}.part"

    def have(self, file: MediaFile) -> int:
        """Bytes of it that came before a fetch broke off."""
        try:
            size = self.part(file).lstat().st_size
        except OSError:
            return 0
        return size if size < file.size else 0

    def finish(self, file: MediaFile) -> None:
        """Give a file that is whole its name and its time."""
        part, path = self.part(file), self.place(file.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.utime(part, ns=(file.changed, file.changed))
        # Anew: only now its folder is there, and nobody has made a link of it meanwhile.
        os.replace(part, self.place(file.name))

    def forget(self, file: MediaFile) -> None:
        """Give up what has come of it."""
        self.part(file).unlink(missing_ok=True)

    def sha256(self, file: MediaFile) -> str:
        """Of what has come of it."""
        return sha256_of(self.part(file))

    def forget_parts(self) -> None:
        """Those of files that the host has no more."""
        for path in self.path.glob(".deploy_fetch-*.part"):
            if PART.fullmatch(path.name):
                path.unlink(missing_ok=True)

    def others(self, names: Collection[str]) -> Iterator[Path]:
        """The files here that the host does not have; links are not followed."""
        for folder, _, files in os.walk(self.path):
            for file in sorted(files):
                path = Path(folder, file)
                if path.relative_to(self.path).as_posix() not in names and not PART.fullmatch(file):
                    yield path

    def delete(self, paths: Iterable[Path]) -> None:
        """Files that ``others`` has found, and the folders that are empty then."""
        for path in paths:
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self.path:
                    break
                with suppress(OSError):  # it has more
                    folder.rmdir()
