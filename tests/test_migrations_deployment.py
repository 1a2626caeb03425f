"""Migrations in whole deployments: the real command, the example project, folders of this machine."""

from __future__ import annotations

import json
import re
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.test_local_deployment import CHECKOUT, Shop

MIGRATION = """\
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("catalogue", "{after}")]
    operations = [{operation}]
"""

BLURB = 'migrations.AddField("book", "blurb", models.TextField(null=True))'


class Catalogue(Shop):
    """The bookshop whose books change."""

    @property
    def database(self):
        return self.root / "shared" / "database.sqlite3"

    def ask(self, query):
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query).fetchall()

    def columns(self):
        return {row[1] for row in self.ask("PRAGMA table_info(catalogue_book)")}

    def change_book(self, line):
        """Add a line to the model."""
        path = self.project / "catalogue" / "models.py"
        place = "    restocked = models.DateTimeField(null=True, editable=False)\n"
        path.write_text(path.read_text().replace(place, f"{place}{line}\n"))

    def add_migration(self, name, after, operation):
        text = MIGRATION.format(after=after, operation=operation)
        (self.project / "catalogue" / "migrations" / f"{name}.py").write_text(text)

    def reset_models(self):
        path = Path("catalogue", "models.py")
        (self.project / path).write_text((CHECKOUT / "example_project" / path).read_text())

    def events(self, *options, status=0):
        found, out, err = self.run("deploy", "demo", "--json", *options)
        assert found == status, out + err
        return [json.loads(line) for line in out.splitlines()], err


def kinds(events, *wanted):
    """The events of these kinds in their order, each with what it is about."""
    return [
        (event["event"], event.get("step", event.get("release", "")))
        for event in events
        if event["event"] in wanted
    ]


@pytest.fixture(scope="module")
def shop():
    # Not pytest's own folder: its path is too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="shop-") as folder:
        made = Catalogue(Path(folder))
        made.deploy()
        yield made
        made.stop()


# The tests tell one story: each begins where the one before ended.


def test_models_without_a_migration_are_stopped_here(shop):
    shop.change_book("    blurb = models.TextField(null=True)")

    status, out, err = shop.run("deploy", "demo")

    assert (status, out) == (1, "")
    assert err == (
        "CommandError: Models have changed, and no migration says so:"
        " catalogue.0003_book_blurb (Add field blurb to book).\n"
        "Run: manage.py makemigrations catalogue.\n"
    )


def test_a_new_column_is_planned_and_made(shop):
    shop.add_migration("0003_blurb", "0002_first_books", BLURB)

    status, out, err = shop.run("deploy", "demo")

    assert (status, err) == (0, ""), out + err
    assert (
        f"local: 1 migration of sqlite {shop.database}\n"
        "  catalogue.0003_blurb, before the switch\n"
        "    + Add field blurb to book: adds the column catalogue_book.blurb\n"
    ) in out
    assert "blurb" in shop.columns()


def test_a_column_that_the_live_release_uses_is_not_dropped(shop):
    before = shop.live
    shop.reset_models()
    shop.add_migration("0004_no_blurb", "0003_blurb", 'migrations.RemoveField("book", "blurb")')

    status, out, err = shop.run("deploy", "demo")

    assert status == 1
    assert "    - Remove field blurb from book: drops catalogue_book.blurb\n" in out
    assert err == (
        "CommandError: local: these migrations would break the live release\n"
        "  | catalogue.0004_no_blurb: Remove field blurb from book\n"
        "  |     drops catalogue_book.blurb; the live release uses it: catalogue.Book.blurb\n"
        'What is not needed any more goes after the switch with "MIGRATIONS": "phased".\n'
        "To accept the errors that the live release shows until the switch: deploy --allow-breaking.\n"
        f"Nothing changed: the host serves {before}, as before.\n"
    )
    assert (shop.live, shop.mark()) == (before, "first edition")
    assert "blurb" in shop.columns()


def test_phased_it_is_dropped_once_nobody_uses_it(shop):
    before = shop.live
    shop.set_target(MIGRATIONS="phased")

    events, _ = shop.events()

    assert "blurb" not in shop.columns()
    assert kinds(events, "step.skipped", "confirmed", "process.stopping", "step.started", "step.finished")[
        -5:
    ] == [
        ("confirmed", shop.live),
        ("process.stopping", before),
        ("process.stopping", before),
        ("step.started", "migrate --noinput"),
        ("step.finished", "migrate --noinput"),
    ]
    skipped = next(event for event in events if event["event"] == "step.skipped")
    assert skipped["reason"] == "its migrations wait until the release is confirmed"
    assert events[-1]["outcome"] == "deployed"
    told = shop.run("deploy_history", "demo", "--lines", "2", "--json")[1].splitlines()
    later, deployment = map(json.loads, told)
    assert (later["action"], later["release"]) == ("migrate", shop.live)
    assert later["applied"] == ["catalogue.0004_no_blurb"]
    (phase,) = later["phases"]
    assert (phase["phase"], phase["step"]) == ("migrate", "migrate --noinput")
    assert (deployment["action"], deployment["applied"]) == ("deploy", [])
    assert later["by"] == deployment["by"]
    shop.check()


