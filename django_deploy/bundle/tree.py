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
        self._ignore = ignore

    def files(self) -> Iterator[Path]:
        """All files that count, sorted within each folder."""
        yield from self._walk(self.folder, frozenset())

    def _walk(self, folder: Path, above: frozenset[str]) -> Iterator[Path]:
        real = os.path.realpath(folder)
        if real in above:  # a link to a folder that contains it
            return
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
        if folder != self.folder and any(entry.name == "pyvenv.cfg" for entry in entries):
            return
        for entry in entries:
            if self._is_ignored(entry, at_root=folder == self.folder):
                continue
            path = folder / entry.name
            if entry.is_dir():
                yield from self._walk(path, above | {real})
            elif entry.is_file():
                yield path

    def _is_ignored(self, entry: os.DirEntry[str], *, at_root: bool) -> bool:
        if entry.name.endswith(IGNORED_SUFFIXES):
            return True
        if at_root and entry.name.endswith(IGNORED_SUFFIXES_AT_ROOT):
            return True
        if not entry.is_dir():
            return False
        if entry.name in IGNORED_FOLDERS or (at_root and entry.name in IGNORED_AT_ROOT):
            return True
        return bool(self._ignore) and Path(entry.path) in self._ignore

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
        for name, file in self._named_files():
            content = file.read_bytes()
            executable = os.access(file, os.X_OK)
            total.update(f"{name}\0{executable:d}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
            total.update(content)
        return total.hexdigest()

    def _named_files(self) -> Iterator[tuple[str, Path]]:
        """Every file with its path relative to the tree's folder."""
        prefix = len(str(self.folder)) + 1
        yield from ((str(file)[prefix:], file) for file in self.files())
        for name in self.outside():
            place = self.folder / name
            tree = Tree(place) if place.is_dir() else None
            for file in tree.files() if tree else (place,):
                inner = str(file)[len(str(tree.folder)) :] if tree else ""
                yield name + inner, file

    def copy(self, folder: Path, name: str) -> Path:
        """Copies what counts to a new folder called ``name``, somewhere in ``folder``; returns it.

        Places outside of the tree lie in the copy as they lie here.
        """
        depth = max((name.count("../") for name in self.outside()), default=0)
        copy = folder.joinpath(*["above"] * depth, name)
        for relative, file in self._named_files():
            destination = Path(os.path.normpath(copy / relative))
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, destination)
        return copy
