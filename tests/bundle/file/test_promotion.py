"""Releases as bundles: what plans write is read, and nothing that does not fit together."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from django_deploy.bundle.file.document import DocumentError
from django_deploy.bundle.file.promotion import digest_of, find_file, read_release
from django_deploy.bundle.fitting import HostBundle
from django_deploy.bundle.manifest import Manifest, Pin, Revision, Wheel
from django_deploy.bundle.platforms import HostPlatform
from django_deploy.bundle.room import NO_ROOM
from django_deploy.plan.making import Shipment, make_plan
from django_deploy.target import Host, Target

HOST = HostPlatform((3, 11, 2), glibc="2.36")
REVISION = Revision("git", "3f9c2a1" + "0" * 33, "main", is_dirty=True)
MANIFEST = Manifest(
    project="shop",
    version="1.0",
    python="3.11.7",
    wheels=(
        Wheel("shop", "1.0", Path("/cache/shop-1.0-py3-none-any.whl"), "a" * 64, 2000, revision=REVISION),
        Wheel("acme-extra", "2.0+local.1", Path("/c/acme_extra-2.0+local.1-py3-none-any.whl"), "b" * 64, 5),
    ),
    pins=(Pin("django", "5.2.19", ("d" * 64, "c" * 64)), Pin("tomli", "2.0rc1", ("e" * 64,))),
    created=1.0,
    created_by="ann@laptop",
    revision=REVISION,
)
FACTS = {
    "user": "deploy",
    "python": {
        "version": [3, 11, 2],
        "implementation": "cpython",
        "machine": "x86_64",
        "system": "linux",
        "glibc": "2.36",
        "musl": None,
        "soabi": "cpython-311-x86_64-linux-gnu",
        "free_threaded": False,
    },
    "uv": True,
    "supervisor": False,
    "manager": "systemd",
    "systemd": True,
    "lingers": True,
    "live": None,
    "releases": [],
    "store": [],
    "processes": [],
    "free_bytes": 10**10,
    "obstacle": None,
    "free_inodes": 10**6,
    "unfinished": False,
    "deferred": [],
    "durations": [],
    "cleanup_failed": "",
}


@pytest.fixture
def release():
    """What a host keeps of a release: its record and its lock, as a plan writes them."""
    target = Target(
        "staging", (Host("web1"),), PurePosixPath("/srv/my site"), settings_module="shop.settings"
    )
    bundle = HostBundle(MANIFEST.pins, MANIFEST.wheels)
    host = target.hosts[0]
    shipments = {host: Shipment(FACTS, bundle, {}, NO_ROOM)}
    plan = make_plan(target, MANIFEST, shipments, inventory={}, now=1.0)
    return plan.record(plan.hosts[0]), plan.lock(plan.hosts[0])


def place(sha256, name):
    return Path("/files") / sha256 / name


def read(record, lock):
    return read_release(record, lock, HOST, place)


def test_a_release_is_read_as_it_was_planned(release):
    found = read(*release)

    assert found.pins == MANIFEST.pins
    assert found.wheels == tuple(
        replace(wheel, path=place(wheel.sha256, wheel.path.name)) for wheel in MANIFEST.wheels
    )
    assert (found.project, found.version, found.revision) == ("shop", "1.0", REVISION)
    assert (found.only_for, found.python) == (HOST, "3.11.2")
    assert dict(found.markers) == HOST.markers()


def edit(value, *path):
    def change(record):
        for key in path[:-1]:
            record = record[key]
        record[path[-1]] = value

    return change


MISTAKES = [
    (edit("Shop", "project"), "'release.project' must be a text like "),
    (edit(None, "version"), "'release.version' must be a line of text"),
    (edit({}, "wheels"), "'release.wheels' must be a list of at most "),
    (edit(None, "wheels"), "'release.wheels' must be a list of at most "),
    (edit("../x.whl", "wheels", 0, "file"), "'release.wheels[0].file' must be a text like "),
    (edit("c" * 64, "wheels", 0, "sha256"), "its record and its lock name different wheels"),
    (edit("9", "distributions", "django"), "its record and its lock name different versions"),
    (edit({"vcs": "git"}, "revision"), "'release.revision' must be an object with the keys "),
]


@pytest.mark.parametrize(("change", "why"), MISTAKES, ids=[why[:45] for _, why in MISTAKES])
def test_records_that_are_odd(release, change, why):
    record, lock = release
    change(record)

    with pytest.raises(DocumentError) as caught:
        read(record, lock)

    assert str(caught.value).startswith(why)


@pytest.mark.parametrize(
    "line",
    [
        "--index-url http://evil",
        "evil @ http://evil/evil-1.0-py3-none-any.whl",
        "evil==1.0",
        f"evil==1.0 --hash=md5:{'a' * 32}",
        f"evil @ file:///store/{'a' * 64}/evil-1.0-py3-none-any.whl --hash=sha256:{'b' * 64}",
        f"evil==1.0 --hash=sha256:{'a' * 64} --pre",
    ],
)
def test_lines_that_no_plan_has_written(release, line):
    record, lock = release

    with pytest.raises(DocumentError) as caught:
        read(record, f"{lock}{line}\n")

    assert str(caught.value) == f"its lock has a line that is not understood: {line[:80]!r}"


def test_a_lock_that_says_less_or_more(release):
    record, lock = release
    lines = lock.splitlines(keepends=True)

    with pytest.raises(DocumentError, match="name different versions"):
        read(record, "".join(line for line in lines if not line.startswith("django")))
    with pytest.raises(DocumentError, match="name different wheels"):
        read(record, "".join(line for line in lines if not line.startswith("shop")))
    with pytest.raises(DocumentError, match="name different versions"):
        read(record, f"{lock}evil==1.0 --hash=sha256:{'a' * 64}\n")


def test_the_digest_is_that_of_what_is_installed():
    digest = digest_of(MANIFEST.pins, MANIFEST.wheels)
    moved = [replace(wheel, path=Path("/x", wheel.path.name)) for wheel in reversed(MANIFEST.wheels)]
    pins = [replace(pin, hashes=pin.hashes[::-1]) for pin in reversed(MANIFEST.pins)]

    assert digest_of(pins, moved) == digest
    assert digest_of(MANIFEST.pins[:1], MANIFEST.wheels) != digest
    assert digest_of(MANIFEST.pins, [replace(moved[0], sha256="9" * 64), moved[1]]) != digest
    assert digest_of([replace(pins[0], hashes=("9" * 64,)), pins[1]], moved) != digest


def test_files_are_found_by_what_is_in_them(tmp_path):
    content = b"a wheel"
    sha256, name = hashlib.sha256(content).hexdigest(), "shop-1.0-py3-none-any.whl"
    built = tmp_path / "wheels" / "key" / name
    built.parent.mkdir(parents=True)
    built.write_bytes(content)
    (tmp_path / "by-sha256").mkdir()
    assert find_file(sha256, name, tmp_path) is None

    (tmp_path / "by-sha256" / sha256).symlink_to(built)
    assert find_file(sha256, name, tmp_path) == built
    assert find_file(sha256, "other-1.0-py3-none-any.whl", tmp_path) is None

    built.write_bytes(b"changed")
    assert find_file(sha256, name, tmp_path) is None

    kept = tmp_path / "files" / sha256 / name
    kept.parent.mkdir(parents=True)
    os.link(built, kept)
    assert find_file(sha256, name, tmp_path) is None
    kept.unlink()
    kept.write_bytes(content)
    assert find_file(sha256, name, tmp_path) == kept
