"""What a rehearsal says of two releases, by what each said of itself."""

from __future__ import annotations

import fcntl
import os

import pytest

from django_deploy.host.layout import Layout
from django_deploy.host.protocol import Failure
from django_deploy.host.rehearsal import _alone, _files, _settings, forget


@pytest.fixture
def layout(tmp_path):
    made = Layout(str(tmp_path))
    made.private.mkdir()
    return made


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ("False", "True", "False -> True"),
        (None, "60", "not set -> 60"),
        ("60", None, "60 -> not set"),
        (["'a'", "'b'"], ["'b'", "'c'"], "- 'a', + 'c'"),
        (["'a'", "'b'"], ["'b'", "'a'"], "in another order"),
        (None, ["'a'"], "not set -> ['a']"),
        ({"hidden": "1"}, {"hidden": "2"}, "another value"),
        ({"hidden": "1"}, "60", "another value"),
        (None, {"hidden": "1"}, "not set -> set"),
        ({"hidden": "1"}, None, "set -> not set"),
    ],
)
def test_a_setting_that_differs(old, new, change):
    before, after = ({} if leaf is None else {"X": leaf} for leaf in (old, new))

    assert _settings({"SAME": "1", **before}, {"SAME": "1", **after}) == [{"name": "X", "change": change}]


def test_settings_that_nobody_told():
    assert _settings(None, {"X": "1"}) is None


def test_static_files():
    old = {"a.css": "1", "b.css": "1", "c.css": "1"}
    new = {"b.css": "1", "c.css": "2", "d.css": "1"}

    assert _files(old, new) == {
        "added": {"count": 1, "names": ["d.css"]},
        "changed": {"count": 1, "names": ["c.css"]},
        "removed": {"count": 1, "names": ["a.css"]},
    }
    assert _files(None, new) is None


def test_one_at_a_time(layout):
    with (
        _alone(layout),
        pytest.raises(Failure, match="another deploy --plan, or deploy that will ask, is at work there"),
        _alone(layout),
    ):
        pass


def test_what_is_under_way_is_not_thrown_away(layout):
    folder = layout.private / "rehearsal"
    folder.mkdir()
    descriptor = os.open(layout.private / "rehearsal.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    forget(layout)
    assert folder.is_dir()
    os.close(descriptor)
    forget(layout)
    assert not folder.exists()
