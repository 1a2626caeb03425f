"""The files that visitors have uploaded, MEDIA_ROOT: listed and read for somebody who fetches them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .layout import Layout
from .protocol import Failure
from .shape import Shape
from .store import FETCHED, read_piece, sha256_of

#: Files that one reply lists, at most, and the characters of their paths; and how many it names otherwise.
LISTED = 2000
LISTED_TEXT = 250_000
NAMED = 100

#: A file: its path in the folder, its size in bytes, its time of change in nanoseconds since the epoch.
FILE: Shape = [str, range(1 << 50), range(1 << 63)]


class Media:
    """MEDIA_ROOT of the live release, as its Django said when it was deployed."""

    def __init__(self, layout: Layout) -> None:
        live = layout.live()
        if live is None:
            raise Failure("NoSuchRelease", "no release is live there", "Deploy first.")
        told = layout.release(live).site.get("media_root")
        if not isinstance(told, str) or not told:
            raise Failure(
                "MediaFailed", f"the settings of {live} have no MEDIA_ROOT", "There is nothing to fetch."
            )
        self.folder = Path(os.path.realpath(told))
        if not self.folder.is_dir():
            raise Failure("MediaFailed", f"{told} is not a folder", "No visitor has uploaded anything yet?")
        self._left_out: list[str] = []
        self._unreadable: list[str] = []
        self._files = self._walk()
        self._is_over = False

    def next_files(self) -> dict[str, Any]:
        """``files``; ``more`` says whether there may be others.

        ``left_out``: paths of links and what else is no file; ``unreadable``: of folders, or files.
        """
        self._left_out, self._unreadable = [], []
        files: list[list[Any]] = []
        length = 0
        for file in self._files:
            files.append(file)
            length += len(file[0])
            if len(files) == LISTED or length > LISTED_TEXT:
                break
        else:
            self._is_over = True
        return {
            "files": files,
            "more": not self._is_over,
            "left_out": self._left_out[:NAMED],
            "unreadable": self._unreadable[:NAMED],
        }

    def _walk(self) -> Iterator[list[Any]]:
        """Each file once, folder by folder. Links are not followed: they may lead anywhere."""
        for folder, folders, names in os.walk(self.folder, onerror=self._note_unreadable):
            folders.sort()
            self._left_out += [self._name(folder, name) for name in folders if _is_link(folder, name)]
            for name in sorted(names):
                path = os.path.join(folder, name)
                try:
                    found = os.lstat(path)
                except OSError:
                    continue  # it has gone just now
                if not stat.S_ISREG(found.st_mode):
                    self._left_out.append(self._name(folder, name))
                elif not os.access(path, os.R_OK):
                    self._unreadable.append(self._name(folder, name))
                else:
                    yield [self._name(folder, name), found.st_size, max(found.st_mtime_ns, 0)]

    def _name(self, folder: str, name: str) -> str:
        return Path(folder, name).relative_to(self.folder).as_posix()

    def _note_unreadable(self, error: OSError) -> None:
        self._unreadable.append(os.path.relpath(error.filename, self.folder))

    def read(self, name: str, offset: int) -> dict[str, Any]:
        """A piece, see ``read_piece``; with the last one the ``sha256`` of all of it."""
        path = self.folder / name
        if name.startswith("/") or Path(os.path.realpath(path)) != path or not path.is_file():
            raise Failure("BadRequest", f"{name!r} is no file of {self.folder}")
        piece = read_piece(path, offset)
        if offset + FETCHED >= piece["size"]:
            piece["sha256"] = sha256_of(path)
        return piece


def _is_link(folder: str, name: str) -> bool:
    return os.path.islink(os.path.join(folder, name))
