from __future__ import annotations

import json

import pytest

from django_deploy.host import history
from django_deploy.host.layout import Layout
from tests.release_record import RECORD

ID = "20261122T174500Z-3f9c2a1"


@pytest.fixture
def layout(tmp_path):
    layout = Layout(str(tmp_path / "site"))
    layout.create()
    layout.release(ID).path.mkdir()
    text = json.dumps({**RECORD, "project": "shop", "version": "1.4", "revision": None})
    (layout.release(ID).path / "release.json").write_text(text)
    return layout


def test_entries_name_what_was_released(layout):
    history.append(layout, {"action": "deploy", "release": ID, "by": "anna@laptop"})
    history.append(layout, {"action": "rollback", "release": "20200101T000000Z-0000000", "by": "ben"})

    first, second = history.entries(layout, 10)

    assert (first["action"], first["project"], first["version"]) == ("deploy", "shop", "1.4")
    assert (second["action"], "project" in second) == ("rollback", False)
    assert history.entries(layout, 1) == [second]
    assert history.entries(layout, 0) == []


def test_a_damaged_line_is_left_out(layout):
    history.append(layout, {"action": "deploy", "release": ID})
    with (layout.private / "history.jsonl").open("a") as file:
        file.write('{"at": 1, "acti\n[]\n{"at": "noon"}\n')
    history.append(layout, {"action": "restart", "release": ID})

    assert [entry["action"] for entry in history.entries(layout, 10)] == ["deploy", "restart"]


def test_there_is_none(layout):
    assert history.entries(layout, 10) == []


def test_the_file_is_bounded_and_keeps_the_newest(layout, monkeypatch):
    monkeypatch.setattr(history, "MAX_HISTORY", 4000)
    for number in range(100):
        history.append(layout, {"action": "deploy", "release": ID, "by": str(number)})

    found = history.entries(layout, 1000)

    assert (layout.private / "history.jsonl").stat().st_size <= 4200
    assert [entry["by"] for entry in found] == [str(n) for n in range(100 - len(found), 100)]
    assert len(found) > 5


OLD = "20261121T174500Z-1111111"


def release(layout, id, **fields):
    layout.release(id).path.mkdir(exist_ok=True)
    (layout.release(id).path / "release.json").write_text(json.dumps({**RECORD, **fields}))


def wheel(name, digit):
    return {"name": name, "sha256": digit * 64}


def test_an_entry_says_what_changed(layout):
    before = {"django": "5.2.1", "gone": "1.0", "shop": "1.4", "reviews": "0.3", "same": "2"}
    after = {"django": "5.2.3", "new": "0.1", "shop": "1.4", "reviews": "0.3", "same": "2"}
    wheels = [wheel("shop", "a"), wheel("reviews", "b")]
    revision = {"vcs": "git", "id": "0" * 40, "branch": "main", "dirty": False}
    release(layout, OLD, version="1.4", revision=revision, distributions=before, wheels=wheels)
    release(layout, ID, version="1.4", distributions=after, wheels=[wheel("shop", "c"), wheels[1]])

    history.append(layout, {"action": "deploy", "release": ID, "previous": OLD})

    (entry,) = history.entries(layout, 10)
    assert (entry["previous_version"], entry["previous_revision"]) == ("1.4", revision)
    assert entry["changes"] == [
        {"name": "django", "before": "5.2.1", "after": "5.2.3"},
        {"name": "gone", "before": "1.0", "after": None},
        {"name": "new", "before": None, "after": "0.1"},
        {"name": "shop", "before": "1.4", "after": "1.4"},
    ]


def test_with_the_first_release_everything_is_new(layout):
    release(layout, ID, distributions={"django": "5.2.1"})

    history.append(layout, {"action": "deploy", "release": ID, "previous": None})

    (entry,) = history.entries(layout, 10)
    assert entry["changes"] == [{"name": "django", "before": None, "after": "5.2.1"}]
    assert "previous_version" not in entry


def test_what_changed_is_not_guessed_where_the_release_before_is_gone(layout):
    release(layout, ID, distributions={"django": "5.2.1"})

    history.append(layout, {"action": "deploy", "release": ID, "previous": OLD})

    (entry,) = history.entries(layout, 10)
    assert "changes" not in entry
    assert "previous_version" not in entry


