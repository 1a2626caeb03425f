"""Wheels as their differences to wheels that a host has; what a recipe is, ``host/delta.py`` says.

Wheels are built reproducibly, so most members of two builds are the same bytes, deflated. Members are
compared by name and never inflated; what differs is sent as it is.
"""

from __future__ import annotations

import os
import re
import zlib
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from zipfile import BadZipFile, ZipFile, ZipInfo

from django_deploy.bundle.cache import digest, prune, sha256_of, write_aside
from django_deploy.host.delta import COPY, INSERT, INSTRUCTION, PIECE, XOR, xor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from io import FileIO

    from django_deploy.bundle.manifest import Wheel

#: A recipe that is longer than this part of its wheel is not worth it.
WORTH_IT = 0.6

#: A wheel of fewer bytes leaves with the first packets anyway.
SMALL = 8_000

#: How many of a host's wheels of one name are looked at.
BASES_TRIED = 3

#: Seconds after which a recipe leaves the cache.
KEPT_FOR = 7 * 24 * 3600

#: The fixed parts of a member's header and of the directory's entries in a zip file, in bytes (APPNOTE 4.3).
HEADER, ENTRY = 30, 46

#: A start that is as long as this, in bytes, is worth an instruction of its own.
LONG_START = 64

#: Folders of metadata and data of two versions have different names, but the same files.
_OF_VERSION = re.compile(r"^[^/]+\.(dist-info|data)/")


@dataclass(frozen=True)
class Delta:
    """How a wheel is made of ``base`` (a sha256): the recipe is in ``path`` and has ``size`` bytes."""

    base: str
    path: Path
    size: int


# What a host could make of what it has


def remember_wheels(wheels: Iterable[Wheel], cache: Path) -> None:
    """Note where wheels lie by their sha256: once a host has them, they are what later ones differ from."""
    folder = cache / "by-sha256"
    new = {wheel.sha256: wheel.path for wheel in wheels if not os.path.islink(folder / wheel.sha256)}
    if not new:
        return
    with suppress(OSError):  # another deployment does the same, or nothing can be noted here
        folder.mkdir(parents=True, exist_ok=True)
        _remove_dangling(folder)
        for sha256, path in new.items():
            (folder / sha256).symlink_to(path)


def _remove_dangling(folder: Path) -> None:
    for link in folder.iterdir():
        if not link.exists():
            link.unlink(missing_ok=True)


def find_deltas(wheels: Iterable[Wheel], facts: Mapping[str, Any], *, cache: Path) -> dict[str, Delta]:
    """Sha256 to recipe, of those wheels that a host can make of one that it has.

    ``facts`` are the host's answer to the hello. What can serve was remembered here and is still there.
    """
    found: dict[str, Delta] = {}
    for wheel in wheels:
        bases = islice(_bases(wheel, facts, cache), BASES_TRIED)
        with suppress(OSError):  # whoever needs those files to deploy will say so
            delta = next(filter(None, (_delta(base, wheel, cache) for base in bases)), None)
            found |= {wheel.sha256: delta} if delta else {}
    return found


def _bases(wheel: Wheel, facts: Mapping[str, Any], cache: Path) -> Iterator[str]:
    """Sha256 of what the host's releases have of that name: the live one first, then newer before older."""
    releases = sorted(facts["releases"], key=lambda release: (release["id"] == facts["live"], release["id"]))
    shipped = (item for release in reversed(releases) for item in release.get("wheels") or ())
    for sha256 in dict.fromkeys(str(item["sha256"]) for item in shipped if item["name"] == wheel.name):
        if sha256 in facts["store"] and (cache / "by-sha256" / sha256).is_file():
            yield sha256


def _delta(base: str, wheel: Wheel, cache: Path) -> Delta | None:
    """The recipe, None when it is not worth it. Either is kept: several hosts may have the same base."""
    recipe = cache / "deltas" / digest(base, wheel.sha256) / "recipe"
    if not recipe.is_file():
        prune(cache / "deltas", recipe.name, unused_for=KEPT_FOR)
        old, limit = cache / "by-sha256" / base, int(wheel.size * WORTH_IT)
        with write_aside(recipe) as aside:
            is_short = wheel.size > SMALL and write_recipe(old, wheel.path, aside, limit=limit)
            if is_short and sha256_of(old) != base:  # a file of the user's may be another wheel by now
                aside.write_bytes(b"")
    size = recipe.stat().st_size
    return Delta(base, recipe, size) if size else None


# How one wheel is made of another


class _Instruction(NamedTuple):
    """``length`` bytes of the new file, at ``start``: of the kind ``kind``, from ``offset`` of the base."""

    kind: bytes
    start: int
    length: int
    offset: int = 0

    def joined(self, other: _Instruction) -> _Instruction | None:
        """Both as one, where the other goes on where this one ends."""
        goes_on = self.kind == INSERT or other.offset == self.offset + self.length
        if other.kind != self.kind or not goes_on:
            return None
        return _Instruction(self.kind, self.start, self.length + other.length, self.offset)