def test_a_migration_that_fails_after_confirm_leaves_the_release_live(shop):
    with closing(sqlite3.connect(shop.database)) as connection, connection:
        connection.execute("UPDATE catalogue_book SET year = 1900")
    constraint = 'models.UniqueConstraint(fields=["year"], name="one_a_year")'
    shop.add_migration("0005_years", "0004_no_blurb", f'migrations.AddConstraint("book", {constraint})')
    models = shop.project / "catalogue" / "models.py"
    models.write_text(
        models.read_text().replace(
            '        ordering = ["title"]\n',
            f'        ordering = ["title"]\n        constraints = [{constraint}]\n',
        )
    )

    events, _ = shop.events()

    warning = next(event for event in events if "last migrations" in event.get("message", ""))
    assert warning["message"].startswith(f"{shop.live} is live, but its last migrations were not applied: ")
    assert "IntegrityError: UNIQUE constraint failed" in warning["message"]
    assert warning["remedy"] == "Fix it, and run this again: manage.py deploy demo."
    assert events[-1]["outcome"] == "deployed"
    shop.check()


def test_the_next_deployment_makes_up_for_it(shop):
    before = shop.live
    with closing(sqlite3.connect(shop.database)) as connection, connection:
        connection.execute("UPDATE catalogue_book SET year = 1900 + id")

    status, out, err = shop.run("deploy", "demo")

    assert (status, err) == (0, ""), out + err
    assert "  local: serves it already; still to be migrated: catalogue.0005_years\n" in out
    assert shop.ask("SELECT name FROM django_migrations WHERE name = '0005_years'")
    assert shop.live == before
    assert "still to be migrated" not in shop.run("deploy", "demo")[1]


def test_a_column_that_others_cannot_fill_is_refused_and_can_be_borne(shop):
    before = shop.live
    shop.change_book("    grade = models.IntegerField(default=1)")
    operation = 'migrations.AddField("book", "grade", models.IntegerField(default=1))'
    shop.add_migration("0006_grade", "0005_years", operation)

    _, err = shop.events(status=1)

    assert (
        "  |     adds catalogue_book.grade, which has no default in the database, so that others cannot"
        " insert; the live release uses it: catalogue.Book; and it cannot wait, as the new release needs it\n"
        "Give the new field a db_default, or let it be null, and recreate the migration: one more"
        " after it does not help.\n"
    ) in err
    assert shop.live == before

    events, _ = shop.events("--allow-breaking")

    assert events[-1]["outcome"] == "deployed"
    assert "grade" in shop.columns()


def test_code_that_is_behind_its_database_is_refused(shop):
    before = shop.live
    (shop.project / "catalogue" / "migrations" / "0006_grade.py").unlink()
    models = shop.project / "catalogue" / "models.py"
    models.write_text(re.sub(r"    grade = .*\n", "", models.read_text()))

    _, err = shop.events(status=1)

    assert err.startswith(
        "CommandError: local: the database 'default' is ahead of this code,"
        " which lacks: catalogue.0006_grade\n"
        "Is this an older revision, or another branch? "
    )
    assert shop.live == before


def test_code_that_nobody_can_look_into_is_warned_of(shop):
    operation = "migrations.RunPython(migrations.RunPython.noop), migrations.RunSQL('SELECT 1')"
    shop.add_migration(
        "0006_grade", "0005_years", f"migrations.AddField('book', 'grade', {NULL}), {operation}"
    )
    shop.change_book("    grade = models.IntegerField(null=True)")
    shop.add_migration("0007_sql", "0006_grade", operation)

    events, _ = shop.events()

    messages = [event["message"] for event in events if event["event"] == "warning"]
    assert (
        "it is unknown whether these migrations break the live release:"
        " catalogue.0007_sql: Raw SQL operation: SELECT 1"
    ) in messages


