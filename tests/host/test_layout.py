from __future__ import annotations

import getpass
import os

import pytest

from django_deploy.host.layout import FAILED, LIVE, Layout, write_atomically
from django_deploy.host.protocol import Failure

ID = "20261122T174500Z-3f9c2a1"
OTHER = "20261122T184500Z-2222222"


def test_root_must_be_absolute():
    with pytest.raises(Failure, match="ROOT must be an absolute path, not 'srv/site'"):
        Layout("srv/site")


def test_obstacles_are_seen_before_anything_is_made(tmp_path):
    """Permissions: test_deploy.py of the real hosts; whoever runs this test may be root."""
    (tmp_path / "file").touch()

    assert Layout(str(tmp_path / "new" / "site")).obstacle() is None
    failure = Layout(str(tmp_path / "file" / "site")).obstacle()
    assert failure.message == f"cannot create {tmp_path}/file/site: Not a directory"
    assert failure.remedy == f"On the host, as root: install -d -o {getpass.getuser()} {tmp_path}/file/site"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def refuse(monkeypatch, folder):
    """The kernel refuses root nothing, and root may run this test."""
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != folder and real(path, mode))


def test_a_folder_of_somebody_else_is_named_with_its_remedy(layout, monkeypatch):
    """Here it is ROOT's folder that is wrong, and not ROOT."""
    refuse(monkeypatch, layout.releases)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr("django_deploy.host.layout.user_name", lambda: "shop")

    failure = layout.obstacle()

    assert failure.message == f"cannot write to {layout.releases}: Permission denied"
    assert failure.remedy == f"On the host, as root: chown shop: {layout.releases}"


def test_a_folder_of_ours_that_is_closed_is_named_with_its_remedy(layout, monkeypatch):
    refuse(monkeypatch, layout.run)

    failure = layout.obstacle()

    assert failure.message == f"cannot write to {layout.run}: Permission denied"
    assert failure.remedy == f"On the host: chmod u+rwx {layout.run}"


def test_what_root_has_left_in_our_folder_is_named_with_its_remedy(layout, monkeypatch):
    lock = layout.private / "lock"
    lock.touch()
    monkeypatch.setattr(os, "geteuid", lambda: lock.stat().st_uid + 1)
    monkeypatch.setattr("django_deploy.host.layout.user_name", lambda: "shop")

    failure = layout.obstacle()

    assert failure.message == f"{lock} belongs to somebody else"
    assert failure.remedy == f"On the host, as root: chown -R shop: {layout.private}"


def test_a_file_where_a_folder_belongs(layout):
    layout.releases.rmdir()
    layout.releases.touch()

    failure = layout.obstacle()

    assert failure.message == f"cannot write to {layout.releases}: Not a directory"
    assert failure.remedy == f"Move it out of the way: mv {layout.releases} {layout.releases}.old"


@pytest.mark.parametrize("parts", [("..",), ("run", "../../x"), ("/etc/passwd",), ("releases", "../..")])
def test_inside_refuses_to_leave_root(layout, parts):
    with pytest.raises(Failure, match="is not inside"):
        layout.inside(*parts)


@pytest.mark.parametrize("id", ["", "..", "current", ID + "/..", ID.upper(), "20261122T174500Z-3f9c2a1g"])
def test_a_release_has_a_release_id(layout, id):
    with pytest.raises(Failure, match="is not a release id"):
        layout.release(id)


def test_other_folders_among_the_releases_are_left_alone(layout):
    (layout.releases / ID).mkdir()
    (layout.releases / "backup of friday").mkdir()
    (layout.releases / "notes.txt").write_text("mine")

    assert [release.id for release in layout.all_releases()] == [ID]


def test_a_release_with_an_unknown_state_counts_as_failed(layout):
    (layout.releases / ID).mkdir()
    release = layout.release(ID)

    assert release.state == FAILED
    (release.path / "state").write_text("wonderful")
    assert release.state == FAILED
    release.mark(LIVE)
    assert release.state == LIVE


