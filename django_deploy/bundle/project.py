"""The project: the distribution that provides the settings module, and where it stands in its VCS."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from django_deploy.bundle.manifest import Revision
from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from importlib.machinery import ModuleSpec

    from django_deploy.bundle.environment import Distribution

#: What a plain project needs to become a distribution.
MINIMAL_PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "1.0"
dependencies = ["django", "django-deploy"]

[tool.setuptools.packages.find]
include = ["{name}*"]

[tool.setuptools.package-data]
"*" = ["**/*"]
"""


def find_project(settings_module: str, distributions: Iterable[Distribution]) -> Distribution:
    """The distribution that provides the settings module; ``BundleError`` when none does."""
    file = find_module(settings_module)
    if file is None:
        raise BundleError(
            f"The settings module {settings_module} cannot be found.",
            remedy="SETTINGS_MODULE must name a module that this environment can import.",
        )
    candidates = tuple(distributions)
    owner = _recorded_owner(file, candidates) or _source_owner(file, candidates)
    if owner is None:
        name = settings_module.partition(".")[0]
        raise BundleError(
            f"The settings module {settings_module} ({file}) belongs to no installed distribution.",
            remedy="Put this into a pyproject.toml beside manage.py and run `pip install -e .` there:\n\n"
            + MINIMAL_PYPROJECT.format(name=name),
        )
    return owner


def find_module(name: str) -> Path | None:
    """The file of a module, found without importing anything."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded:
        return Path(loaded).resolve()
    path: Sequence[str] | None = None
    full_name, spec = "", None
    for part in name.split("."):
        full_name = f"{full_name}.{part}" if full_name else part
        spec = _find_spec(full_name, path)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    return Path(spec.origin).resolve() if spec is not None and spec.origin else None


def _find_spec(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    """As ``importlib.util.find_spec``, but without importing the parent packages."""
    specs = (finder.find_spec(name, path, None) for finder in sys.meta_path)
    return next((spec for spec in specs if spec is not None), None)


def _recorded_owner(file: Path, distributions: Iterable[Distribution]) -> Distribution | None:
    """The distribution whose RECORD lists a file in site-packages."""
    for distribution in distributions:
        folder, record = distribution.metadata_folder.parent, distribution.metadata_folder / "RECORD"
        if file.is_relative_to(folder) and record.is_file():
            line = f"{file.relative_to(folder).as_posix()},"
            if f"\n{line}" in "\n" + record.read_text(encoding="utf-8"):
                return distribution
    return None


def _source_owner(file: Path, distributions: Iterable[Distribution]) -> Distribution | None:
    """The distribution in whose source folder a file lies; the innermost of several."""
    sources = [(item.source.resolve(), item) for item in distributions if item.source is not None]
    owners = [(len(source.parts), item) for source, item in sources if file.is_relative_to(source)]
    return max(owners, key=lambda owner: owner[0])[1] if owners else None


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
    for parent in (folder, *folder.parents):
        for metadata, read in ((".git", _read_git), (".hg", _read_mercurial)):
            if (parent / metadata).exists():
                return read(folder)
    return None


def find_revision(folder: Path) -> Revision | None:
    """The revision of a source folder; see ``find_working_copy``."""
    copy = find_working_copy(folder)
    return copy.revision if copy else None


def _read_git(folder: Path) -> WorkingCopy | None:
    output = _run(
        ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=normal", "-z", "--", "."],
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
    node = _run(["hg", "log", "--rev", ".", "--template", "{node} {branch}"], folder, HGPLAIN="1")
    changed = _run(["hg", "status", "--print0", "--no-status", "."], folder, HGPLAIN="1")
    if node is None or changed is None:
        return None
    id, _, branch = node.partition(" ")
    files = tuple(name for name in changed.split("\0") if name)
    return WorkingCopy(Revision("hg", id, branch, is_dirty=bool(files)), files) if id else None


def _run(command: list[str], folder: Path, **environment: str) -> str | None:
    """What a command prints; None when it is missing or fails."""
    try:
        result = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.decode("utf-8", "surrogateescape")


def require_clean(folder: Path) -> None:
    """REQUIRE_CLEAN: ``BundleError`` that names what is not committed."""
    copy = find_working_copy(folder)
    if copy is None:
        raise BundleError(
            f"REQUIRE_CLEAN is set, but neither git nor Mercurial knows a revision of {folder}.",
            remedy="Commit the project first, or set REQUIRE_CLEAN to False.",
        )
    if copy.dirty_files:
        names = list(_first(copy.dirty_files, 10))
        raise BundleError(
            f"REQUIRE_CLEAN is set, but {folder} has uncommitted changes: {', '.join(names)}.",
            remedy="Commit or stash them.",
        )


def _first(names: Sequence[str], count: int) -> Iterator[str]:
    yield from names[:count]
    if len(names) > count:
        yield f"and {len(names) - count} more"
