"""The history that the host program wrote, as the site reads it."""

from __future__ import annotations

import json
import os
import pwd
import tempfile
from datetime import datetime, timezone

import pytest
from django.test import override_settings

from django_deploy.host import history
from django_deploy.host.layout import Layout
from django_deploy.site.deployments import NOT_DEPLOYED, Change, read_history

FIRST, SECOND = "20261121T174500Z-1111111", "20261122T174500Z-3f9c2a1"
RECORD = {"settings_module": "s", "processes": [], "manager": "systemd", "restart": [], "health": None}
HOST = os.uname().nodename


def revision(digit, *, dirty=False):
    return {"vcs": "git", "id": digit * 40, "branch": "main", "dirty": dirty}


@pytest.fixture
def layout(tmp_path, monkeypatch):
    """A host on which two releases were deployed; the second one is live."""
    layout = Layout(str(tmp_path / "site"))
    layout.create()
    release(layout, FIRST, version="1.4", revision=revision("a"), distributions={"django": "5.2.1"})
    release(
        layout, SECOND, version="1.5", revision=revision("b", dirty=True), distributions={"django": "5.2.3"}
    )
    monkeypatch.setenv("DJANGO_DEPLOY_ROOT", str(layout.root))
    return layout


def release(layout, id, **fields):
    layout.release(id).path.mkdir()
    (layout.release(id).path / "release.json").write_text(json.dumps({**RECORD, **fields}))


def deploy(layout, id, previous, at, action="deploy", **fields):
    layout.point(layout.current, f"releases/{id}")
    entry = {"action": action, "release": id, "previous": previous, "by": "anna@laptop", "at": at}
    history.append(layout, {**entry, **fields})


def test_development_has_no_history(monkeypatch):
    monkeypatch.delenv("DJANGO_DEPLOY_ROOT", raising=False)

    found = read_history()

    assert (found.problem, found.deployments, found.live) == (NOT_DEPLOYED, (), None)


def test_nothing_was_deployed_yet(layout):
    found = read_history()

    assert (found.host, found.problem, found.live, list(found.deployments)) == (HOST, "", None, [])


def test_the_newest_comes_first_and_the_live_one_is_marked(layout):
    deploy(layout, FIRST, None, 100.0)
    deploy(layout, SECOND, FIRST, 200.0)
    deploy(layout, FIRST, SECOND, 300.0, "rollback")
    deploy(layout, FIRST, FIRST, 400.0, "restore", backup="b1")

    found = read_history()

    assert [(d.action, d.release, d.is_live) for d in found.deployments] == [
        ("restore", FIRST, False),
        ("rollback", FIRST, True),
        ("deploy", SECOND, False),
        ("deploy", FIRST, False),
    ]
    assert found.live_deployment.key == 300000
    assert found.find(300000) is found.live_deployment
    assert found.find(1) is None
    assert found.deployments[0].backup == "b1"


def test_what_changed(layout):
    deploy(layout, FIRST, None, 100.0)
    deploy(layout, SECOND, FIRST, 200.0, applied=["shop.0002_b"])

    second, first = read_history().deployments

    assert (second.title, second.by, second.versions) == ("Deployed", "anna@laptop", "1.4 → 1.5")
    assert second.revisions == "git aaaaaaaaaaaa → bbbbbbbbbbbb (main) with uncommitted changes"
    assert second.changes == [Change("django", "5.2.1", "5.2.3")]
    assert (second.applied, second.unapplied) == (["shop.0002_b"], ())
    assert (first.versions, first.revisions) == ("1.4", "git aaaaaaaaaaaa (main)")
    assert [change.kind for change in first.changes] == ["added"]


def test_kinds_of_changes():
    pairs = [(None, "1"), ("1", None), ("1", "2"), ("2", "1"), ("1", "1"), ("odd", "1")]

    assert [Change("x", *pair).kind for pair in pairs] == [
        *("added", "removed", "upgraded", "downgraded", "rebuilt", "changed"),
    ]


def test_how_long_it_took(layout):
    phases = [
        {"phase": "prepare", "at": 190.0, "seconds": 4.0},
        {"phase": "steps", "step": "migrate --noinput", "at": 195.0, "seconds": 2.0},
    ]
    deploy(layout, FIRST, None, 200.0, phases=phases)

    (found,) = read_history().deployments

    assert found.seconds == 10.0
    assert [(phase.name, phase.step, phase.began, phase.seconds) for phase in found.phases] == [
        ("prepare", "", 0.0, 4.0),
        ("steps", "migrate --noinput", 5.0, 2.0),
    ]


def test_an_entry_of_an_earlier_version_of_ours_says_less(layout):
    (layout.private / "history.jsonl").write_text('{"at": 5, "action": "dance", "revision": {"vcs": "hg"}}\n')

    (found,) = read_history().deployments

    assert (found.title, found.by, found.revisions, found.changes) == ("dance", "", "", None)
    assert (found.seconds, found.phases, found.is_live) == (0.0, [], False)


@pytest.mark.parametrize(("use_tz", "hour"), [(True, 2), (False, None)])
def test_times_are_those_of_the_site(layout, use_tz, hour):
    deploy(layout, FIRST, None, 0.0)

    with override_settings(USE_TZ=use_tz, TIME_ZONE="Africa/Cairo"):
        (found,) = read_history().deployments

    assert (found.at.tzinfo is not None) == use_tz
    if use_tz:
        assert found.at == datetime(1970, 1, 1, tzinfo=timezone.utc)
        assert found.at.hour == hour


@pytest.fixture
def stranger():
    """The name of a user who is not the site's: root is nobody for a while, others lose their own right."""
    me = os.geteuid()
    if me:
        yield pwd.getpwuid(me).pw_name
    else:
        nobody = pwd.getpwnam("nobody")
        os.seteuid(nobody.pw_uid)
        yield nobody.pw_name
        os.seteuid(me)


@pytest.fixture
def foreign_root(monkeypatch):
    """A site whose ``.deploy`` is closed, below folders that everybody may look into."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        layout = Layout(f"{folder}/site")
        layout.create()
        monkeypatch.setenv("DJANGO_DEPLOY_ROOT", str(layout.root))
        history.append(layout, {"action": "deploy", "release": FIRST})
        if os.geteuid():
            layout.private.chmod(0)
        yield layout
        layout.private.chmod(0o700)


def test_a_folder_that_the_sites_user_may_not_read(foreign_root, stranger):
    found = read_history()

    owner = foreign_root.root.owner()
    assert found.problem == (
        f"The history in {foreign_root.private} cannot be read by {stranger}, the user of the site:"
        f" Permission denied. It is {owner}'s. What it says: manage.py deploy_history TARGET."
    )


def test_a_root_that_is_in_disorder(layout):
    layout.current.mkdir()

    assert read_history().problem == (f"The history cannot be read: {layout.current} is not a symbolic link.")