def test_point_replaces_a_link_and_removes_it(layout):
    layout.point(layout.current, f"releases/{ID}")
    assert layout.live() == ID

    layout.point(layout.current, f"releases/{ID[:-1]}2")
    assert layout.live() == ID[:-1] + "2"
    assert sorted(path.name for path in layout.root.iterdir()) == [
        ".deploy",
        "current",
        "releases",
        "run",
        "shared",
    ]

    layout.point(layout.current, None)
    assert layout.live() is None


def test_a_folder_in_the_place_of_current_is_refused(layout):
    layout.current.mkdir()

    with pytest.raises(Failure) as caught:
        layout.live()

    assert caught.value.message == f"{layout.current} is not a symbolic link"
    assert caught.value.remedy == f"Move it out of the way: mv {layout.current} {layout.current}.old"


@pytest.mark.parametrize("kind", ["gone", "file", "folder"])
def test_where_current_is_no_link_the_states_tell_what_is_live(layout, kind):
    for id, state in ((ID, "live"), (OTHER, "retired")):
        (layout.releases / id).mkdir()
        layout.release(id).mark(state)
    if kind == "file":
        layout.current.write_text("notes")
    elif kind == "folder":
        layout.current.mkdir()

    assert layout.live() == ID
    assert not layout.links_to(ID)


def test_what_is_in_the_place_of_a_link_is_put_aside_and_kept(layout):
    layout.current.mkdir()
    (layout.current / "notes.txt").write_text("first")
    first = layout.put_aside(layout.current)
    layout.current.write_text("second")
    second = layout.put_aside(layout.current)
    layout.point(layout.current, f"releases/{ID}")

    assert (first, second) == (layout.root / "current.aside-1", layout.root / "current.aside-2")
    assert (first / "notes.txt").read_text() == "first"
    assert second.read_text() == "second"
    assert layout.put_aside(layout.current) is None
    assert layout.links_to(ID)


def test_a_reserve_is_kept_until_it_is_needed(layout):
    reserve = layout.private / "reserve"
    assert sum(path.stat().st_size for path in reserve.iterdir()) == 8 * 16384

    layout.give_up_reserve()
    assert not reserve.exists()

    layout.create()
    assert len(list(reserve.iterdir())) == 8


def test_a_state_that_is_not_known_counts_as_failed(layout):
    (layout.releases / ID).mkdir()
    (layout.releases / ID / "state").write_bytes(b"sideways\xff")
    release = layout.release(ID)

    assert (release.state, release.has_known_state) == ("failed", False)
    release.mark("live")
    assert (release.state, release.has_known_state) == ("live", True)


def test_a_release_that_somebody_has_deleted_is_not_marked(layout):
    layout.release(ID).mark("retired")

    assert list(layout.releases.iterdir()) == []


def test_a_release_is_discarded_in_one_step_and_deleted_later(layout):
    (layout.releases / ID / "venv").mkdir(parents=True)

    layout.release(ID).discard()
    assert layout.all_releases() == []

    layout.delete_discarded()
    assert list(layout.releases.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "state"
    write_atomically(path, "live\n")

    with pytest.raises(TypeError):
        write_atomically(path, None)

    assert path.read_text() == "live\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]


def test_the_private_folder_is_private(layout):
    assert layout.private.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["{}", "[]", '{"id": 3', '{"processes": []}'])
def test_a_record_that_lacks_what_the_host_needs_is_damage(layout, text):
    (layout.releases / ID).mkdir()
    (layout.releases / ID / "release.json").write_text(text)

    with pytest.raises(Failure, match=f"release {ID} is damaged"):
        _ = layout.release(ID).record


def test_of_what_waits_for_confirm_a_part_may_have_been_applied(layout):
    release = layout.release(ID)
    release.path.mkdir()
    release.defer({"command": ["migrate"], "migrations": ["shop.0002", "shop.0003"]})
    assert release.begun == []

    release.tear(["shop.0002"])
    release.tear(["shop.0003"])

    assert release.begun == ["shop.0003"]
    release.defer(None)
    assert release.begun == []
