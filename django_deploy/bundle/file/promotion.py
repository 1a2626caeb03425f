"""A release that is live somewhere, as a bundle: what its host tells of it is read as a stranger's words."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from django_deploy.bundle.cache import sha256_of
from django_deploy.bundle.file.document import NAME, DocumentError, Value, read_version, read_wheel
from django_deploy.bundle.fitting import HostBundle
from django_deploy.bundle.manifest import Manifest, Pin, Revision, Wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from django_deploy.bundle.platforms import HostPlatform

#: Lines of a release's lock, as ``HostBundle.lock`` writes them.
_PINNED = re.compile(r"([a-z0-9-]+)==([A-Za-z0-9.!+_-]+)((?: --hash=sha256:[0-9a-f]{64})+)")
_SENT = re.compile(r"([a-z0-9-]+) @ file://[!-~]+/([0-9a-f]{64})/[!-~]+ --hash=sha256:\2")

#: Characters of a line for a wheel, at most.
LINE_LENGTH = 5_000

_VCS = re.compile(r"[a-z]{1,10}")
_COMMIT = re.compile(r"[A-Za-z0-9._:@-]{1,200}")


def read_release(
    record: Mapping[str, Any], lock: str, platform: HostPlatform, place_of: Callable[[str, str], Path]
) -> Manifest:
    """The manifest of a release that was installed for ``platform``; it fits no other.

    ``record`` is what the host's answer to the hello tells of it, ``lock`` its requirements file, and
    ``place_of`` gives the file of a wheel by its sha256 and name. Raises ``DocumentError`` for whatever is
    odd, or does not fit together.
    """
    root = Value(dict(record), "release")
    wheels = tuple(read_wheel(entry, place_of, _read_revision) for entry in root["wheels"].items())
    pins = tuple(_read_pins(lock, {(wheel.name, wheel.sha256) for wheel in wheels}))
    manifest = Manifest(
        project=root["project"].text(NAME),
        version=read_version(root["version"]),
        python=".".join(map(str, platform.version)),
        wheels=wheels,
        pins=pins,
        created=0.0,
        created_by="",
        revision=_read_revision(root["revision"]),
        markers=tuple(platform.markers().items()),
        only_for=platform,
    )
    if dict(manifest.distributions) != record["distributions"]:
        raise DocumentError("its record and its lock name different versions")
    return manifest


def _read_revision(entry: Value) -> Revision | None:
    if entry.value is None:
        return None
    entry.expect_keys("vcs", "id", "branch", "dirty")
    commit, branch = entry["id"].text(_COMMIT), entry["branch"].text()
    return Revision(entry["vcs"].text(_VCS), commit, branch, is_dirty=entry["dirty"].truth())


def _read_pins(lock: str, wheels: set[tuple[str, str]]) -> Iterator[Pin]:
    """The pins of a lock, when its other lines are for exactly these wheels (name, sha256)."""
    sent = set()
    for line in lock.splitlines():
        if match := _PINNED.fullmatch(line):
            name, version, hashes = match.groups()
            read_version(Value(version, f"lock.{name}"))
            yield Pin(name, version, tuple(hashes.replace("--hash=sha256:", "").split()))
        elif len(line) <= LINE_LENGTH and (match := _SENT.fullmatch(line)):
            sent.add((match[1], match[2]))
        else:
            raise DocumentError(f"its lock has a line that is not understood: {line[:80]!r}")
    if sent != wheels:
        raise DocumentError("its record and its lock name different wheels")


def digest_of(pins: Iterable[Pin], wheels: Iterable[Wheel]) -> str:
    """The sha256 of all that a host installs: names, versions and the hashes of files."""
    bundle = HostBundle(
        tuple(Pin(pin.name, pin.version, tuple(sorted(pin.hashes))) for pin in pins), tuple(wheels)
    )
    lines = bundle.lock({wheel.sha256: wheel.path.name for wheel in bundle.wheels})
    return hashlib.sha256(lines.encode()).hexdigest()


def find_file(sha256: str, name: str, cache: Path) -> Path | None:
    """A file that was made or fetched here before, when it is still what its sha256 says."""
    for place in ((cache / "by-sha256" / sha256).resolve(), cache / "files" / sha256 / name):
        if place.name == name and place.is_file() and sha256_of(place) == sha256:
            return place
    return None
