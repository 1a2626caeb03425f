"""What two releases differ in, by what each says of itself."""

from __future__ import annotations

import pytest

from django_deploy.host.comparison import _files, _settings, compare
from django_deploy.host.layout import Release
from django_deploy.host.release_steps import ReleaseSteps


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


def test_what_somebody_has_deleted_cannot_say(tmp_path):
    live, new = Release(tmp_path / "live"), Release(tmp_path / "new")
    new.path.mkdir()
    (new.path / "environment.json").write_text('{"COLOUR": "green"}')
    before, after = ReleaseSteps(None, -1), ReleaseSteps(None, -1)

    before.open_if_whole(live, "preflight")

    assert not before.is_open
    assert compare(live, new, before, after) == {
        "environment": {"added": ["COLOUR"], "changed": [], "removed": []},
        "settings": None,
        "static": None,
    }
