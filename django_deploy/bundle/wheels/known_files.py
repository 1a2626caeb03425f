"""The files that git or Mercurial knows: what some setuptools plug-ins put into a wheel.

setuptools-scm and its like make every known file package data (``include_package_data``). A build sees a
copy without a repository, so the copy's MANIFEST.in has to name these files, or templates would vanish.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from django_deploy.bundle.wheels.revision import find_root, vcs_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from django_deploy.bundle.wheels.tree import Tree

#: Plug-ins that tell setuptools which files there are.
_FILE_FINDER = re.compile(r"setuptools[_-](?:scm|git|hg|svn)|\bpbr\b")

_COMMANDS = {
    "git": ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."),
    "hg": ("hg", "status", "--print0", "--no-status", "--modified", "--added", "--clean", "--unknown", "."),
}

#: What a line of MANIFEST.in cannot hold as it is; ``?`` stands for any character.
_SPECIAL = re.compile(r"[\s\[\]*!#\\]")


def find_known_files(tree: Tree) -> tuple[str, ...]:
    """Names relative to the tree, for a build with such a plug-in; none for all others.

    Committed or not, but not what is ignored. Where there is no repository, as in a checkout of another
    revision, all files are known.
    """
    if not _FILE_FINDER.search(tree.configuration):
        return ()
    place = find_root(tree.folder)
    names = _ask(_COMMANDS[place[0]], tree.folder) if place else None
    if names is None:
        names = [file.relative_to(tree.folder).as_posix() for file in tree.files()]
    return tuple(sorted(names))


def _ask(command: Sequence[str], folder: Path) -> list[str] | None:
    """The names that a command lists; None when it is missing or fails."""
    environment = {**vcs_environment(), "HGPLAIN": "1"}
    try:
        output = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return [name for name in output.decode("utf-8", "surrogateescape").split("\0") if name]


def name_in_manifest(names: Iterable[str], source: Path) -> None:
    """Makes setuptools take the named files of a source folder, before MANIFEST.in has its say."""
    file = source / "MANIFEST.in"
    rest = file.read_text("utf-8", "surrogateescape") if file.is_file() else ""
    lines = "".join(f"include {_SPECIAL.sub('?', name)}\n" for name in names)
    file.write_text(lines + rest, "utf-8", "surrogateescape")
