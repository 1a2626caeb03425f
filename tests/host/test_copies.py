"""Copies that are fetched: what is left of them, when, and who is in the way of whom."""

from __future__ import annotations

import os
import threading
import time

import pytest

from django_deploy.host import copies as module
from django_deploy.host.copies import KEPT, Copies, _Stop
from django_deploy.host.lock import Lock
from django_deploy.host.protocol import Failure
from tests.host.test_backups import make

RELEASE = "20261122T174500Z-3f9c2a1"


@pytest.fixture
def copies(layout, link):
    (layout.releases / RELEASE).mkdir()
    layout.current.symlink_to(f"releases/{RELEASE}")
    link.lost = threading.Event()
    link.stop_if_lost = lambda: None
    return Copies(layout, link)


def left(copies):
    return sorted(path.name for path in copies.folder.iterdir() if path.name != ".lock")


def test_of_a_backup(copies, backups):
    backup = make(backups)

    copy = copies.make("other", backup, None)

    assert (copy["database"], copy["suffix"], copy["size"]) == ("default", ".sqlite3", 9)
    assert copies.find(copy["name"]) == copy
    assert copies.read(copy["name"], 0) == {"size": 9, "data": "YWxsIG9mIGl0"}
    assert copies.read(copy["name"], 7) == {"size": 9, "data": "aXQ="}
    assert {path.stat().st_mode & 0o777 for path in copies.folder.iterdir()} == {0o600}
    backups.prune("default", 0 + 1)
    (backups.folder / f"{backup}.sqlite3").unlink()
    assert copies.read(copy["name"], 0)["size"] == 9

    copies.drop(copy["name"])
    copies.drop(copy["name"])

    assert left(copies) == []
    assert copies.find(copy["name"]) is None
    with pytest.raises(Failure) as caught:
        copies.read(copy["name"], 0)
    assert (caught.value.type, caught.value.message) == (
        "CopyFailed",
        f"the copy {copy['name']} is not there any more",
    )


def test_two_of_one_backup_are_two(copies, backups):
    backup = make(backups)

    one, other = (copies.make("default", backup, None) for _ in range(2))

    copies.drop(one["name"])
    assert copies.read(other["name"], 0)["size"] == 9


def test_what_nobody_comes_back_for_goes(copies, backups):
    backup = make(backups)
    old, young, read = (copies.make("default", backup, None)["name"] for _ in range(3))
    for name in (old, read):
        os.utime(copies.folder / f"{name}.json", (0, time.time() - KEPT - 60))
    copies.read(read, 0)
    (copies.folder / f".{old}").mkdir()
    (copies.folder / f".{old}" / "whole.sqlite3").write_text("half")
    (copies.folder / "20200101T000000Z-default.sqlite3").write_text("without a word about it")

    new = copies.make("default", backup, None)["name"]

    assert left(copies) == sorted(
        f"{name}.{kind}" for name in (young, read, new) for kind in ("json", "sqlite3")
    )


def test_a_deployment_removes_them_as_well(copies, backups):
    copies.forget_old()
    name = copies.make("default", make(backups), None)["name"]
    copies.forget_old()
    assert copies.find(name)
    os.utime(copies.folder / f"{name}.json", (0, time.time() - KEPT - 60))
    with copies._alone():
        (copies.folder / f".{name}").mkdir()
        copies.forget_old()
        assert left(copies) == [f".{name}"]

    copies.forget_old()

    assert left(copies) == []


def test_one_is_made_at_a_time(copies, backups, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    backup = make(backups)

    with copies._alone(), pytest.raises(Failure) as caught:
        copies.make("default", backup, None)

    assert caught.value.message == "somebody else is fetching a database there now"


def test_without_a_live_release(copies, layout):
    layout.current.unlink()

    with pytest.raises(Failure) as caught:
        copies.make("default", None, None)

    assert (caught.value.type, caught.value.message) == ("NoSuchRelease", "no release is live there")
    assert not copies.folder.exists()


@pytest.mark.parametrize(
    ("phase", "gives_way"),
    [
        ("running migrate --noinput", True),
        ("running the migrations that waited", True),
        ("reversing migrations", True),
        ("restoring a backup", True),
        ("taking back migrations", True),  # an earlier version of django-deploy
        ("putting back a backup", True),
        ("running collectstatic --noinput", False),
        ("preparing", False),
        ("activating", False),
    ],
)
def test_who_changes_the_database_goes_first(copies, layout, link, monkeypatch, phase, gives_way):
    monkeypatch.setattr(module, "LOOK_INTERVAL", 0.0)
    lock = Lock(layout.private / "lock")
    stop = _Stop(layout, link)
    assert not stop.is_set()
    lock.acquire({"by": "ann@laptop", "since": 0.0}, 0, lambda holder: None, threading.Event())
    lock.show_phase(phase)

    assert stop.is_set() is gives_way

    if gives_way:
        assert stop.failure().message == (
            "the copy was stopped because the database is needed: another deployment is running: ann@laptop,"
            f" since 00:00:00 UTC, {phase}"
        )
    lock.release()
    assert not _Stop(layout, link).is_set()
    link.lost.set()
    assert _Stop(layout, link).is_set()
