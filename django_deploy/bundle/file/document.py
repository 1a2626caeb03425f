"""The manifest as the JSON document of a bundle file: what of it is written, and how one is read strictly.

What another machine would have made otherwise is not written (who, when, where, branches, what was left
out): the same sources in the same environment give the same document. ``docs/reference/bundle-format.rst``
describes it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from django_deploy.bundle.manifest import Manifest, Pin, Revision, Wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: What the document says that it is.
FORMAT = "django-deploy bundle"
VERSION = 1

#: Items of one list, and characters of one text, that are read at most. A number in a longer text, say a
#: version, could have more digits than Python reads (4300).
MAX_ITEMS = 20_000
MAX_TEXT = 4_000

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,250}\.whl")
_SDIST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,250}\.(tar\.gz|zip)")
SHA256 = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_EXTRA = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_COMMIT = re.compile(r"[A-Za-z0-9._:@-]{1,200}")
_VCS = re.compile(r"[a-z]{1,10}")


class DocumentError(Exception):
    """A document is not what it should be: where, and why."""


def write_document(manifest: Manifest) -> bytes:
    """The document of a manifest: the same bytes for the same contents."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "project": {
            "name": manifest.project,
            "version": manifest.version,
            "extras": sorted(manifest.extras),
            "revision": _revision(manifest.revision),
        },
        "environment": dict(manifest.markers),
        "wheels": [
            {**_wheel(wheel), "revision": _revision(wheel.revision)} for wheel in _sorted(manifest.wheels)
        ],
        "vendored": [_wheel(wheel) for wheel in _sorted(manifest.vendored)],
        "tools": [_wheel(tool) for tool in _sorted(manifest.tools)],
        "sdists": [_wheel(sdist) for sdist in _sorted(manifest.sdists)],
        "pins": [
            {"name": pin.name, "version": pin.version, "marker": pin.marker, "hashes": sorted(pin.hashes)}
            for pin in sorted(manifest.pins, key=lambda pin: (pin.name, pin.version, pin.marker))
        ],
        "requires": {name: list(filter(is_requirement, texts)) for name, texts in manifest.requires},
        "requires_python": {name: wanted for name, wanted in manifest.requires_python if wanted},
    }
    return json.dumps(document, indent=1, sort_keys=True).encode("ascii") + b"\n"


def _sorted(wheels: tuple[Wheel, ...]) -> list[Wheel]:
    return sorted(wheels, key=lambda wheel: (wheel.path.name, wheel.sha256))


def _wheel(wheel: Wheel) -> dict[str, Any]:
    return {
        "name": wheel.name,
        "version": wheel.version,
        "file": wheel.path.name,
        "sha256": wheel.sha256,
        "size": wheel.size,
    }


def _revision(revision: Revision | None) -> dict[str, Any] | None:
    if revision is None:
        return None
    return {"vcs": revision.vcs, "id": revision.id, "dirty": revision.is_dirty}


def is_requirement(text: str) -> bool:
    """Whether a text is one (PEP 508): older metadata name nothing that could be looked up."""
    try:
        marker = Requirement(text).marker
        return marker is None or marker.evaluate() in (True, False)
    except (ValueError, RecursionError):  # of markers that compare what cannot be compared, too
        return False


def read_document(content: bytes, place_of: Callable[[str, str], Path]) -> Manifest:
    """The manifest that a document describes; raises ``DocumentError`` for whatever is odd about it.

    ``place_of`` gives the file of a wheel by its sha256 and name. Who made it and when is not known:
    ``created`` is 0.
    """
    root = _parse(content)
    if root.value.get("format") != FORMAT:
        raise DocumentError("it does not say that it is one")
    if root.value.get("version") != VERSION:
        raise DocumentError(f"its version is {root.value.get('version')!r:.20}, and {VERSION} is known here")
    root.expect_keys(
        *("format", "version", "project", "environment", "wheels"),
        *("vendored", "tools", "sdists", "pins", "requires", "requires_python"),
    )
    project = root["project"].expect_keys("name", "version", "extras", "revision")
    environment = root["environment"].expect_keys(*default_environment())
    manifest = Manifest(
        project=project["name"].text(NAME),
        version=read_version(project["version"]),
        python=environment["python_full_version"].text(),
        wheels=tuple(read_wheel(entry, place_of, _read_revision) for entry in root["wheels"].items()),
        pins=tuple(map(_read_pin, root["pins"].items())),
        created=0.0,
        created_by="",
        revision=_read_revision(project["revision"]),
        requires=tuple((name, _read_requirements(entry)) for name, entry in root["requires"].entries()),
        extras=tuple(entry.text(_EXTRA) for entry in project["extras"].items()),
        requires_python=tuple((name, entry.text()) for name, entry in root["requires_python"].entries()),
        markers=tuple((name, entry.text()) for name, entry in environment.fields()),
        vendored=tuple(read_wheel(entry, place_of) for entry in root["vendored"].items()),
        tools=tuple(read_wheel(entry, place_of) for entry in root["tools"].items()),
        sdists=tuple(_read_sdist(entry, place_of) for entry in root["sdists"].items()),
    )
    _refuse_doubles(manifest)
    return manifest


def _parse(content: bytes) -> Value:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise DocumentError("it is not JSON") from None
    if not isinstance(value, dict):
        raise DocumentError("it is not a JSON object")
    return Value(value, "")


