from __future__ import annotations

import json

import pytest

from django_deploy.host.layout import Layout
from django_deploy.host.transaction_journal import Journal, read_journal
from tests.release_record import RECORD

ID = "20261122T174500Z-3f9c2a1"
OLD = "20261122T164500Z-1111111"


@pytest.fixture
def layout(tmp_path):
    layout = Layout(str(tmp_path / "site"))
    layout.create()
    (layout.releases / OLD).mkdir()
    (layout.releases / OLD / "release.json").write_text(json.dumps(RECORD))
    return layout


def write(layout, journal):
    text = journal if isinstance(journal, str) else json.dumps(journal)
    (layout.private / "transaction.json").write_text(text)


def test_there_is_none(layout):
    assert read_journal(layout) == {}


def test_what_is_noted_stays_noted(layout):
    journal = Journal(layout)
    journal.note("prepare", release=ID, previous=OLD, was="retired")

    journal.note("start")

    assert (journal.phase, journal.release, journal.previous, journal.was) == ("start", ID, OLD, "retired")
    assert read_journal(layout) == journal.notes
    journal.delete_file()
    assert read_journal(layout) == {}


@pytest.mark.parametrize("previous", [OLD, None])
def test_a_transaction_that_was_left_open(layout, previous):
    journal = {"phase": "switch", "release": ID, "previous": previous, "was": "failed"}
    write(layout, journal)

    assert read_journal(layout) == journal


def test_what_was_confirmed_needs_no_release_to_go_back_to(layout):
    journal = {"phase": "confirm", "release": ID, "previous": "20261122T164500Z-2222222", "was": "failed"}
    write(layout, journal)

    assert read_journal(layout) == journal


@pytest.mark.parametrize(
    "journal",
    [
        pytest.param("{", id="cut short"),
        pytest.param([], id="no record"),
        pytest.param({"phase": "confirm", "release": "../../x", "previous": 3}, id="no release"),
        pytest.param({"phase": "switch", "release": ID, "previous": ID}, id="previous is gone"),
        pytest.param({"phase": "dance", "release": ID, "previous": OLD}, id="unknown phase"),
        pytest.param({"phase": "start", "release": ID, "previous": OLD, "was": "odd"}, id="unknown state"),
    ],
)
def test_nothing_is_done_on_the_word_of_a_damaged_journal(layout, journal):
    write(layout, journal)

    assert read_journal(layout) == {}
