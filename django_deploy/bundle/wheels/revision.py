"""Where a source folder stands in its VCS, as git or Mercurial tell."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from django_deploy.bundle.manifest import Revision
from django_deploy.exceptions import BundleError
from django_deploy.wording import first_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: What may be handed to git and hg as a revision, wherever it comes from.
_FULL_ID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")

#: How many names of files a message has.
FILES_SHOWN = 10


@dataclass(frozen=True)
class WorkingCopy:
    """A source folder in its VCS: the revision, and the files of the folder that differ from it."""

    revision: Revision
    dirty_files: tuple[str, ...]


def find_working_copy(folder: Path) -> WorkingCopy | None:
    """What git or Mercurial say about a folder.

    None where the folder is under neither, has no commit yet, or the command is missing or fails.
    Files that are not tracked and not ignored make it dirty as well.
    """
    place = find_root(folder)
    if place is None:
        return None
    return _read_git(folder) if place[0] == "git" else _read_mercurial(folder)


def find_root(folder: Path) -> tuple[str, Path] | None:
    """The repository that a folder lies in: ``git`` or ``hg``, and the folder of its working tree."""
    for parent in (folder, *folder.parents):
        for vcs in ("git", "hg"):
            if (parent / f".{vcs}").exists():
                return vcs, parent
    return None


@dataclass(frozen=True)
class Commits:
    """What lies between two revisions: a line for each new commit, and how many are not there any more."""

    new: tuple[str, ...]
    lost: int


def find_commits(folder: Path, before: str, after: Revision) -> Commits | None:
    """The commits that ``after`` has and the revision ``before`` has not, newest first.

    None where one of the two is not known here, as after a history that was written anew.
    """
    if not _FULL_ID.fullmatch(before):
        return None
    if after.vcs == "git":
        new = _run(["git", "log", "--no-show-signature", "--format=%h %s", f"{before}..{after.id}"], folder)
        lost = _run(["git", "rev-list", "--count", f"{after.id}..{before}"], folder)
    else:
        template = "{short(node)} {desc|firstline}\n"
        between = f"sort(only({after.id}, {before}), -rev)"
        new = _run(["hg", "log", "--rev", between, "--template", template], folder)
        dots = _run(["hg", "log", "--rev", f"only({before}, {after.id})", "--template", "."], folder)
        lost = None if dots is None else str(len(dots))
    if new is None or lost is None:
        return None
    return Commits(tuple(new.splitlines()), int(lost))


def find_revision(folder: Path) -> Revision | None:
    """The revision of a source folder; see ``find_working_copy``."""
    copy = find_working_copy(folder)
    return copy.revision if copy else None


def _read_git(folder: Path) -> WorkingCopy | None:
    status = ["git", "status", "--porcelain=v2", "--branch", "-z"]
    output = _run(
        # Where .gitmodules or the user's configuration would have changes ignored, they are deployed still.
        [*status, "--untracked-files=normal", "--ignore-submodules=none", "--", "."],
        folder,
        # A status must not take the lock that a commit in another window needs.
        GIT_OPTIONAL_LOCKS="0",
    )
    if output is None:
        return None
    headers, files = _parse_git_status(output)
    commit, branch = headers.get("branch.oid", ""), headers.get("branch.head", "")
    if not commit or commit == "(initial)":
        return None
    branch = "" if branch == "(detached)" else branch
    return WorkingCopy(Revision("git", commit, branch, is_dirty=bool(files)), files)


def _parse_git_status(output: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Headers and file names of ``git status --porcelain=v2 --branch -z``."""
    headers: dict[str, str] = {}
    files: list[str] = []
    entries = iter(output.split("\0"))
    for entry in entries:
        kind, _, rest = entry.partition(" ")
        if kind == "#":
            key, _, value = rest.partition(" ")
            headers[key] = value
        elif kind == "?":
            files.append(rest)
        elif kind in _FIELDS_BEFORE_NAME:
            files.append(rest.split(" ", _FIELDS_BEFORE_NAME[kind])[-1])
            if kind == "2":
                next(entries)  # the name before it was renamed
    return headers, tuple(files)


#: Per kind of line (changed, renamed, unmerged): the fields between the kind and the file's name.
_FIELDS_BEFORE_NAME = {"1": 7, "2": 8, "u": 9}


def _read_mercurial(folder: Path) -> WorkingCopy | None:
    node = _run(["hg", "log", "--rev", ".", "--template", "{node} {branch}"], folder)
    changed = _run(["hg", "status", "--subrepos", "--print0", "--no-status", "."], folder)
    if node is None or changed is None:
        return None
    id, _, branch = node.partition(" ")
    files = tuple(name for name in changed.split("\0") if name)
    return WorkingCopy(Revision("hg", id, branch, is_dirty=bool(files)), files) if id else None


def ignored_files(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Those of a folder's files that git or Mercurial is told to ignore, and that no revision has."""
    place = find_root(folder.resolve())
    if place is None or not names:
        return ()
    if place[0] == "git":
        asked = "".join(f"{name}\0" for name in names)
        found = _run(["git", "check-ignore", "-z", "--stdin"], folder, input=asked)
    else:
        found = _run(["hg", "status", "--ignored", "--no-status", "--print0", "."], folder)
    ignored = set((found or "").split("\0"))
    return tuple(name for name in names if name in ignored)


def _run(command: list[str], folder: Path, *, input: str = "", **environment: str) -> str | None:
    """What a command prints; None when it is missing or fails."""
    try:
        result = subprocess.run(
            command,
            cwd=folder,
            env={**vcs_environment(), **environment},
            input=input.encode("utf-8", "surrogateescape"),
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.decode("utf-8", "surrogateescape")


def vcs_environment() -> dict[str, str]:
    """The environment for git and hg: inside of a hook, git's own variables name another repository."""
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    return {**inherited, "GIT_TERMINAL_PROMPT": "0", "HGPLAIN": "1"}


#: What ``git rev-parse --local-env-vars`` lists, but for configuration.
_OF_A_HOOK = frozenset(
    (
        *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX", "GIT_SHALLOW_FILE"),
        *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_IMPLICIT_WORK_TREE"),
    )
)


def require_clean(folders: Iterable[Path]) -> None:
    """REQUIRE_CLEAN: ``BundleError`` that names what is not committed, in all of these source folders."""
    complaints, remedies = [], []
    for folder in folders:
        copy = find_working_copy(folder)
        if copy is None:
            complaints.append(f"neither git nor Mercurial knows a revision of {folder}")
            remedies.append("Commit all of it first, or set REQUIRE_CLEAN to False.")
        elif copy.dirty_files:
            names = ", ".join(first_of(copy.dirty_files, FILES_SHOWN))
            complaints.append(f"{folder} has uncommitted changes: {names}")
            remedies.append("Commit or stash them.")
    if complaints:
        remedy = " ".join(dict.fromkeys(remedies))
        raise BundleError(f"REQUIRE_CLEAN is set, but {'; '.join(complaints)}.", remedy=remedy)
