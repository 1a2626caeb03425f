"""The files of a plain project: which of them are deployed, and which stay here."""

from __future__ import annotations

import hashlib
import os
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django_deploy.bundle.file.document import FORMAT
from django_deploy.bundle.plain.patterns import Patterns
from django_deploy.bundle.wheels.audit import SECRET_PLACES, holds_database, holds_private_key, is_private
from django_deploy.bundle.wheels.tree import BLOCK, IGNORED_AT_ROOT, IGNORED_FOLDERS, IGNORED_SUFFIXES
from django_deploy.exceptions import BundleError
from django_deploy.wording import first_of, listed, size_text

#: Bytecode: it would only make the same sources look like others.
_BYTECODE = ("__pycache__", ".pyc", ".pyo")

#: Left out without a word, beside the bytecode: what tools and editors leave behind.
_REMAINS = re.compile(
    r"\.(git|hg|svn|jj|bzr)|\..*cache|.*~|.*\.sw[op]|\.DS_Store|Thumbs\.db|\.coverage(\..*)?"
)

#: Left out wherever they lie, and named in the list.
_LEFT_OUT = re.compile(
    r".*\.(log|pid|sock|key)|celerybeat-schedule.*|__pypackages__|id_(rsa|dsa|ecdsa|ed25519)"
)

#: What a virtualenv has in its folder, where that is the project's own.
_OF_VIRTUALENV = frozenset(("bin", "include", "lib", "lib64", "share", "pyvenv.cfg"))

#: The most that one link may bring from outside of the project, in bytes and in files.
MAX_LINKED = 50 * 1000 * 1000
MAX_LINKED_FILES = 10_000

#: How many names of what stays here the plan has for people.
LEFT_OUT_SHOWN = 12

_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


@dataclass(frozen=True)
class Rules:
    """What of a plain project is deployed.

    ``include`` and ``exclude`` are patterns (``patterns.py``); ``include`` wins. ``ignored`` are files and
    folders that settings call data (MEDIA_ROOT). ``named`` are folders that settings read from (templates,
    static files): they come along whatever they are called, also from beside the project's folder.
    """

    include: Patterns = field(default_factory=Patterns)
    exclude: Patterns = field(default_factory=Patterns)
    ignored: frozenset[Path] = frozenset()
    named: frozenset[Path] = frozenset()


@dataclass(frozen=True)
class File:
    """A file that is deployed. ``name`` is relative to the project's folder, ``size`` is in bytes."""

    name: str
    path: str
    size: int
    sha256: str
    is_executable: bool


@dataclass(frozen=True)
class Contents:
    """What of a plain project is deployed, in the order of names, and the names of what stays here."""

    files: tuple[File, ...]
    left_out: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def __str__(self) -> str:
        left_out = first_of(self.left_out, LEFT_OUT_SHOWN)
        text = f"{len(self.files)} files, {size_text(self.size)}"
        return f"{text}; left out: {', '.join(left_out)}" if left_out else text

    def as_dict(self) -> dict[str, Any]:
        return {"files": len(self.files), "bytes": self.size, "left_out": list(self.left_out)}


def read_contents(folder: Path, rules: Rules) -> Contents:
    """Walks a project's folder and reads every file that is deployed.

    Links are followed. Raises ``BundleError`` for what cannot be read, for names that no wheel can hold, and
    for links that would bring too much from outside.
    """
    walk = _Walk(folder.resolve(), rules)
    try:
        files = tuple(_read(walk))
    except OSError as error:
        raise BundleError(
            f"{error.filename or folder} cannot be read: {error.strerror}.",
            remedy="Make it readable, or name it in PROJECT_EXCLUDE.",
        ) from None
    _refuse_names([file.name for file in files])
    left_out = (f"{_shown(name)}{f' ({why})' if why else ''}" for name, why in walk.left_out.items())
    return Contents(tuple(sorted(files, key=lambda file: file.name)), tuple(sorted(left_out)))


def find_idle_patterns(contents: Contents, rules: Rules) -> Iterator[str]:
    """A warning for each pattern that names nothing: a mistyped one sends what was to stay here."""
    mark = " (PROJECT_EXCLUDE)"
    excluded = [name.removesuffix(mark) for name in contents.left_out if name.endswith(mark)]
    sent = [file.name for file in contents.files]
    for setting, patterns, names in (
        ("PROJECT_EXCLUDE", rules.exclude, excluded),
        ("PROJECT_INCLUDE", rules.include, sent),
    ):
        for text in patterns.texts:
            if not any(_is_named(name, Patterns((text,))) for name in names):
                yield f"{setting}: {text!r} names nothing."


def _is_named(name: str, pattern: Patterns) -> bool:
    """By itself, or by a folder that it is in."""
    parts = name.rstrip("/").split("/")
    folders = ("/".join(parts[:end]) for end in range(1, len(parts)))
    is_folder = name.endswith("/")
    return pattern.match("/".join(parts), is_folder=is_folder) or any(
        pattern.match(folder, is_folder=True) for folder in folders
    )


