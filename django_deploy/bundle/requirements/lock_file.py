"""Files that name exact versions: requirements.txt and pylock.toml (PEP 751), as the same entries."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.markers import Marker
from packaging.pylock import (
    Pylock,
    PylockSelectError,
    PylockValidationError,
    is_valid_pylock_path,
)
from packaging.specifiers import SpecifierSet

from django_deploy.bundle.requirements.requirements_file import (
    INDEX_OPTIONS,
    Entry,
    Option,
    read_requirements_file,
)
from django_deploy.bundle.wheels.pyproject import read_toml
from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from packaging.pylock import Package

#: ``'cache' in extras``: the part of a marker that does not depend on the interpreter (PEP 751).
_CHOICE = re.compile(r'"(?P<name>[^"]*)" (?P<not>not )?in (?P<set>extras|dependency_groups)\b')

#: What stands for such a part when it is decided.
_ALWAYS, _NEVER = 'os_name != ""', 'os_name == ""'


@dataclass(frozen=True)
class LockFile:
    """Exact versions and direct references. ``name`` is how messages call the file.

    ``further`` are requirements that count on other interpreters only, and have no version yet.
    """

    file: Path
    name: str
    entries: tuple[Entry, ...]
    options: tuple[Option, ...] = ()
    further: tuple[str, ...] = ()

    @property
    def index_options(self) -> tuple[Option, ...]:
        """The lines that say where distributions are found."""
        return tuple(option for option in self.options if option.name in INDEX_OPTIONS)


def find_file(text: str, folders: Sequence[Path], setting: str) -> Path:
    """The file that a setting names, relative to the first of ``folders`` that has it."""
    places = list(dict.fromkeys(folder / text for folder in folders))
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise BundleError(
            f"{setting} names {text}, which is not there: {' and '.join(map(str, places))}"
            f" {'does' if len(places) == 1 else 'do'} not exist.",
            remedy="Write the path from the folder of manage.py, or the whole path.",
        )
    return found


def read_lock_file(file: Path, *, extras: Collection[str] = ()) -> LockFile:
    """A requirements.txt or pylock.toml; ``BundleError`` when it leaves a version open.

    ``extras`` are those of the project that pylock.toml may tell apart.
    """
    if is_valid_pylock_path(file):
        return LockFile(file, file.name, tuple(_read_pylock(file, extras)))
    found = read_requirements_file(file)
    entries = tuple(_pinned_by(entry, found.constraints) for entry in found.entries)
    _refuse_open(entries, file)
    _refuse_contradiction(entries, found.constraints)
    return LockFile(file, file.name, _merged(entries), tuple(found.options))


def _pinned_by(entry: Entry, constraints: Iterable[Entry]) -> Entry:
    """An entry with the version, and the hashes, that a constraint adds to it."""
    if entry.reference:
        return entry
    for constraint in constraints:
        if constraint.name == entry.name and constraint.version and constraint.applies_here:
            specifier = entry.specifier if entry.version else constraint.specifier
            return replace(entry, specifier=specifier, hashes=entry.hashes or constraint.hashes)
    return entry


def _refuse_open(entries: Iterable[Entry], file: Path) -> None:
    found = [entry for entry in entries if not entry.version and not entry.reference]
    if found:
        lines = [f"  {entry.place}: {entry}" for entry in found]
        source = file.with_suffix(".in").name
        raise BundleError(
            f"{file.name} leaves versions open, so it does not say what hosts are to install:\n"
            + "\n".join(lines),
            remedy=f"Compile it: name what you require in {source}, and `pip-compile {source}` writes"
            f" {file.name}; or let REQUIREMENTS name {source}.",
        )


def _refuse_contradiction(entries: Iterable[Entry], constraints: Sequence[Entry]) -> None:
    for entry in entries:
        for constraint in constraints:
            if (
                entry.version
                and constraint.name == entry.name
                and constraint.applies_here
                and not SpecifierSet(constraint.specifier).contains(entry.version, prereleases=True)
            ):
                raise BundleError(
                    f"{entry.place} says {entry}, but {constraint.place} says {constraint}.",
                    remedy="Correct one of the two.",
                )


def _merged(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Without what is said twice; ``BundleError`` where this interpreter would get two versions."""
    found: dict[object, Entry] = {}
    here: dict[str, Entry] = {}
    for entry in entries:
        first = here.setdefault(entry.name, entry) if entry.name and entry.applies_here else entry
        if (first.version, first.reference) != (entry.version, entry.reference):
            raise BundleError(
                f"{first.place} says {first}, but {entry.place} says {entry}.",
                remedy="Remove one of the two, or give each a marker.",
            )
        found.setdefault((entry.name, entry.specifier, entry.reference, entry.marker), entry)
    return tuple(found.values())


def _read_pylock(file: Path, extras: Collection[str]) -> Iterator[Entry]:
    try:
        lock = Pylock.from_dict(read_toml(file))
        chosen = frozenset(extras) & frozenset(lock.extras or ())
        list(lock.select(extras=chosen))  # it says what is wrong for this interpreter
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}.") from None
    except PylockValidationError as error:
        raise BundleError(f"{file} is not a lock file (PEP 751): {error}.") from None
    except PylockSelectError as error:
        raise BundleError(
            f"{file.name} is not for this interpreter: {error}.", remedy="Recreate it, for this one too."
        ) from None
    decided = {"extras": chosen, "dependency_groups": frozenset(lock.default_groups or ())}
    for number, package in enumerate(lock.packages, 1):
        marker = _settle(str(package.marker or ""), decided)
        if marker is not None:
            entry = _entry_of(package, f"{file.name}, package {number}", file.parent)
            yield replace(entry, marker=marker)


def _settle(marker: str, chosen: Mapping[str, Collection[str]]) -> str | None:
    """A marker without extras and groups, so that hosts can judge the rest; None when it is never true."""

    def decide(found: re.Match[str]) -> str:
        is_true = (found["name"] in chosen[found["set"]]) != bool(found["not"])
        return _ALWAYS if is_true else _NEVER

    settled = _CHOICE.sub(decide, marker)
    if settled == marker:
        return marker
    if '"' in settled.replace(_ALWAYS, "").replace(_NEVER, ""):
        return settled
    return "" if Marker(settled).evaluate() else None


def _entry_of(package: Package, place: str, folder: Path) -> Entry:
    files = [*(package.wheels or ()), *([package.sdist] if package.sdist else ())]
    if not files:
        reference, is_editable = _reference_of(package, folder)
        return Entry(place, package.name, reference=reference, is_editable=is_editable)
    if package.version is None:
        raise BundleError(f"{place}: {package.name} has no version.", remedy="Recreate the lock file.")
    hashes = {sha256.lower() for item in files if (sha256 := item.hashes.get("sha256"))}
    return Entry(place, package.name, specifier=f"=={package.version}", hashes=tuple(sorted(hashes)))


def _reference_of(package: Package, folder: Path) -> tuple[str, bool]:
    """The address or path of a package that no index has, and whether it is an editable folder."""
    if package.vcs is not None:
        place = package.vcs.url or str(folder / (package.vcs.path or ""))
        below = f"#subdirectory={package.vcs.subdirectory}" if package.vcs.subdirectory else ""
        return f"{package.vcs.type}+{place}@{package.vcs.commit_id}{below}", False
    if package.directory is not None:
        path = folder / package.directory.path / (package.directory.subdirectory or "")
        return os.path.normpath(path.absolute()), bool(package.directory.editable)
    archive = package.archive
    if archive is None or archive.url:
        return (archive.url or "") if archive else "", False
    return os.path.normpath((folder / (archive.path or "")).absolute()), False
