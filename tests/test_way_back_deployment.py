"""Ways back to earlier releases whose database has moved on: the real command, folders of this machine."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.error_ids import without_ids
from tests.test_backups_deployment import Keeper
from tests.test_migrations_deployment import BLURB

GRADE = 'migrations.AddField("book", "grade", models.IntegerField(null=True))'


class Traveller(Keeper):
    """The bookshop that goes back and forth."""

    def rollback(self, *words):
        return self.run("deploy_rollback", "demo", *words)

    def applied(self, file=None):
        query = "SELECT name FROM django_migrations WHERE app = 'catalogue' ORDER BY id"
        with closing(sqlite3.connect(file or self.database)) as connection:
            return [name for (name,) in connection.execute(query)]

    def set_environment(self, **values):
        settings = self.project / "bookshop" / "settings.py"
        line = f"DEPLOY_TARGETS['demo']['ENV'] = {{**DEPLOY_TARGETS['demo']['ENV'], **{values!r}}}"
        settings.write_text(f"{settings.read_text()}\n{line}\n")

    def write(self, statement):
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(statement)


@pytest.fixture(scope="module")
def shop():
    # Not pytest's own folder: its path is too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="shop-") as folder:
        made = Traveller(Path(folder))
        made.deploy()
        yield made
        made.stop()


@pytest.fixture(scope="module")
def releases(shop):
    """Three more: with a column that may be null, with another one that is filled, and without both."""
    found = [shop.live]
    shop.set_target(KEEP_RELEASES=10)
    shop.change_book("    blurb = models.TextField(null=True)")
    shop.add_migration("0003_blurb", "0002_first_books", BLURB)
    shop.deploy()
    found.append(shop.live)
    shop.change_book("    grade = models.IntegerField(null=True)")
    shop.add_migration("0004_grade", "0003_blurb", GRADE)
    shop.deploy()
    found.append(shop.live)
    shop.write("UPDATE catalogue_book SET blurb = 'Read it.' WHERE id < 4")
    shop.reset_models()
    shop.change_book("    grade = models.IntegerField(null=True)")
    shop.add_migration("0005_no_blurb", "0004_grade", 'migrations.RemoveField("book", "blurb")')
    shop.deploy("--allow-breaking")
    found.append(shop.live)
    return found


#: As in MySQL, and on any database where a migration says so: what was done before it failed, stays.
TORN = """\
migrations.SeparateDatabaseAndState(database_operations=[
        migrations.AddIndex("book", models.Index(fields=["year"], name="by_year")),
        migrations.AddConstraint(
            "book", models.CheckConstraint(condition=models.Q(year__gt=3000), name="later")
        ),
    ])]
    atomic = False
    nothing = [\
"""


# The tests tell one story: each begins where the one before ended.


def test_what_the_earlier_release_cannot_do_without_is_not_taken_back_unasked(shop, releases):
    _, _, third, fourth = releases

    status, out, err = shop.rollback()

    assert status == 1, out
    assert (
        f"local: {third} cannot use sqlite {shop.database} as it is\n"
        "  catalogue.0005_no_blurb, to be reversed\n"
        f"    as it drops catalogue_book.blurb; the release {third} uses it: catalogue.Book.blurb\n"
        "    Remove field blurb from book: catalogue_book.blurb comes back without its values\n"
    ) in out
    assert err == (
        f"CommandError: {third} cannot use the database as it is: these migrations would have to be"
        " reversed, which can lose data: catalogue.0005_no_blurb.\n"
        f"To do that: manage.py deploy_rollback demo {third} --reverse-migrations.\n"
        f"To accept the errors: manage.py deploy_rollback demo {third} --keep-migrations.\n"
        f"Nothing changed: the host serves {fourth}, as before.\n"
    )
    assert shop.live == fourth
    assert "blurb" not in shop.columns()
    shop.check()


def test_it_is_taken_back_when_one_says_so(shop, releases):
    _, _, third, _ = releases
    shop.set_target(BACKUP=True)
    content = shop.content()

    status, out, err = shop.rollback("--reverse-migrations")

    assert (status, err) == (0, ""), out + err
    assert shop.live == third
    assert shop.applied()[-1] == "0004_grade"
    assert "blurb" in shop.columns()
    shop.check()
    [backup] = shop.backups()
    assert backup["before"] == "reversing catalogue.0005_no_blurb"
    assert shop.content(shop.folder / backup["file"]) == content


def test_twice_goes_back_two_and_new_columns_do_not_hurt(shop, releases):
    _, second, _, _ = releases

    status, out, err = shop.rollback()

    assert (status, err) == (0, ""), out + err
    assert shop.live == second
    assert f"local: {second} works with sqlite {shop.database} as it is\n" in out
    assert "  stays as it is: catalogue.0004_grade\n" in out
    assert shop.applied()[-1] == "0004_grade"
    shop.check()


def test_forward_again_applies_what_was_taken_back(shop, releases):
    _, second, _, fourth = releases

    status, out, err = shop.rollback(fourth)

    assert status == 1, out
    assert "drops catalogue_book.blurb; the live release uses it: catalogue.Book.blurb" in err
    assert shop.live == second

    status, out, err = shop.rollback(fourth, "--allow-breaking")

    assert (status, err) == (0, ""), out + err
    assert shop.live == fourth
    assert shop.applied()[-1] == "0005_no_blurb"
    assert "blurb" not in shop.columns()
    shop.check()


def test_a_release_that_fails_leaves_the_database_to_the_live_one(shop, releases):
    _, _, third, fourth = releases
    gunicorn = shop.root / "releases" / third / "venv" / "bin" / "gunicorn"
    aside = gunicorn.rename(gunicorn.with_name("aside"))
    gunicorn.write_text("#!/bin/sh\nexit 1\n")
    gunicorn.chmod(0o755)

    status, out, err = shop.rollback(third, "--reverse-migrations")

    aside.replace(gunicorn)
    assert status == 1, out + err
    assert err.endswith(
        f"The host serves {fourth}, as before. These were reversed and applied again:"
        " catalogue.0005_no_blurb; data that only they had room for, as in columns that they add, is lost.\n"
    )
    assert (
        "local: warning: reversed and applied again: catalogue.0005_no_blurb. Data that only they had"
        " room for, as in columns that they add, is lost. A backup may have it: deploy_restore.\n"
    ) in out
    assert shop.live == fourth
    assert shop.applied()[-1] == "0005_no_blurb"
    shop.check()


def test_nothing_is_taken_back_for_a_release_that_could_not_start(shop, releases):
    _, _, third, fourth = releases
    gunicorn = shop.root / "releases" / third / "venv" / "bin" / "gunicorn"
    aside = gunicorn.rename(gunicorn.with_name("aside"))

    status, out, err = shop.rollback(third, "--reverse-migrations")

    aside.rename(gunicorn)
    assert status == 1, out + err
    assert "process 'web' could not start: there is no program gunicorn" in err
    assert err.endswith(f"Nothing changed: the host serves {fourth}, as before.\n")
    assert "warning: reversed" not in out
    assert shop.applied()[-1] == "0005_no_blurb"
    shop.check()


def test_a_deployer_that_is_killed_leaves_the_database_to_the_live_one(shop, releases):
    _, _, third, fourth = releases
    gunicorn = shop.root / "releases" / third / "venv" / "bin" / "gunicorn"
    aside = gunicorn.rename(gunicorn.with_name("aside"))
    gunicorn.write_text("#!/bin/sh\nexec sleep 60\n")
    gunicorn.chmod(0o755)

    with shop.start("deploy_rollback", "demo", third, "--reverse-migrations", "--json") as process:
        while '"process.started"' not in process.stdout.readline():
            pass
        assert shop.applied()[-1] == "0004_grade"
        process.kill()
    deadline = time.monotonic() + 90
    while (shop.root / ".deploy" / "transaction.json").exists() and time.monotonic() < deadline:
        time.sleep(0.2)

    aside.replace(gunicorn)
    assert shop.applied()[-1] == "0005_no_blurb"
    assert shop.live == fourth
    shop.check()


def test_whoever_sits_at_a_terminal_is_asked(shop, releases):
    _, _, third, fourth = releases

    with shop.sit_at("deploy_rollback", "demo", third) as keyboard:
        shown = keyboard.read_until("Reverse them? [y/N]")
        keyboard.type("n\n")
        assert keyboard.end() == 1

    assert "catalogue.0005_no_blurb, to be reversed" in shown
    assert (shop.live, shop.applied()[-1]) == (fourth, "0005_no_blurb")

    with shop.sit_at("deploy_rollback", "demo", third) as keyboard:
        keyboard.read_until("Reverse them? [y/N]")
        keyboard.type("y\n")
        assert keyboard.end() == 0

    assert (shop.live, shop.applied()[-1]) == (third, "0004_grade")


def test_forward_again_what_takes_away_may_wait_for_confirm(shop, releases):
    _, _, third, fourth = releases
    shop.set_target(MIGRATIONS="phased")

    status, out, err = shop.rollback(fourth)

    shop.set_target(MIGRATIONS="refuse")
    assert (status, err) == (0, ""), out + err
    assert "  catalogue.0005_no_blurb, after confirm\n" in out
    assert (shop.live, shop.applied()[-1]) == (fourth, "0005_no_blurb")
    assert shop.states()[third] == "retired"


def test_before_a_backup_is_put_back_one_is_asked(shop, releases):
    content, name = shop.content(), shop.backups()[-1]["name"]

    with shop.sit_at("deploy_restore", "demo", name) as keyboard:
        shown = keyboard.read_until("Restore it, and lose that? [y/N]")
        keyboard.type("\n")
        assert keyboard.end() == 1

    assert "changes of rows that were there then are lost as well" in shown
    assert shop.content() == content
    shop.check()


def test_the_database_is_left_as_it_is_when_one_says_so(shop, releases):
    first, _, _, fourth = releases

    status, out, err = shop.rollback(first, "--keep-migrations")

    assert (status, err) == (0, ""), out + err
    assert shop.live == first
    assert shop.applied()[-1] == "0005_no_blurb"
    assert shop.rollback(fourth)[0] == 0
    assert shop.live == fourth


def test_it_is_taken_back_in_the_database_that_the_release_had(shop, releases):
    _, _, third, fourth = releases
    other = shop.database.with_name("other.sqlite3")
    shutil.copy(shop.database, other)
    shop.set_environment(BOOKSHOP_DATABASE=str(other))
    shop.deploy()

    status, out, err = shop.rollback(third, "--reverse-migrations")

    assert (status, err) == (0, ""), out + err
    assert (
        f"local: warning: the database 'default' of {third} is another one: sqlite {shop.database};"
        " that of the live release is sqlite ****, and data written there will no longer be used."
        " Their ENV differs in BOOKSHOP_DATABASE."
        " To go back with the code alone, deploy it again: manage.py deploy --revision.\n"
    ) in out
    assert (shop.applied()[-1], shop.applied(other)[-1]) == ("0004_grade", "0005_no_blurb")
    assert shop.live == third
    shop.check()

    shop.set_environment(BOOKSHOP_DATABASE=str(shop.database))
    assert shop.rollback(fourth, "--allow-breaking")[0] == 0


def test_what_cannot_be_taken_back_is_refused_with_its_name(shop, releases):
    _, _, _, fourth = releases
    shop.reset_models()
    shop.add_migration(
        "0006_for_ever",
        "0005_no_blurb",
        'migrations.RemoveField("book", "grade"), migrations.RunSQL("UPDATE catalogue_book SET year = year")',
    )
    shop.deploy("--allow-breaking")
    live = shop.live

    status, out, err = shop.rollback("--reverse-migrations")

    assert status == 1, out
    assert err == (
        f"CommandError: {fourth} cannot use the database as it is, and this cannot be reversed:"
        " catalogue.0006_for_ever: Raw SQL operation: UPDATE catalogue_book SET year = year.\n"
        "Deploy code that can; or restore an earlier backup: manage.py deploy_restore demo.\n"
        f"To accept the errors: manage.py deploy_rollback demo {fourth} --keep-migrations.\n"
        f"Nothing changed: the host serves {live}, as before.\n"
    )
    assert shop.live == live
    shop.check()


MEMO, NOTE = (
    f"migrations.RunPython(migrations.RunPython.noop, lambda apps, editor: {back}),"
    f' migrations.AddField("book", "{name}", models.CharField(max_length=9, default="x"))'
    for name, back in (("memo", "1 / 0"), ("note", "__import__('time').sleep(2)"))
)


def test_what_could_not_be_taken_back_is_as_it_was(shop):
    earlier = shop.live
    shop.change_book("    memo = models.CharField(max_length=9, default='x')")
    shop.add_migration("0007_memo", "0006_for_ever", MEMO)
    shop.deploy("--allow-breaking")
    live = shop.live

    status, out, err = shop.rollback(earlier, "--reverse-migrations")

    assert status == 1, out
    assert err.startswith(
        "CommandError: local: could not reverse catalogue.0007_memo: ZeroDivisionError: division by zero\n"
    )
    assert err.endswith(f"Nothing changed: the host serves {live}, as before.\n")
    assert "reversed and applied again" not in out
    assert shop.applied()[-1] == "0007_memo"
    shop.check()


def test_what_was_taken_back_before_is_told(shop):
    """By a failure, and by Ctrl-C, for which nothing is stopped half-way."""
    earlier, memo = sorted(shop.states())[-2:]
    assert shop.live == memo
    shop.change_book("    note = models.CharField(max_length=9, default='x')")
    shop.add_migration("0008_note", "0007_memo", NOTE)
    shop.deploy("--allow-breaking")
    live = shop.live
    in_vain = (
        f"The host serves {live}, as before. These were reversed and applied again: catalogue.0008_note;"
        " data that only they had room for, as in columns that they add, is lost.\n"
    )

    status, out, err = shop.rollback(earlier, "--reverse-migrations")

    assert (status, shop.live) == (1, live), out
    assert err.endswith(f"\n{in_vain}")
    assert "local: warning: reversed and applied again: catalogue.0008_note. Data that only" in out

    with shop.start("deploy_rollback", "demo", memo, "--reverse-migrations") as process:
        while process.stdout.readline() != "local: reverse catalogue.0008_note ...\n":
            pass
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert (process.returncode, shop.live) == (130, live), out
    assert without_ids(err) == f"CommandError: Interrupted. {in_vain}"
    assert shop.applied()[-1] == "0008_note"
    shop.check()


def test_of_a_part_that_was_applied_after_confirm_the_way_back_warns(shop):
    earlier = shop.live
    shop.set_target(MIGRATIONS="phased")
    shop.add_migration("0009_torn", "0008_note", TORN)

    status, out, err = shop.run("deploy", "demo")

    live = shop.live
    assert (status, err) == (0, ""), out
    assert live != earlier
    assert (
        "catalogue.0009_torn may be partly applied, and sqlite **** cannot roll that"
        " back. Look at its tables, undo that part by hand or from a backup,"
    ) in out
    assert shop.ask("SELECT type FROM sqlite_master WHERE name = 'by_year'") == [("index",)]
    assert shop.applied()[-1] == "0008_note"

    _, out, _ = shop.rollback(earlier)

    assert (
        f"local: warning: catalogue.0009_torn may be partly applied since {live} was confirmed;"
        f" it is not known whether {earlier} works with that. Look at the tables;"
    ) in out
