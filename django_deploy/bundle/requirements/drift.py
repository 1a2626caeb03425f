"""Where a lock file and the environment differ."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from django_deploy.bundle.index.sources import redact
from django_deploy.bundle.selection import SELF, TOOLS
from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from django_deploy.bundle.environment import Distribution
    from django_deploy.bundle.requirements.lock_file import LockFile
    from django_deploy.bundle.requirements.requirements_file import Entry

#: What the programs that make lock files write about themselves at the top of them.
_MADE_BY = re.compile(r"^#\s+((?:pip-compile|uv|poetry|pdm)\s.+)$", re.MULTILINE)

#: How much of a file is read for that, in characters.
_HEAD = 2000

_COMMIT = re.compile(r"@([0-9a-f]{40})(?:#|$)")


@dataclass(frozen=True)
class Difference:
    """A distribution that a file and the environment know in two ways; empty where one of them lacks it."""

    name: str
    locked: str
    installed: str


def find_installed(entry: Entry, distributions: Iterable[Distribution]) -> Distribution | None:
    """The installed distribution that an entry of a file means: by its name, folder, archive or address."""
    if entry.name:
        return next((item for item in distributions if item.name == entry.name), None)
    if entry.path is not None:
        place = entry.path.resolve()
        return next((item for item in distributions if place in _places(item)), None)
    address = _address(entry.reference)
    return next((item for item in distributions if item.url and _address(item.url) == address), None)


def _places(item: Distribution) -> tuple[Path, ...]:
    """The paths that a file may call a distribution by: for an egg-link, freeze names another folder."""
    if item.source is None:
        return ()
    has_link = item.metadata_folder.suffix == ".egg-info"
    places = (item.source, item.metadata_folder.parent) if has_link else (item.source,)
    return tuple(place.resolve() for place in places)


def _address(reference: str) -> str:
    """An address without its kind, user, revision and fragment."""
    address = redact(re.sub(r"^(git|hg|svn|bzr)\+", "", reference.partition("#")[0]))
    scheme, separator, rest = address.partition("://")
    return f"{scheme}{separator}{rest.partition('@')[0]}".removesuffix(".git")


def compare(
    entries: Iterable[Entry], distributions: Sequence[Distribution], deployed: Iterable[Distribution]
) -> tuple[Difference, ...]:
    """What differs, by name: entries against all that is installed, and the deployed that no entry names.

    Of editable distributions only the names count, of repositories the commit where the entry tells it.
    """
    found, named = [], set()
    for entry in entries:
        installed = find_installed(entry, distributions)
        named.add(installed.name if installed else entry.name)
        if entry.applies_here and (installed is None or not _is_same(entry, installed)):
            found.append(Difference(entry.name or str(entry), _locked(entry), _installed(installed)))
    found += (Difference(item.name, "", _installed(item)) for item in deployed if item.name not in named)
    return tuple(sorted(found, key=lambda difference: difference.name))


def _is_same(entry: Entry, installed: Distribution) -> bool:
    if installed.kind == "editable":
        return True
    if entry.version:
        return is_same_version(entry.version, installed.version)
    commit = _COMMIT.search(entry.reference)
    if commit and installed.commit:
        return commit[1] == installed.commit
    return installed.kind != "index"


def is_same_version(one: str, other: str) -> bool:
    """Whether two versions are the same in two ways of writing: ``1.0`` and ``1.0.0``."""
    try:
        return Version(one) == Version(other)
    except InvalidVersion:  # from before PEP 440
        return one == other


def _locked(entry: Entry) -> str:
    return entry.version or redact(entry.reference)


def _installed(distribution: Distribution | None) -> str:
    if distribution is None:
        return ""
    if distribution.commit:
        return f"{distribution.vcs}+{redact(distribution.url)}@{distribution.commit}"
    return distribution.version


def table(differences: Sequence[Difference], name: str) -> Iterator[str]:
    """Lines in columns: the name, what the file of that name says, what is installed."""
    rows = [("distribution", name, "installed")]
    rows += ((item.name, item.locked or "-", item.installed or "-") for item in differences)
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    yield from (f"  {row[0]:{first}}  {row[1]:{second}}  {row[2]}" for row in rows)


def require_equal(
    lock: LockFile,
    distributions: Sequence[Distribution],
    deployed: Iterable[Distribution],
    project: Distribution,
) -> None:
    """LOCK_FILE: ``BundleError`` with a table of what differs.

    The project itself and django-deploy need not be locked; nor tools that install, which pip freeze and
    pip-compile leave out of their files.
    """
    wanted = [item for item in deployed if item.name not in (project.name, SELF, *TOOLS)]
    differences = compare(lock.entries, distributions, wanted)
    if differences:
        lines = "\n".join(table(differences, lock.name))
        raise BundleError(
            f"LOCK_FILE is set, but {lock.name} is not what is installed here and deployed:\n{lines}",
            remedy=_remedy(lock.file, has_more=any(not item.locked for item in differences)),
        )


def _remedy(file: Path, *, has_more: bool) -> str:
    """Both ways to make a lock file and the environment equal, as commands.

    pip removes nothing, and a compiled file has nothing that its sources do not name.
    """
    install = f"`pip install -r {file}` brings the environment to the file"
    if has_more:
        install = f"Uninstall what the file does not have, or name it where the file is made from. {install}"
    made_by = _MADE_BY.search(file.read_text(encoding="utf-8", errors="replace")[:_HEAD])
    if made_by:
        return f"{install}; `{made_by[1]}` recreates the file."
    if file.suffix == ".txt":
        return f"{install}; `pip freeze > {file}` the file to the environment."
    return f"{install}; or recreate the file."
