"""Reads requirements files as pip documents their format: requirements, includes, constraints, hashes.

https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, urlsplit
from urllib.request import url2pathname

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from django_deploy.bundle.index.sources import redact
from django_deploy.exceptions import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: pip's own: a comment stands at the beginning of a line or behind white space.
_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NAME_WITH_EXTRAS = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[([^\[\]]*)\])?")
_EXTRAS = re.compile(r"(.+?)\[([^\[\]]*)\]")
_ARCHIVE = re.compile(r"\.(whl|zip|tar\.(gz|bz2|xz)|tgz|tbz)$", re.IGNORECASE)

#: Options of a file that say where distributions are found.
INDEX_OPTIONS = ("-i", "--index-url", "--pypi-url", "--extra-index-url", "-f", "--find-links", "--no-index")

#: Options by their short form.
_LONG = {"-r": "--requirement", "-c": "--constraint", "-e": "--editable"}


@dataclass(frozen=True)
class Entry:
    """One requirement of a file.

    ``place`` is the file and line. ``name`` is canonical, and empty for a path or an address that tells
    none. ``specifier`` is as written (``">=5,<6"``). Instead of it a ``reference`` is an address, or the
    absolute path of a folder or archive; ``is_editable`` with ``-e``. ``hashes`` are sha256.
    """

    place: str
    name: str
    extras: tuple[str, ...] = ()
    specifier: str = ""
    reference: str = ""
    is_editable: bool = False
    marker: str = ""
    hashes: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The exact version that is asked for; empty where several would do."""
        exact = re.fullmatch(r"===?\s*([^\s,*]+)", self.specifier)
        return exact[1] if exact else ""

    @property
    def applies_here(self) -> bool:
        """Whether this interpreter's markers let it count."""
        return not self.marker or Marker(self.marker).evaluate({"extra": ""})

    @property
    def path(self) -> Path | None:
        """Where a reference leads on this machine; None for one that leads elsewhere."""
        if self.reference.startswith("file:"):
            return Path(url2pathname(urlsplit(self.reference).path))
        return Path(self.reference) if self.reference.startswith("/") else None

    def __str__(self) -> str:
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        if not self.reference:
            return f"{self.name}{extras}{self.specifier}"
        reference = _without_password(self.reference)
        return f"{self.name}{extras} @ {reference}" if self.name else f"{reference}{extras}"


def _without_password(reference: str) -> str:
    is_user_public = urlsplit(reference).netloc.startswith("git@")
    return reference if is_user_public else redact(reference)


@dataclass(frozen=True)
class Option:
    """A line of a file that is no requirement: ``--pre``, ``--extra-index-url``."""

    place: str
    name: str
    value: str = ""


@dataclass
class RequirementsFile:
    """What a requirements file says, and all files that it includes."""

    entries: list[Entry] = field(default_factory=list)
    constraints: list[Entry] = field(default_factory=list)
    options: list[Option] = field(default_factory=list)


def read_requirements_file(file: Path) -> RequirementsFile:
    """A file with its includes; ``BundleError`` with the file and line of the first mistake."""
    found = RequirementsFile()
    _Reader(found, file.parent).read(file, file.name, found.entries)
    return found