def _shown(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True)
class _Place:
    """A folder on the walk.

    ``state`` is ``"in"``; ``"asked for"`` below what PROJECT_INCLUDE names; ``"out"`` below what is left out,
    where only patterns that count from the project's folder, and named folders, are looked for. ``link`` is
    the outermost link that has led out of the project; ``above`` are this folder and those around it.
    """

    path: str
    prefix: str
    state: str
    link: str = ""
    above: frozenset[tuple[int, int]] = frozenset()


class _Walk:
    """Finds the files of a project: ``(name, path, is_asked_for)``; notes what it has left out, and why."""

    def __init__(self, folder: Path, rules: Rules) -> None:
        self.left_out: dict[str, str] = {}
        self._folder = str(folder)
        self._rules = rules
        self._ignored = frozenset(map(str, rules.ignored)) - {self._folder}
        self._named = dict(_named_folders(folder, rules.named))
        self._is_virtualenv = (folder / "pyvenv.cfg").exists()
        self._linked: dict[str, list[int]] = {}

    def files(self) -> Iterator[tuple[str, str, bool]]:
        """In no order that anybody should count on."""
        waiting = [_Place(self._folder, "", "in", above=frozenset((_identity(self._folder),)))]
        for name, path in self._named.items():
            if name.startswith("../"):
                waiting.append(_Place(path, f"{name}/", "in", name, frozenset((_identity(path),))))
        while waiting:
            place = waiting.pop()
            with os.scandir(place.path) as scanned:
                for entry in scanned:
                    name, is_folder = f"{place.prefix}{entry.name}", entry.is_dir()
                    state = self._judge(entry, name, place, is_folder=is_folder)
                    if is_folder:
                        waiting += self._enter(entry, name, state, place)
                    elif state != "out" and self._is_taken(entry, name, state, place):
                        yield name, entry.path, state == "asked for"

    def _enter(self, entry: os.DirEntry[str], name: str, state: str, place: _Place) -> Iterator[_Place]:
        """The folder as a place to walk, unless there is nothing to look for."""
        if state == "out" and not self._may_be_wanted_below(name):
            return
        link = place.link or (self._link_outside(entry, name) if state != "out" else "")
        identity = _identity(entry.path)
        if identity in place.above:
            self.left_out[name] = "a link to a folder around it"
        else:
            yield _Place(entry.path, f"{name}/", state, link, place.above | {identity})

    def _is_taken(self, entry: os.DirEntry[str], name: str, state: str, place: _Place) -> bool:
        """Whether it is a file at all; refuses those of a link that brings too much."""
        if not entry.is_file():
            self.left_out[name] = "a broken link" if entry.is_symlink() else "not a file"
            return False
        if link := place.link or self._link_outside(entry, name):
            self._count(link, entry.stat().st_size, state)
        return True

    def _judge(self, entry: os.DirEntry[str], name: str, place: _Place, *, is_folder: bool) -> str:
        """The state of a file or folder, as of a ``_Place``."""
        if entry.name.endswith(_BYTECODE):
            return "out"
        include, exclude = self._rules.include, self._rules.exclude
        is_asked_for = include.match_place if place.state == "out" else include.match
        if place.state == "asked for" or is_asked_for(name, is_folder=is_folder):
            return "asked for"
        if exclude.match(name, is_folder=is_folder):
            return self._leave_out(name, place, is_folder, "PROJECT_EXCLUDE")
        if self._is_ignored(entry):
            return self._leave_out(name, place, is_folder)
        if name in self._named:
            return "in"
        if place.state == "out":
            return "out"
        if entry.name in IGNORED_FOLDERS - _TOLD or _REMAINS.fullmatch(entry.name):
            return "out"
        if self._is_left_out(entry, at_root=not place.prefix, is_folder=is_folder):
            return self._leave_out(name, place, is_folder)
        return "in"

    def _leave_out(self, name: str, place: _Place, is_folder: bool, why: str = "") -> str:
        if place.state != "out":
            self.left_out[f"{name}/" if is_folder else name] = why
        return "out"

    def _is_ignored(self, entry: os.DirEntry[str]) -> bool:
        if entry.path in self._ignored:
            return True
        return entry.is_symlink() and os.path.realpath(entry.path) in self._ignored

    def _is_left_out(self, entry: os.DirEntry[str], *, at_root: bool, is_folder: bool) -> bool:
        """By the rules for all projects."""
        name = entry.name
        if name in SECRET_PLACES or (at_root and self._is_virtualenv and name in _OF_VIRTUALENV):
            return True
        if is_folder:
            if at_root and name in IGNORED_AT_ROOT:
                return not os.path.exists(f"{entry.path}/__init__.py")  # an app may be called so
            is_virtualenv = os.path.exists(f"{entry.path}/pyvenv.cfg")
            return name in _TOLD or name.endswith(IGNORED_SUFFIXES) or is_virtualenv or _is_conda(entry.path)
        return is_private(name) or _LEFT_OUT.fullmatch(name) is not None

    def _may_be_wanted_below(self, name: str) -> bool:
        is_named = any(named.startswith(f"{name}/") for named in self._named)
        return is_named or self._rules.include.may_match_below(name)

    def _link_outside(self, entry: os.DirEntry[str], name: str) -> str:
        """The name of a link that leads out of the project; empty when it is none."""
        if not entry.is_symlink():
            return ""
        real = os.path.realpath(entry.path)
        if self._folder.startswith(f"{real.rstrip('/')}/"):
            raise BundleError(
                f"{name} is a link to {real}, and the project is inside it.",
                remedy="Name the link in PROJECT_EXCLUDE.",
            )
        return "" if real.startswith(f"{self._folder}/") else name

    def _count(self, link: str, size: int, state: str) -> None:
        """Refuses a link that brings too much, unless it was asked for."""
        if state == "asked for":
            return
        total = self._linked.setdefault(link, [0, 0])
        total[0] += size
        total[1] += 1
        if total[0] > MAX_LINKED or total[1] > MAX_LINKED_FILES:
            real = os.path.realpath(os.path.join(self._folder, link))
            raise BundleError(
                f"{link} would bring more than {MAX_LINKED // 10**6} MB or {MAX_LINKED_FILES} files from"
                f" outside of the project, from {real}.",
                remedy="Name it in PROJECT_EXCLUDE, or in PROJECT_INCLUDE if it belongs to every release.",
            )


