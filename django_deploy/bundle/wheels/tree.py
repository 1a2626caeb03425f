"""A source tree as a build sees it: which files count, their digest, a clean copy."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Folders that never belong to what is built, at any depth.
IGNORED_FOLDERS = frozenset(
    (
        *("__pycache__", "node_modules", ".git", ".hg", ".svn", ".jj", ".eggs", ".tox", ".nox", ".venv"),
        *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".idea", ".vscode"),
    )
)

#: Folders at the root of a tree where earlier builds left their results.
IGNORED_AT_ROOT = frozenset(("build", "dist", "htmlcov"))

IGNORED_SUFFIXES = (".pyc", ".pyo", ".egg-info", ".DS_Store")

#: Files at the root that change while one works, and that no wheel has from there.
IGNORED_SUFFIXES_AT_ROOT = (".log", ".sqlite3", ".sqlite3-journal", ".sqlite3-wal", ".sqlite3-shm")

#: How much of a file is in memory at a time, in bytes.
BLOCK = 1 << 20

#: Files in which a build back end is told about places outside of the tree.
_CONFIGURATION = ("pyproject.toml", "setup.cfg", "setup.py", "MANIFEST.in", "hatch_build.py")

_OUTSIDE = re.compile(r"(?<![\w./])(?:\.\./)+[\w./@+-]*\w")


class Tree:
    """The files of a source folder that a build may use.

    ``ignore`` are further folders to leave out, say uploaded media. Links are followed: a build
    sees what they lead to.
    """

    def __init__(self, folder: Path, *, ignore: frozenset[Path] = frozenset()) -> None:
        self.folder = folder.resolve()
        self._ignore = frozenset(map(str, ignore))

    def files(self) -> Iterator[Path]:
        """All files that count, sorted within each folder."""
        return map(Path, self._walk(str(self.folder), frozenset()))

    def _walk(self, folder: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
        # Trees have thousands of files, and every deployment walks them: strings, not Paths.
        status = os.stat(folder)
        identity = (status.st_dev, status.st_ino)
        if identity in above:  # a link to a folder that contains it
            return
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
        at_root = not above
        if not at_root and any(entry.name == "pyvenv.cfg" for entry in entries):
            return
        for entry in entries:
            if self._is_ignored(entry, at_root=at_root):
                continue
            if entry.is_dir():
                yield from self._walk(entry.path, above | {identity})
            elif entry.is_file():
                yield entry.path

    def _is_ignored(self, entry: os.DirEntry[str], *, at_root: bool) -> bool:
        name = entry.name
        if name.endswith(IGNORED_SUFFIXES) or name in IGNORED_FOLDERS:
            return True
        if at_root and (name in IGNORED_AT_ROOT or name.endswith(IGNORED_SUFFIXES_AT_ROOT)):
            return True
        if entry.path in self._ignore:
            return True
        return entry.is_symlink() and os.path.realpath(entry.path) in self._ignore

    @cached_property
    def configuration(self) -> str:
        """The texts that tell the back end what to build."""
        files = (self.folder / name for name in _CONFIGURATION)
        return "\n".join(file.read_text("utf-8", "replace") for file in files if file.is_file())

    def outside(self) -> tuple[str, ...]:
        """Relative paths (``../…``) that the configuration names and that exist."""
        names = sorted(set(_OUTSIDE.findall(self.configuration)))
        return tuple(name for name in names if (self.folder / name).exists())

    def digest(self) -> str:
        """sha256 over names, executable bits and contents of all files that count."""
        total = hashlib.sha256()
        for name, path in self._named_files():
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                header = f"{name}\0{status.st_mode & 0o111 != 0:d}\0{status.st_size}\0"
                total.update(header.encode("utf-8", "surrogateescape"))
                while block := file.read(BLOCK):
                    total.update(block)
        return total.hexdigest()

    def _named_files(self) -> Iterator[tuple[str, str]]:
        """Every file with its path relative to the tree's folder."""
        yield from self._walk_named("")
        for name in self.outside():
            place = self.folder / name
            if place.is_dir():
                yield from Tree(place)._walk_named(f"{name}/")
            else:
                yield name, str(place)

    def _walk_named(self, prefix: str) -> Iterator[tuple[str, str]]:
        start = len(str(self.folder)) + 1
        return ((prefix + path[start:], path) for path in self._walk(str(self.folder), frozenset()))

    def copy(self, folder: Path, name: str) -> Path:
        """Copies what counts to a new folder called ``name``, somewhere in ``folder``; returns it.

        Places outside of the tree lie in the copy as they lie here. Of a file's mode only the executable
        bit comes along: the rest is the umask of whoever has checked the tree out.
        """
        depth = max((outside.count("../") for outside in self.outside()), default=0)
        copy = folder.joinpath(*["above"] * depth, name)
        made: set[str] = set()
        for relative, path in self._named_files():
            destination = os.path.normpath(f"{copy}/{relative}")
            parent = os.path.dirname(destination)
            if parent not in made:
                os.makedirs(parent, exist_ok=True)
                made.add(parent)
            shutil.copyfile(path, destination)
            os.chmod(destination, 0o755 if os.stat(path).st_mode & 0o111 else 0o644)
        return copy