class _Reader:
    """Fills a ``RequirementsFile``. Places are told relative to ``base``."""

    def __init__(self, found: RequirementsFile, base: Path) -> None:
        self._found = found
        self._base = base
        self._seen: set[tuple[Path, bool]] = set()

    def read(self, file: Path, place: str, entries: list[Entry]) -> None:
        """Reads a file that ``place`` names; requirements and constraints differ in where they go."""
        key = (file.resolve(), entries is self._found.constraints)
        if key in self._seen:  # files may include each other, as pip lets them
            return
        self._seen.add(key)
        for number, line in _logical_lines(_read_text(file, place)):
            self._read_line(line, file, f"{self._name_of(file)}, line {number}", entries)

    def _name_of(self, file: Path) -> str:
        return os.path.relpath(file, self._base) if file.is_relative_to(self._base) else str(file)

    def _read_line(self, line: str, file: Path, place: str, entries: list[Entry]) -> None:
        if not line.startswith("-"):
            entries.append(_parse_entry(line, place, file.parent))
            return
        name, value = _split_option(line)
        if name == "--editable":
            entries.append(_parse_entry(value, place, file.parent, is_editable=True))
        elif name in ("--requirement", "--constraint"):
            if "://" in value:
                raise BundleError(
                    f"{place}: {value} is not on this machine.", remedy="Put the file next to the other."
                )
            included = file.parent / value
            if _CONTROL.search(value):
                raise BundleError(f"{place}: {value!r} is not the name of a file.")
            self.read(included, place, entries if name == "--requirement" else self._found.constraints)
        else:
            if name in ("-f", "--find-links") and os.path.exists(file.parent / value):
                value = str((file.parent / value).absolute())
            self._found.options.append(Option(place, name, value))


