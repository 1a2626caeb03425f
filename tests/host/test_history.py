from __future__ import annotations

import json

import pytest

from django_deploy.host import history
from django_deploy.host.layout import Layout

ID = "20261122T174500Z-3f9c2a1"
RECORD = {"settings_module": "s", "processes": [], "manager": "systemd", "restart": [], "health": None}


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