@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param({"at": 1e300}, id="no time"),
        pytest.param({"at": float("nan")}, id="no number"),
        pytest.param({"at": 1.0, "phases": [{"phase": "steps", "at": 1.0, "seconds": -1.0}]}, id="backwards"),
        pytest.param({"at": 1.0, "changes": [{"name": "django"}]}, id="no versions"),
    ],
)
def test_an_entry_that_cannot_be_is_left_out(layout, damaged):
    with (layout.private / "history.jsonl").open("a") as file:
        file.write(json.dumps(damaged) + "\n")

    assert history.entries(layout, 10) == []


def deployed(layout, action, *phases):
    taken = [{"phase": phase, "at": 1.0, "seconds": seconds} for phase, seconds in phases]
    history.append(layout, {"action": action, "release": ID, "phases": taken})


def test_durations_are_those_of_deployments_that_made_a_release(layout):
    deployed(
        layout,
        "deploy",
        ("prepare", 4.0),
        ("preflight", 1.0),
        ("steps", 2.5),
        ("activate", 3.0),
        ("hold", 60.0),
    )
    deployed(layout, "rollback", ("preflight", 1.0), ("activate", 3.0))
    deployed(layout, "deploy", ("preflight", 1.0), ("activate", 3.0))
    history.append(layout, {"action": "deploy", "release": ID})
    deployed(layout, "deploy", ("prepare", 1.0), ("activate", 0.5), ("activate", 0.25))

    assert history.durations(layout) == [
        {"made": 1.0, "activated": 0.75},
        {"made": 7.5, "activated": 3.0},
    ]


def test_no_durations_are_known_where_the_history_cannot_be_read(layout):
    (layout.private / "history.jsonl").mkdir()

    assert history.durations(layout) == []


def test_durations_of_the_last_deployments_only(layout):
    for seconds in range(history.MAX_DURATIONS + 2):
        deployed(layout, "deploy", ("prepare", float(seconds)))

    assert [taken["made"] for taken in history.durations(layout)] == [6.0, 5.0, 4.0, 3.0, 2.0]


def test_what_somebody_went_back_from(layout):
    one, two, three = (f"20261122T17450{second}Z-3f9c2a1" for second in (1, 2, 3))
    for action, release, previous, given_up in (
        ("deploy", two, one, set()),
        ("rollback", one, two, {two}),
        ("restore", one, one, {two}),
        ("deploy", three, one, {two}),
        ("rollback", one, three, {two, three}),
        ("rollback", three, one, {two}),  # forward again, and the way back is the one of before
        ("rollback", three, three, {two}),
    ):
        history.append(layout, {"action": action, "release": release, "previous": previous})
        assert history.given_up(layout) == given_up


def test_what_somebody_went_past_is_given_up_as_well(layout):
    one, two, three, four, again = (f"20261122T17450{second}Z-3f9c2a1" for second in range(1, 6))
    for action, release, previous in (
        ("deploy", one, None),
        ("deploy", two, one),
        ("deploy", three, two),
        ("rollback", one, three),
        ("deploy", four, one),
        ("restart", again, four),
    ):
        history.append(layout, {"action": action, "release": release, "previous": previous})

    assert history.given_up(layout) == {two, three}


def test_a_restart_is_what_it_is_a_copy_of(layout):
    """Who went forward again from a restarted release did not go back from it."""
    first, old, new, again, once_more = (f"20261122T17450{second}Z-3f9c2a1" for second in range(1, 6))
    for action, release, previous, given_up in (
        ("deploy", first, None, set()),
        ("deploy", old, first, set()),
        ("deploy", new, old, set()),
        ("rollback", old, new, {new}),
        ("restart", again, old, {new}),
        ("restart", once_more, again, {new}),
        ("rollback", new, once_more, set()),
        ("rollback", once_more, new, {new}),
        ("rollback", first, once_more, {old, again, once_more, new}),
    ):
        history.append(layout, {"action": action, "release": release, "previous": previous})
        assert history.given_up(layout) == given_up


def test_of_a_history_whose_beginning_is_gone(layout):
    one, two, three = (f"20261122T17450{second}Z-3f9c2a1" for second in (1, 2, 3))
    history.append(layout, {"action": "deploy", "release": three, "previous": two})
    history.append(layout, {"action": "rollback", "release": one, "previous": three})

    assert history.given_up(layout) == {two, three}


def test_nothing_was_given_up_where_the_history_cannot_be_read(layout):
    (layout.private / "history.jsonl").mkdir()

    assert history.given_up(layout) == set()