#: Folders that are left out, and named: somebody may have meant them to come along.
_TOLD = frozenset(("node_modules", ".venv"))


def _is_conda(folder: str) -> bool:
    return os.path.isdir(f"{folder}/conda-meta")


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _named_folders(folder: Path, named: frozenset[Path]) -> Iterator[tuple[str, str]]:
    """Those that are in the project's folder, or beside it, by their name relative to it.

    What is in an installed package comes with that.
    """
    installed = [Path(sysconfig.get_path(scheme)).resolve() for scheme in ("purelib", "platlib")]
    named = frozenset(path for path in named if not any(path.is_relative_to(place) for place in installed))
    inside = {path for path in named if folder in path.parents}
    beside = {path for path in named - {folder} - inside if folder.parent in path.parents}
    for path in sorted(inside):
        yield path.relative_to(folder).as_posix(), str(path)
    for path in sorted(beside):
        name = path.relative_to(folder.parent)
        # Beside the project's folder in a release lies what makes it a virtualenv.
        is_free = name.parts[0] not in {*_OF_VIRTUALENV, "app"}
        if is_free and path.is_dir() and beside.isdisjoint(path.parents):
            yield f"../{name.as_posix()}", str(path)


def _read(walk: _Walk) -> Iterator[File]:
    """The files of a walk with their digests, without databases and keys that nobody has asked for."""
    for name, path, is_asked_for in walk.files():
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            block = file.read(BLOCK)
            if not is_asked_for and (why := _secret(name, block) or _product(block)):
                walk.left_out[name] = why
                continue
            digest, size = hashlib.sha256(), 0
            while block:
                digest.update(block)
                size += len(block)
                block = file.read(BLOCK)
        yield File(name, path, size, digest.hexdigest(), status.st_mode & 0o111 != 0)


def _secret(name: str, head: bytes) -> str:
    """What a file is that must not travel by accident, by how it begins; else nothing."""
    if holds_database(head):
        return "a database"
    return "a private key" if holds_private_key(name, head) else ""


def _product(head: bytes) -> str:
    """What ``deploy_bundle`` may have written beside manage.py, by how it begins; else nothing.

    A bundle in the next bundle would make it another one each time.
    """
    if head.startswith(b"PK\x03\x04") and f'"format": "{FORMAT}"'.encode() in head:
        return "a bundle file"
    if head.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        return "a signature"
    is_bill = head.lstrip().startswith(b"{") and re.search(rb'"bomFormat":\s*"CycloneDX"', head)
    return "a bill of materials" if is_bill else ""


def _refuse_names(names: list[str]) -> None:
    """``BundleError`` for names that a wheel's RECORD, which is UTF-8 text in lines, does not hold safely."""
    odd = [name for name in names if _CONTROL.search(name) or not _is_utf8(name)]
    if odd:
        shown = listed([ascii(name) for name in odd], 10)
        raise BundleError(
            f"These names are not UTF-8, or have control characters or backslashes in them: {shown}.",
            remedy="Rename the files, or name them in PROJECT_EXCLUDE.",
        )


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
