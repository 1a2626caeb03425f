"""A chain of twelve migrations on real databases: what each does, and whether the code before bears it."""

from __future__ import annotations

import re
from contextlib import ExitStack, closing

import pytest

from django_deploy.host.judgement import Code, judge
from tests.library.editions import LAST, MIGRATIONS, Edition


@pytest.fixture(scope="session")
def story(server, tmp_path_factory):
    """Edition by edition: its plan, how old and new code judge it, and what was applied."""
    vendor, create = server
    database, folder = create("chain"), tmp_path_factory.mktemp("editions")
    told, before = {}, None
    with ExitStack() as stack:
        for number in range(1, LAST + 1):
            edition = stack.enter_context(closing(Edition(number, database, folder)))
            plan, own = edition.plan(), edition.tables()
            told[number] = {
                "vendor": vendor,
                "plan": plan["migrations"],
                "first": judge(plan["migrations"], [], "refuse"),
                "old": [Code("the live release", before)],
                "new": [Code("the live release", own)],
                "applied": edition.migrate(),
            }
            before = own
    return told


#: By edition: category, reversible, and what it does, operation by operation.
OPERATIONS = {
    2: [
        ("expand", True, "adds the column library_book.subtitle"),
        ("expand", True, "adds the column library_book.copies"),
    ],
    3: [
        (
            "contract",
            True,
            "adds library_book.language, which has no default in the database, so that others cannot insert",
        )
    ],
    4: [
        ("opaque", True, "runs code with an unknown effect"),
        ("opaque", False, "runs SQL with an unknown effect"),
    ],
    5: [
        ("expand", True, "widens library_book.title from varchar(200) to varchar(300)"),
        ("expand", True, "widens library_book.rank from smallint to integer"),
    ],
    6: [("contract", True, "narrows library_book.isbn from varchar(13) to varchar(10)")],
    7: [("contract", True, "does not let library_book.subtitle be null any more")],
    8: [("expand", True, "adds an index to library_book"), ("expand", True, "")],
    9: [("contract", True, "lets library_book.isbn have no value twice")],
    10: [
        ("contract", True, "renames library_book.pages to page_count"),
        ("contract", True, "renames the table library_loan to library_lending"),
    ],
    11: [("expand", True, "")],
    12: [
        ("contract", True, "drops library_book.shelf"),
        ("contract", True, "drops the table library_lending"),
    ],
}

#: By edition: who of the code before uses what the migration takes.
USES = {
    3: ["library.Book"],
    6: ["library.Book.isbn"],
    7: ["library.Book.subtitle"],
    9: ["library.Book.isbn"],
    10: ["library.Book.pages", "library.Loan"],
    12: ["library.Book.shelf", "library.Lending"],
}


@pytest.mark.parametrize("number", OPERATIONS)
def test_what_each_migration_does(story, number):
    (migration,) = story[number]["plan"]

    assert migration["name"] == f"library.{MIGRATIONS[number - 1].removesuffix('.py')}"
    assert [
        (
            operation["category"],
            operation["reversible"],
            "; ".join(effect["what"] for effect in operation["effects"]),
        )
        for operation in migration["operations"]
    ] == OPERATIONS[number]


@pytest.mark.parametrize("number", OPERATIONS)
def test_what_the_code_before_could_not_bear_is_refused(story, number):
    verdict = judge(story[number]["plan"], story[number]["old"], "refuse")

    does = [what for category, _, what in OPERATIONS[number] if category == "contract"]
    assert [refusal.reason for refusal in verdict.refusals] == [
        f"{what}; the live release uses it: {use}"
        for what, use in zip(does, USES.get(number, ()), strict=True)
    ]


@pytest.mark.parametrize("number", OPERATIONS)
def test_what_the_code_does_not_use_any_more_passes(story, number):
    """The live release is that of the edition already; its migration was not applied with it."""
    assert judge(story[number]["plan"], story[number]["new"], "refuse").refusals == []


@pytest.mark.parametrize("number", OPERATIONS)
def test_where_nothing_runs_everything_passes(story, number):
    assert story[number]["first"].refusals == []
    assert story[number]["first"].opaque == []


@pytest.mark.parametrize("number", OPERATIONS)
def test_code_that_cannot_say_what_it_uses_is_treated_with_care(story, number):
    verdict = judge(story[number]["plan"], [Code("the live release", None)], "refuse")

    does = [what for category, _, what in OPERATIONS[number] if category == "contract"]
    assert [refusal.reason for refusal in verdict.refusals] == [
        f"{what}; whether the live release uses it is not known" for what in does
    ]


#: By edition: whether its migration waits for confirm, or cannot.
PHASES = {3: "cannot", 6: "waits", 7: "waits", 9: "waits", 10: "cannot", 12: "waits"}


@pytest.mark.parametrize("number", OPERATIONS)
def test_phases(story, number):
    verdict = judge(story[number]["plan"], story[number]["old"], "phased")

    (name,) = (migration["name"] for migration in story[number]["plan"])
    phase = PHASES.get(number, "before")
    assert verdict.deferred == ([] if phase == "before" else [name])
    assert bool(verdict.refusals) == (phase == "cannot")