def write_recipe(base: Path, new: Path, recipe: Path, *, limit: int) -> bool:
    """Write how ``new`` is made of ``base``; False, and nothing, where it has over ``limit`` bytes."""
    with base.open("rb", buffering=0) as old_file, new.open("rb", buffering=0) as new_file:
        try:
            steps = [*_joined(_compare(_Zip(old_file), _Zip(new_file)))]
        except BadZipFile:
            return False
        if sum(step.length for step in steps if step.kind == INSERT) > limit:
            return False  # what is deflated does not shrink
        with recipe.open("wb") as file:
            for piece in _deflated(steps, old_file, new_file):
                file.write(piece)
            if file.tell() > limit:
                file.truncate(0)
                return False
    return True


def _deflated(steps: Iterable[_Instruction], base: FileIO, new: FileIO) -> Iterator[bytes]:
    deflate = zlib.compressobj()
    for step in steps:
        yield deflate.compress(INSTRUCTION.pack(step.kind, step.offset, step.length))
        for done in range(0, 0 if step.kind == COPY else step.length, PIECE):
            size = min(PIECE, step.length - done)
            data = os.pread(new.fileno(), size, step.start + done)
            if step.kind == XOR:
                data = xor(data, os.pread(base.fileno(), size, step.offset + done))
            yield deflate.compress(data)
    yield deflate.flush()


def _joined(steps: Iterable[_Instruction]) -> Iterator[_Instruction]:
    """Neighbours as one, and without empty ones."""
    last: _Instruction | None = None
    for step in steps:
        joined = last.joined(step) if last else None
        if last and not joined and step.length:
            yield last
        last = joined or (step if step.length else last)
    if last:
        yield last


class _Part(NamedTuple):
    """A range of a zip file, and what it is called in both."""

    key: str
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


class _Zip:
    """Members and, behind them, the entries of the directory: parts that cover the file from start to end.

    They do so even where the file's numbers are wrong: these decide how short a recipe is, and not
    what comes out.
    """

    def __init__(self, file: FileIO) -> None:
        self._descriptor = file.fileno()
        with ZipFile(file) as archive:
            infos, directory = archive.infolist(), archive.start_dir
        self.members = [*_members(infos, directory)]
        self.entries = [*_entries(infos, directory, os.fstat(self._descriptor).st_size)]

    def read(self, start: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, start)

    def data_start(self, member: _Part) -> int:
        """Where a member's header ends: name and extra field have lengths of their own there."""
        header = self.read(member.start, HEADER)
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        return min(member.start + HEADER + lengths, member.end)


def _members(infos: Iterable[ZipInfo], directory: int) -> Iterator[_Part]:
    ordered = sorted(infos, key=lambda info: info.header_offset)
    starts = [0, *(min(info.header_offset, directory) for info in ordered[1:]), directory]
    for info, start, end in zip(ordered, starts, starts[1:], strict=False):
        yield _Part(_key(info), start, end)


def _entries(infos: Sequence[ZipInfo], directory: int, size: int) -> Iterator[_Part]:
    start = directory if infos else 0
    for info in infos:
        name = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
        end = min(start + ENTRY + len(name) + len(info.extra) + len(info.comment), size)
        yield _Part(_key(info), start, end)
        start = end
    yield _Part("", start, size)


def _key(info: ZipInfo) -> str:
    return _OF_VERSION.sub(".dist-info/", info.filename)


def _compare(base: _Zip, new: _Zip) -> Iterator[_Instruction]:
    """The new file from start to end."""
    members, entries = ({part.key: part for part in parts} for parts in (base.members, base.entries))
    for part in new.members:
        old = members.get(part.key)
        if old is None:
            yield _Instruction(INSERT, part.start, part.size)
        elif old.size == part.size and _common(base, old.start, new, part.start, part.size) == part.size:
            yield _Instruction(COPY, part.start, part.size, old.start)
        else:
            yield from _compare_member(base, old, new, part)
    for part in new.entries:
        yield _compare_header(base, entries.get(part.key), new, part)


def _compare_member(base: _Zip, old: _Part, new: _Zip, part: _Part) -> Iterator[_Instruction]:
    """Header and data of a member that changed. Deflated data are alike up to the block with the change."""
    old_data, data = base.data_start(old), new.data_start(part)
    yield _compare_header(base, _Part(old.key, old.start, old_data), new, _Part(part.key, part.start, data))
    common = _common(base, old_data, new, data, min(old.end - old_data, part.end - data))
    if common < LONG_START:
        common = 0
    yield _Instruction(COPY, data, common, old_data)
    yield _Instruction(INSERT, data + common, part.end - data - common)


def _compare_header(base: _Zip, old: _Part | None, new: _Zip, part: _Part) -> _Instruction:
    """Of a header that changed most bytes are as before: offsets differ, a time, a checksum."""
    if old is None or old.size != part.size:
        return _Instruction(INSERT, part.start, part.size)
    is_same = _common(base, old.start, new, part.start, part.size) == part.size
    return _Instruction(COPY if is_same else XOR, part.start, part.size, old.start)


def _common(base: _Zip, offset: int, new: _Zip, start: int, size: int) -> int:
    """How many bytes are the same from there on, of at most ``size``."""
    for done in range(0, size, PIECE):
        length = min(PIECE, size - done)
        one, other = base.read(offset + done, length), new.read(start + done, length)
        if one != other:
            return done + _first_difference(one, other)
    return size


def _first_difference(one: bytes, other: bytes) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
