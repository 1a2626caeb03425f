"""Migrations of real databases that are taken back: what that loses, and that it can be done again."""

from __future__ import annotations

import pytest

from tests.library.editions import MIGRATIONS
from tests.site.test_migrations import SQUASHED

NAMES = [f"library.{name.removesuffix('.py')}" for name in MIGRATIONS]


@pytest.fixture
def shelf(library):
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
    library, _ = shelf
    with library.edition(5) as edition:
        edition.migrate()
        library.execute(f"UPDATE library_book SET title = '{'x' * 250}' WHERE title = 'Emma'")

        losses = ask(edition, "losses", [NAMES[4]])["losses"]

    what = "values of library_book.title of more than 200 characters do not fit any more"
    assert [(loss["what"], loss["rows"]) for loss in losses] == [("", None), (what, 1)]


MIGRATION = """\
from django.db import migrations, models


class OurAddField(migrations.AddField):
    \"\"\"As a package brings it.\"\"\"


class Migration(migrations.Migration):
    dependencies = [("library", "{after}")]
    operations = [{operations}]
"""


@pytest.fixture
def after(shelf):
    """Migrate with these operations, and more that come later; gives what is lost with the latter."""
    made, _ = shelf

    def migrate(operations, more, *statements):
        name = "0002_subtitle"
        for number, each in enumerate([operations, more], 3):
            text = MIGRATION.format(after=name, operations=", ".join(f"migrations.{one}" for one in each))
            name = f"000{number}_more"
            (made.folder / "edition_2" / f"{name}.py").write_text(text.replace("migrations.Our", "Our"))
        with made.edition(2) as edition:
            edition.migrate()
            made.execute(*statements)
            losses = ask(edition, "losses", [f"library.{name}"])["losses"]
        return [(loss["words"], loss["what"], loss["rows"]) for loss in losses if loss["what"]]

    return migrate


@pytest.mark.parametrize(
    ("before", "operation", "values", "kind", "rows"),
    [
        pytest.param(
            "DecimalField(max_digits=8, decimal_places=2, null=True)",
            "DecimalField(max_digits=12, decimal_places=4, null=True)",
            ("1.2345", "1.5"),
            "numeric(8, 2)",
            1,
            id="digits",
        ),
        pytest.param(
            "IntegerField(null=True)", "FloatField(null=True)", ("2.75", "3"), "integer", 1, id="fractions"
        ),
        pytest.param(
            "DateField(null=True)",
            "DateTimeField(null=True)",
            ("'2026-01-01 12:34:56'", "NULL"),
            "date",
            1,
            id="times",
        ),
        pytest.param(
            "IntegerField(null=True)",
            "CharField(max_length=9, null=True)",
            ("'seven'", "'7'"),
            "integer",
            None,
            id="texts",
        ),
    ],
)
def test_values_that_do_not_fit_any_more(shelf, after, before, operation, values, kind, rows):
    """SQLite keeps digits, whatever the type says."""
    made, _ = shelf
    statements = [
        f"UPDATE library_book SET amount = {value} WHERE title = '{title}'"
        for title, value in zip(("Emma", "Walden"), values, strict=True)
    ]

    losses = after(
        [f'AddField("book", "amount", models.{before})'],
        [f'AlterField("book", "amount", models.{operation})'],
        *statements,
    )

    what = f"values of library_book.amount that {kind} cannot hold as they are"
    is_kept = made.vendor == "sqlite" and kind.startswith("numeric")
    assert losses == ([] if is_kept else [("Alter field amount on book", what, rows)])


def test_values_that_still_fit_are_no_loss(after):
    operations = ['AddField("book", "amount", models.BigIntegerField(null=True))']

    assert after(operations, ['AlterField("book", "amount", models.IntegerField(null=True))']) == []


@pytest.mark.parametrize(
    ("default", "what"),
    [
        (', default="none"', "nulls of library_book.state, which get its default"),
        ("", "nulls of library_book.state, which may not be null any more"),
    ],
)
def test_nulls_are_values_too(after, default, what):
    field = f"models.CharField(max_length=9{default}"

    losses = after(
        ['AddField("book", "state", models.CharField(max_length=9, default="none"))'],
        [f'AlterField("book", "state", {field}))', f'AlterField("book", "state", {field}, null=True))'],
        "UPDATE library_book SET state = NULL WHERE title = 'Emma'",
    )

    assert losses == [("Alter field state on book", what, 1)]


def test_what_only_the_database_is_told_is_lost_as_well(after):
    losses = after(
        [],
        [
            "SeparateDatabaseAndState(database_operations=["
            'migrations.AddField("book", "memo", models.CharField(max_length=9, null=True)),'
            'migrations.CreateModel("Log", [("id", models.BigAutoField(primary_key=True))])])'
        ],
        "UPDATE library_book SET memo = 'gold' WHERE title = 'Emma'",
    )

    assert losses == [
        ("Create model Log", "the rows of library_log", 0),
        ("Add field memo to book", "the values of library_book.memo", 1),
    ]


def test_the_order_of_rows_is_lost(shelf, after):
    losses = after([], ['AlterOrderWithRespectTo("book", "writer")'])

    [(_, what, rows)] = losses
    assert (what, rows) == ("the values of library_book._order", 2)


def test_an_operation_of_somebody_else_cannot_be_looked_into(after):
    losses = after([], ['OurAddField("book", "memo", models.TextField(null=True))'])

    assert losses == [("Add field memo to book", "has an unknown effect", None)]


def test_what_is_dropped_comes_back_empty(shelf):
    library, _ = shelf
    with library.edition(12) as edition:
        edition.migrate()

        losses = ask(edition, "losses", [NAMES[11]])["losses"]

    assert [(loss["words"], loss["what"], loss["rows"]) for loss in losses] == [
        ("Delete model Lending", "library_lending comes back empty", None),
        ("Remove field shelf from book", "library_book.shelf comes back without its values", None),
    ]


def test_code_that_has_nothing_to_take_back_loses_nothing(shelf):
    library, _ = shelf
    with library.edition(4) as edition:
        edition.migrate()

        losses = ask(edition, "losses", [NAMES[3]])["losses"]

    assert [(loss["what"], loss["rows"]) for loss in losses] == [("", None)] * 2


def test_a_migration_is_taken_back_and_applied_again(shelf):
    library, edition = shelf

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
    library, edition = shelf
    with library.edition(3) as later:
        later.migrate()

    reply = edition.ask(do="move", database="default", migrations=[NAMES[2]], backwards=True)

    assert reply["ok"] is False
    assert reply["error"].endswith(f"CannotMove: this release has not the files of {NAMES[2]}")
