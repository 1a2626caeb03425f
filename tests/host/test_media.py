"""The files of MEDIA_ROOT as a host lists and reads them."""

from __future__ import annotations

import base64
import hashlib
import json
import os

import pytest

from django_deploy.host import media as module
from django_deploy.host.layout import Layout
from django_deploy.host.media import Media
from django_deploy.host.protocol import Failure
from django_deploy.host.store import FETCHED

RELEASE = "20261122T174500Z-3f9c2a1"


@pytest.fixture
def layout(tmp_path):
    layout = Layout(str(tmp_path / "site"))
    layout.create()
    (layout.releases / RELEASE).mkdir()
    layout.current.symlink_to(f"releases/{RELEASE}")
    say(layout, media_root=str(layout.shared / "media"))
    (layout.shared / "media").mkdir()
    return layout


def say(layout, **site):
    (layout.releases / RELEASE / "site.json").write_text(json.dumps(site))


def write(layout, name, content=b"emma"):
    path = layout.shared / "media" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(5, 1_700_000_000_123_456_789))
    return path


def test_files_and_what_is_none(layout):
    for name in ("b", "covers/emma", "a/☃", "empty"):
        write(layout, name, b"" if name == "empty" else b"emma")
    (layout.shared / "media" / "link").symlink_to("b")
    (layout.shared / "media" / "away").symlink_to("/etc")
    os.mkfifo(layout.shared / "media" / "pipe")

    found = Media(layout).next_files()

    time = 1_700_000_000_123_456_789
    assert found["files"] == [["b", 4, time], ["empty", 0, time], ["a/☃", 4, time], ["covers/emma", 4, time]]
    assert (found["more"], found["unreadable"]) == (False, [])
    assert found["left_out"] == ["away", "link", "pipe"]


@pytest.mark.parametrize("limit", ["LISTED", "LISTED_TEXT"])
def test_many_are_listed_by_and_by(layout, monkeypatch, limit):
    monkeypatch.setattr(module, limit, 5)
    for number in range(12):
        write(layout, f"{number:02}")
    media, names = Media(layout), []

    while True:
        found = media.next_files()
        names += [file[0] for file in found["files"]]
        assert 0 < len(found["files"]) <= 5 or not found["more"]
        if not found["more"]:
            break

    assert names == [f"{number:02}" for number in range(12)]


@pytest.mark.parametrize("size", [0, 1, FETCHED, FETCHED + 1])
def test_the_last_piece_comes_with_the_hash_of_all(layout, size):
    data = os.urandom(size)
    write(layout, "large", data)
    media = Media(layout)

    pieces = [media.read("large", offset) for offset in range(0, max(size, 1), FETCHED)]

    assert b"".join(base64.b64decode(piece["data"]) for piece in pieces) == data
    assert [piece.get("sha256") for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1]["sha256"] == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", ["../env", "/etc/passwd", "link", "away/passwd", ".", "", "covers/../b"])
def test_nothing_else_is_read(layout, name):
    write(layout, "b")
    (layout.shared / "media" / "link").symlink_to("b")
    (layout.shared / "media" / "away").symlink_to("/etc")

    with pytest.raises(Failure) as caught:
        Media(layout).read(name, 0)

    assert (caught.value.type, caught.value.message) == (
        "BadRequest",
        f"{name!r} is no file of {layout.shared}/media",
    )


def test_where_there_are_none(layout):
    (layout.shared / "media").rmdir()
    with pytest.raises(Failure) as caught:
        Media(layout)
    assert caught.value.message == f"{layout.shared}/media is not a folder"

    say(layout, media_root=None)
    with pytest.raises(Failure) as caught:
        Media(layout)
    assert caught.value.message == f"the settings of {RELEASE} have no MEDIA_ROOT"

    layout.current.unlink()
    with pytest.raises(Failure) as caught:
        Media(layout)
    assert caught.value.message == "no release is live there"