def test_migrations_that_were_applied_before_a_failure_stay_and_are_named(shop):
    """The old release is served as before, and yet not everything is as it was."""
    before = shop.live
    shop.add_migration("0008_shelf", "0007_sql", f"migrations.AddField('book', 'shelf', {NULL})")
    shop.change_book("    shelf = models.IntegerField(null=True)")
    shop.add_command("explode", "raise CommandError('bang')")
    shop.set_target(STEPS=["migrate --noinput", "explode"])

    status, _, err = shop.run("deploy", "demo")

    assert status == 1
    assert err.splitlines()[-1] == (
        f"The host serves {before}, as before. These migrations were applied and stay: catalogue.0008_shelf."
    )
    assert (shop.live, "shelf" in shop.columns()) == (before, True)
    shop.set_target(STEPS=["migrate --noinput"])


NULL = "models.IntegerField(null=True)"


def test_what_a_process_of_its_own_applies_is_known_as_well(shop):
    shop.add_migration("0009_row", "0008_shelf", f"migrations.AddField('book', 'row', {NULL})")
    shop.change_book("    row = models.IntegerField(null=True)")
    shop.set_target(STEPS=[{"COMMAND": "migrate --noinput", "ISOLATED": True}])

    events, _ = shop.events()

    (finished,) = [event for event in events if event["event"] == "step.finished"]
    assert finished["result"] == {"applied": ["catalogue.0009_row"]}
    told = json.loads(shop.run("deploy_history", "demo", "--lines", "1", "--json")[1])
    assert told["applied"] == ["catalogue.0009_row"]
    shop.set_target(STEPS=["migrate --noinput"])


def test_staging_with_the_database_of_production_is_stopped(shop):
    """By mistake: its own ROOT, and production's database."""
    settings = shop.project / "bookshop" / "settings.py"
    root = shop.root.parent / "staging"
    entry = {"ROOT": str(root), "ENV": {"BOOKSHOP_DATABASE": str(shop.database)}}
    text = (
        "\nfor _name in ['staging']:\n"
        f"    DEPLOY_TARGETS[_name] = {{**DEPLOY_TARGETS['demo'], **{entry!r}}}\n"
        "    DEPLOY_TARGETS[_name]['ENV'] |= DEPLOY_TARGETS['demo']['ENV']\n"
    )
    settings.write_text(settings.read_text() + text)
    before = shop.ask("SELECT * FROM django_migrations")

    status, out, err = shop.run("deploy", "staging", "--json")

    assert status == 1
    events = [json.loads(line) for line in out.splitlines()]
    assert kinds(events, "step.started", "process.started") == []
    masked = "****"
    assert err.splitlines()[0].startswith(
        f"CommandError: local: the database 'default' of 'staging' is that of 'demo': sqlite {masked},"
        f" which 'demo' ({shop.root} on "
    )
    assert err.splitlines()[1] == (
        "Give 'staging' a database of its own: look at its ENV and SETTINGS_MODULE."
        " If the two are to share it, or 'demo' was renamed,"
        ' say "DATABASE_SHARED_WITH": ["demo"] in the entry of \'staging\'.'
    )
    assert shop.ask("SELECT * FROM django_migrations") == before
    assert not (root / "current").exists()


def test_targets_may_share_a_database_on_purpose(shop):
    settings = shop.project / "bookshop" / "settings.py"
    settings.write_text(
        settings.read_text() + "\nDEPLOY_TARGETS['staging']['DATABASE_SHARED_WITH'] = ['demo']\n"
        "DEPLOY_TARGETS['staging'].update(PROCESSES={}, RESTART=['true'], HEALTH_CHECK=None)\n"
    )

    status, out, err = shop.run("deploy", "staging")

    assert (status, err) == (0, ""), out + err
    assert shop.ask("SELECT target FROM django_deploy_site ORDER BY target") == [("demo",), ("staging",)]


def test_what_happens_in_an_empty_database_concerns_nobody(shop):
    """The site moves to another one; what its migrations add and take away again was never in use there."""
    moved = shop.root.parent / "moved.sqlite3"
    settings = shop.project / "bookshop" / "settings.py"
    text = f"\nDEPLOY_TARGETS['demo']['ENV'] |= {{'BOOKSHOP_DATABASE': {str(moved)!r}}}\n"
    settings.write_text(settings.read_text() + text)
    shop.set_target(MIGRATIONS="refuse")

    status, out, err = shop.run("deploy", "demo")

    assert (status, err) == (0, ""), out + err
    assert "unsafe" not in out
    with closing(sqlite3.connect(moved)) as connection:
        assert connection.execute("SELECT 1 FROM django_migrations WHERE name = '0004_no_blurb'").fetchall()
