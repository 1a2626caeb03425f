"""Migrations of real databases that are taken back: what that loses, and that it can be done again."""

from __future__ import annotations

import pytest

from tests.library.editions import MIGRATIONS
from tests.site.test_backups import library  # noqa: F401 - a fixture
from tests.site.test_migrations import SQUASHED

NAMES = [f"library.{name.removesuffix('.py')}" for name in MIGRATIONS]


@pytest.fixture
def shelf(library):  # noqa: F811
    """Two books, one with a subtitle that is longer than titles were; the second edition and its database."""
    with library.edition(2) as edition:
        edition.migrate()
        library.add("Emma", "Walden")
        library.execute("UPDATE library_book SET subtitle = 'A novel' WHERE title = 'Emma'")
        yield library, edition


def ask(edition, what, names, **fields):
    reply = edition.ask(do=what, database="default", migrations=names, **fields)
    assert reply["ok"], reply
    return reply


def test_what_migrations_have_done(shelf):
    _, edition = shelf

    applied = ask(edition, "judge_applied", [NAMES[1], "library.0042_unknown"])["applied"]

    assert applied["lacks"] == ["library.0042_unknown"]
    [migration] = applied["migrations"]
    assert (migration["name"], migration["needs"]) == (NAMES[1], [])
    assert [operation["effects"][0]["what"] for operation in migration["operations"]] == [
        "adds the column library_book.subtitle",
        "adds the column library_book.copies",
    ]


def test_what_was_squashed_is_told_with_the_whole(shelf):
    made, _ = shelf
    first, second = (name.removeprefix("library.") for name in NAMES[:2])
    name = f"{first}_squashed_{second}"
    text = SQUASHED.format(first=first, second=second)
    both_ways = "operations = [migrations.RunPython(migrations.RunPython.noop, migrations.RunPython.noop)]"
    (made.folder / "edition_2" / f"{name}.py").write_text(text.replace("operations = []", both_ways))
    with made.edition(2) as squashed:
        squashed.migrate()
        parted = ask(squashed, "judge_applied", [NAMES[1], f"library.{name}"])["applied"]
        whole = ask(squashed, "judge_applied", [*NAMES[:2], f"library.{name}"])["applied"]

    assert (parted["lacks"], whole["lacks"]) == ([], [])
    for applied, is_reversible in ((parted, False), (whole, True)):
        [migration] = applied["migrations"]
        assert migration["name"] == f"library.{name}"
        assert {operation["reversible"] for operation in migration["operations"]} == {is_reversible}


def test_what_is_lost_is_counted(shelf):
    _, edition = shelf

    losses = ask(edition, "losses", [NAMES[1]])["losses"]

    assert [(loss["what"], loss["rows"]) for loss in losses] == [
        ("the values of library_book.copies", 2),
        ("the values of library_book.subtitle", 1),
    ]


def test_longer_values_do_not_fit_any_more(shelf):
    library, _ = shelf  # noqa: F811
    with library.edition(5) as edition:
        edition.migrate()
        library.execute(f"UPDATE library_book SET title = '{'x' * 250}' WHERE title = 'Emma'")

        losses = ask(edition, "losses", [NAMES[4]])["losses"]

    what = "values of library_book.title of more than 200 characters do not fit any more"
    assert [(loss["what"], loss["rows"]) for loss in losses] == [("", None), (what, 1)]


def test_what_is_dropped_comes_back_empty(shelf):
    library, _ = shelf  # noqa: F811
    with library.edition(12) as edition:
        edition.migrate()

        losses = ask(edition, "losses", [NAMES[11]])["losses"]

    assert [(loss["words"], loss["what"], loss["rows"]) for loss in losses] == [
        ("Delete model Lending", "library_lending comes back empty", None),
        ("Remove field shelf from book", "library_book.shelf comes back without its values", None),
    ]


def test_code_that_has_nothing_to_take_back_loses_nothing(shelf):
    library, _ = shelf  # noqa: F811
    with library.edition(4) as edition:
        edition.migrate()

        losses = ask(edition, "losses", [NAMES[3]])["losses"]

    assert [(loss["what"], loss["rows"]) for loss in losses] == [("", None)] * 2


def test_a_migration_is_taken_back_and_applied_again(shelf):
    library, edition = shelf  # noqa: F811

    back = ask(edition, "move", [NAMES[1]], backwards=True)

    assert back["result"] == {"applied": [], "unapplied": [NAMES[1]]}
    with library.edition(1) as before:
        assert before.plan()["ahead"] == []
    assert library.execute("SELECT title FROM library_book ORDER BY title")[0] == [("Emma",), ("Walden",)]
    assert ask(edition, "move", [NAMES[1]], backwards=True)["result"] == {}

    forth = ask(edition, "move", [NAMES[1]], backwards=False)

    assert forth["result"] == {"applied": [NAMES[1]]}
    assert library.execute("SELECT subtitle FROM library_book")[0] == [(None,), (None,)]


def test_what_it_has_no_file_of_is_not_taken_back(shelf):
    library, edition = shelf  # noqa: F811
    with library.edition(3) as later:
        later.migrate()

    reply = edition.ask(do="move", database="default", migrations=[NAMES[2]], backwards=True)

    assert reply["ok"] is False
    assert reply["error"].endswith(f"CannotMove: this release has not the files of {NAMES[2]}")