@dataclass(frozen=True)
class Value:
    """A JSON value that somebody else has written, and its place, as ``wheels[0].size``."""

    value: Any
    place: str

    def __getitem__(self, key: str) -> Value:
        return Value(self.value[key], f"{self.place}.{key}".lstrip("."))

    def fail(self, what: str) -> DocumentError:
        return DocumentError(f"'{self.place}' must be {what}")

    def expect_keys(self, *keys: str) -> Value:
        """Itself, when it is an object with exactly these keys."""
        if not isinstance(self.value, dict) or self.value.keys() != set(keys):
            raise self.fail(f"an object with the keys {', '.join(keys)}")
        return self

    def fields(self) -> Iterator[tuple[str, Value]]:
        return ((key, self[key]) for key in self.value)

    def entries(self) -> Iterator[tuple[str, Value]]:
        """Canonical names of distributions, and what there is for each."""
        if not isinstance(self.value, dict) or len(self.value) > MAX_ITEMS:
            raise self.fail(f"an object of at most {MAX_ITEMS} entries")
        for key in self.value:
            if not NAME.fullmatch(key):
                raise self.fail("an object of distributions by canonical name")
            yield key, self[key]

    def items(self) -> Iterator[Value]:
        if not isinstance(self.value, list) or len(self.value) > MAX_ITEMS:
            raise self.fail(f"a list of at most {MAX_ITEMS} items")
        return (Value(item, f"{self.place}[{index}]") for index, item in enumerate(self.value))

    def text(self, pattern: re.Pattern[str] | None = None) -> str:
        if not isinstance(self.value, str) or len(self.value) > MAX_TEXT or not self.value.isprintable():
            raise self.fail("a line of text")
        if pattern is not None and not pattern.fullmatch(self.value):
            raise self.fail(f"a text like {pattern.pattern}")
        return self.value

    def number(self) -> int:
        if not isinstance(self.value, int) or isinstance(self.value, bool) or self.value < 0:
            raise self.fail("a whole number")
        return self.value

    def truth(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.fail("true or false")
        return self.value


def read_wheel(
    entry: Value,
    place_of: Callable[[str, str], Path],
    read_revision: Callable[[Value], Revision | None] | None = None,
) -> Wheel:
    """A wheel of a list; ``read_revision`` where the list tells their revisions."""
    more = ("revision",) if read_revision else ()
    entry.expect_keys("name", "version", "file", "sha256", "size", *more)
    try:
        told = parse_wheel_filename(entry["file"].text(FILE_NAME))[:2]
    except (InvalidWheelFilename, InvalidVersion):
        raise entry["file"].fail("the file name of a wheel") from None
    found = _read_file(entry, told, place_of)
    return replace(found, revision=read_revision(entry["revision"])) if read_revision else found


def _read_sdist(entry: Value, place_of: Callable[[str, str], Path]) -> Wheel:
    entry.expect_keys("name", "version", "file", "sha256", "size")
    try:
        told = parse_sdist_filename(entry["file"].text(_SDIST_NAME))
    except (InvalidSdistFilename, InvalidVersion):
        raise entry["file"].fail("the file name of an sdist") from None
    return _read_file(entry, told, place_of)


def _read_file(entry: Value, told: tuple[str, Version], place_of: Callable[[str, str], Path]) -> Wheel:
    """``told`` are the name and version that the file's own name tells."""
    name, version = entry["name"].text(NAME), read_version(entry["version"])
    if told != (name, Version(version)):
        raise entry["file"].fail(f"that of a file of {name} {version}")
    sha256 = entry["sha256"].text(SHA256)
    return Wheel(name, version, place_of(sha256, entry["file"].text()), sha256, entry["size"].number())


def _read_pin(entry: Value) -> Pin:
    entry.expect_keys("name", "version", "marker", "hashes")
    hashes = tuple(item.text(SHA256) for item in entry["hashes"].items())
    if not hashes:
        raise entry["hashes"].fail("a list of at least one sha256")
    marker = entry["marker"].text()
    if marker and not is_requirement(f"{entry['name'].text(NAME)}; {marker}"):
        raise entry["marker"].fail("an environment marker")
    return Pin(entry["name"].text(NAME), read_version(entry["version"]), hashes, marker)


def read_version(entry: Value) -> str:
    """A version as PEP 440 has them."""
    text = entry.text(_VERSION)
    try:
        Version(text)
    except InvalidVersion:
        raise entry.fail("a version") from None
    return text


def _read_requirements(entry: Value) -> tuple[str, ...]:
    requirements = tuple(item.text() for item in entry.items())
    if not all(map(is_requirement, requirements)):
        raise entry.fail("a list of requirements")
    return requirements


def _read_revision(entry: Value) -> Revision | None:
    if entry.value is None:
        return None
    entry.expect_keys("vcs", "id", "dirty")
    return Revision(entry["vcs"].text(_VCS), entry["id"].text(_COMMIT), is_dirty=entry["dirty"].truth())


def _refuse_doubles(manifest: Manifest) -> None:
    """A distribution comes from one place, and a file is there once."""
    pinned = {pin.name for pin in manifest.pins}
    names = Counter(wheel.name for wheel in manifest.wheels)
    twice = {name for name, count in names.items() if count > 1 or name in pinned}
    files = [file.sha256 for file in manifest.files]
    if twice or len(set(files)) != len(files):
        raise DocumentError(f"it lists twice: {', '.join(sorted(twice)) or 'a file'}")
    if stray := {wheel.name for wheel in manifest.vendored} - pinned:
        raise DocumentError(f"it has wheels of what it does not pin: {', '.join(sorted(stray))}")
    if manifest.project not in names and manifest.project not in pinned:
        raise DocumentError(f"it does not have the project {manifest.project}")