def test_the_migrations_are_applied(story):
    assert [name for number in story for name in story[number]["applied"]] == [
        f"library.{name.removesuffix('.py')}" for name in MIGRATIONS
    ]


def test_all_at_once(server, tmp_path):
    """From the second edition to the last: what can be done before, and what has to wait."""
    vendor, create = server
    database = create("leap")
    with closing(Edition(2, database, tmp_path)) as old, closing(Edition(LAST, database, tmp_path)) as new:
        old.migrate()
        running, plan = [Code("the live release", old.tables())], new.plan()

    # MySQL has no transaction around what it does to tables.
    assert {migration["is_whole"] for migration in plan["migrations"]} == {vendor != "mysql"}
    verdict = judge(plan["migrations"], running, "phased")

    assert verdict.deferred == [f"library.{name.removesuffix('.py')}" for name in MIGRATIONS[2:]]
    reasons = {refusal.migration: refusal.reason for refusal in verdict.refusals}
    assert reasons["library.0005_wider"] == (
        "widens library_book.rank from smallint to integer; the new release needs that before the switch,"
        " but it comes after library.0004_fill, which has to wait"
    )


def test_a_database_is_empty_until_something_is_made_in_it(server, tmp_path):
    """Whose it is may be written down already."""
    _, create = server
    owner = {"target": "staging", "root": "/srv/shop", "host": "web1"}
    with closing(Edition(1, create("empty"), tmp_path)) as edition:
        before = edition.plan()["is_empty"]
        assert edition.ask(do="guard", database="default", owner=owner, wait=9)["ok"]
        edition.ask(do="unguard")
        signed = edition.plan()["is_empty"]
        edition.migrate()
        after = edition.plan()["is_empty"]

    assert (before, signed, after) == (True, True, False)


SQUASHED = """\
from django.db import migrations


class Migration(migrations.Migration):
    replaces = [("library", "{first}"), ("library", "{second}")]
    initial = True
    dependencies = []
    operations = []
"""


def test_what_was_squashed_is_neither_ahead_nor_in_the_way(server, tmp_path):
    """The parts are applied, and there is no record of the whole; as later, once they are gone."""
    first, second = (name.removesuffix(".py") for name in MIGRATIONS[:2])
    _, create = server
    database = create("squashed")
    with closing(Edition(2, database, tmp_path)) as edition:
        edition.migrate()
    text = SQUASHED.format(first=first, second=second)
    (tmp_path / "edition_2" / f"{first}_squashed_{second}.py").write_text(text)

    with closing(Edition(2, database, tmp_path)) as edition:
        both = edition.plan()
        edition.migrate()
    for name in MIGRATIONS[:2]:
        (tmp_path / "edition_2" / name).unlink()
    with closing(Edition(2, database, tmp_path)) as edition:
        alone = edition.plan()

    assert (both["ahead"], both["migrations"]) == ([], [])
    assert (alone["ahead"], alone["migrations"]) == ([], [])


@pytest.fixture
def books(tmp_path):
    """Three migrations are applied, and the files may change."""
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "database")}
    with closing(Edition(3, database, tmp_path)) as edition:
        edition.migrate()
    return Books(database, tmp_path)


class Books:
    def __init__(self, database, folder):
        self.database, self.folder = database, folder

    @property
    def files(self):
        return self.folder / "edition_3"

    def squash(self, name, first, last):
        """As ``squashmigrations`` does; its parts and what says so are gone once all sites have it."""
        parts = [each.removesuffix(".py") for each in MIGRATIONS[first - 1 : last]]
        after = [] if first == 1 else [("library", MIGRATIONS[first - 2].removesuffix(".py"))]
        text = (
            "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
            f"    replaces = {[('library', part) for part in parts]}\n    dependencies = {after}\n"
        )
        (self.files / f"{name}.py").write_text(text)
        self.migrate()
        for part in parts:
            (self.files / f"{part}.py").unlink()
        (self.files / f"{name}.py").write_text(re.sub("    replaces = .*\n", "", text))

    def migrate(self):
        with closing(Edition(3, self.database, self.folder)) as edition:
            edition.migrate()

    def ahead(self):
        with closing(Edition(3, self.database, self.folder)) as edition:
            return edition.plan()["ahead"]


FIRST, SECOND, THIRD = (name.removesuffix(".py") for name in MIGRATIONS[:3])


def test_a_branch_that_is_not_here_is_missed_behind_others_too(books):
    """Both branches were deployed, one after the other."""
    (books.files / f"{SECOND}.py").unlink()
    third = books.files / f"{THIRD}.py"
    third.write_text(third.read_text().replace(SECOND, FIRST))

    assert books.ahead() == [f"library.{SECOND}"]


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        (f"{FIRST}_squashed_{THIRD}", 1, 3),
        ("0001_anew", 1, 3),
        (f"{SECOND}_squashed_{THIRD}", 2, 3),
    ],
)
def test_what_was_squashed_long_ago_is_not_missed(books, name, first, last):
    books.squash(name, first, last)

    assert books.ahead() == []


def test_what_was_squashed_hides_no_later_one(books):
    (books.files / f"{THIRD}.py").unlink()
    books.squash(f"{FIRST}_squashed_{SECOND}", 1, 2)

    assert books.ahead() == [f"library.{THIRD}"]