def _read_text(file: Path, place: str) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        where = "" if place == file.name else f"{place}: "
        raise BundleError(f"{where}{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise BundleError(f"{file} is not a text file in UTF-8.") from None


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, continued ones joined, with their numbers; variables are replaced."""
    first, parts = 0, list[str]()
    for number, line in enumerate([*text.splitlines(), ""], 1):
        is_comment = re.match(r"\s*#", line) is not None
        if line.endswith("\\") and not is_comment:
            first = first or number
            parts.append(line[:-1])
            continue
        whole = _COMMENT.sub("", "".join([*parts, " " if is_comment else line])).strip()
        if whole:
            yield first or number, _VARIABLE.sub(lambda found: os.environ.get(found[1], found[0]), whole)
        first, parts = 0, []


def _split_option(line: str) -> tuple[str, str]:
    """``-r x``, ``-rx``, ``-r "x"``, ``--requirement x`` and ``--requirement=x`` are the same."""
    word, _, rest = line.partition(" ")
    if word.startswith("--"):
        name, _, value = line.partition("=") if "=" in word else (word, "", rest)
    else:
        name, value = word[:2], word[2:] or rest
    value = value.strip()
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
    return _LONG.get(name, name), value[1:-1] if is_quoted else value


def _parse_entry(text: str, place: str, folder: Path, *, is_editable: bool = False) -> Entry:
    """A requirement with its options (``--hash``), as it stands on one line."""
    words = re.split(r"\s+(?=--?[a-z])", text, maxsplit=1)
    hashes = _parse_hashes(words[1], place) if len(words) > 1 else ()
    try:
        parsed = Requirement(words[0])
        entry = None if is_editable else _parsed_entry(parsed, place, folder)
    except (InvalidRequirement, RecursionError):
        entry = None
    if entry is None:
        # An address may have a semicolon in it: its marker is set off with a space (PEP 508).
        reference, _, marker = words[0].partition(" ;" if "://" in words[0] else ";")
        entry = _parse_reference(reference.strip(), place, folder)
        entry = replace(entry, is_editable=is_editable, marker=_checked(marker, place))
    _check_marker(entry.marker, place)
    return replace(entry, hashes=hashes)


def _parsed_entry(parsed: Requirement, place: str, folder: Path) -> Entry:
    reference = parsed.url or ""
    if reference and ":" not in reference:  # a path: uv allows it there
        reference = str(_find_path(reference, place, folder))
    _split_address(reference, place)
    return Entry(
        place,
        canonicalize_name(parsed.name),
        tuple(sorted(parsed.extras)),
        str(parsed.specifier),
        reference,
        marker=str(parsed.marker or ""),
    )


def _parse_hashes(options: str, place: str) -> tuple[str, ...]:
    values = re.findall(r"--hash[= ]\s*(\S+)", options)
    sha256 = [value.partition(":")[2].lower() for value in values if value.startswith("sha256:")]
    if values and not sha256:
        raise BundleError(
            f"{place} has no sha256, only {values[0].partition(':')[0]}.",
            remedy="`pip-compile --generate-hashes` writes sha256.",
        )
    if wrong := [value for value in sha256 if not re.fullmatch(r"[0-9a-f]{64}", value)]:
        raise BundleError(f"{place}: {wrong[0]!r} is not a sha256.")
    return tuple(sorted(set(sha256)))


def _checked(marker: str, place: str) -> str:
    text = marker.strip()
    try:
        return str(Marker(text)) if text else ""
    except (InvalidMarker, RecursionError):
        raise _no_marker(text, place) from None


def _check_marker(text: str, place: str) -> None:
    """Those that compare what cannot be compared are found when they are asked."""
    try:
        if text:
            Marker(text).evaluate({"extra": ""})
    except ValueError:
        raise _no_marker(text, place) from None


def _no_marker(text: str, place: str) -> BundleError:
    return BundleError(
        f"{place}: {text[:200]!r} is not an environment marker.",
        remedy="Write one as in: name==1.0; python_version < '3.12'",
    )


def _split_address(text: str, place: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError as error:
        raise BundleError(f"{place}: {text[:200]!r} is not an address: {error}.") from None


def _parse_reference(text: str, place: str, folder: Path) -> Entry:
    """An address or a path: what pip allows beside PEP 508."""
    if "://" in text or text.startswith("file:"):
        return _parse_address(text, place)
    bracketed = _EXTRAS.fullmatch(text)
    location, extras = (bracketed[1], _split_extras(bracketed[2])) if bracketed else (text, ())
    is_path = "/" in location or location.startswith(".") or _ARCHIVE.search(location)
    if _CONTROL.search(location) or not (is_path or os.path.isdir(folder / location)):
        raise BundleError(
            f"{place}: {text!r} is not a requirement.",
            remedy="Write 'name==1.0', or the path or address of what it installs.",
        )
    return Entry(
        place, _name_of_archive(location), extras, reference=str(_find_path(location, place, folder))
    )


def _parse_address(text: str, place: str) -> Entry:
    """An address; ``#egg=name[extra]`` tells a name, as the archive's file name does."""
    address, _, fragment = text.partition("#")
    egg = _NAME_WITH_EXTRAS.fullmatch(parse_qs(fragment).get("egg", [""])[0])
    name = canonicalize_name(egg[1]) if egg else _name_of_archive(_split_address(address, place).path)
    subdirectory = parse_qs(fragment).get("subdirectory", [""])[0]
    reference = f"{address}#subdirectory={subdirectory}" if subdirectory else address
    return Entry(place, name, _split_extras(egg[2] or "") if egg else (), reference=reference)


def _split_extras(text: str) -> tuple[str, ...]:
    return tuple(sorted(part.strip() for part in text.split(",") if part.strip()))


def _find_path(text: str, place: str, folder: Path) -> Path:
    """pip takes paths from the current folder; where there is nothing, they are the file's neighbours."""
    try:
        words = shlex.split(text) if text.startswith(("'", '"')) else [text]
        path = Path(words[0]).expanduser()
    except (ValueError, RuntimeError) as error:  # half a quote; the home of nobody
        raise BundleError(f"{place}: {text[:200]!r} is not a path: {str(error).rstrip('.')}.") from None
    here = Path.cwd() / path
    return Path(os.path.normpath(here if os.path.exists(here) else folder.absolute() / path))


def _name_of_archive(path: str) -> str:
    filename = path.rpartition("/")[2]
    try:
        if filename.endswith(".whl"):
            return parse_wheel_filename(filename)[0]
        return parse_sdist_filename(filename)[0]
    except (InvalidWheelFilename, InvalidSdistFilename):
        return ""
