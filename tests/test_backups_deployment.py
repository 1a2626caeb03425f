"""Backups in whole deployments: the real command, the example project, folders of this machine."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.test_migrations_deployment import BLURB, Catalogue


class Keeper(Catalogue):
    """The bookshop that is backed up."""

    @property
    def folder(self):
        return self.root / "shared" / "backups"

    def backups(self):
        return [json.loads(file.read_text()) for file in sorted(self.folder.glob("*.json"))]

    def content(self, file=None):
        """The books, without their stock, which the worker changes; and how the tables are made."""
        with closing(sqlite3.connect(file or self.database)) as connection:
            books = connection.execute("SELECT id, title, slug, author_id, year FROM catalogue_book")
            return [*books, *connection.execute("SELECT sql FROM sqlite_master ORDER BY name")]


@pytest.fixture(scope="module")
def shop():
    # Not pytest's own folder: its path is too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="shop-") as folder:
        made = Keeper(Path(folder))
        made.deploy()
        yield made
        made.stop()


# The tests tell one story: each begins where the one before ended.


def test_the_plan_says_when(shop):
    shop.set_target(BACKUP=True, KEEP_BACKUPS=2)
    shop.change_mark("second edition")

    _, out, _ = shop.run("deploy", "demo", "--plan")

    line = "  backup: of each database for which a migration is pending, ahead of it; 2 are kept"
    assert line in out.splitlines()


def test_nothing_is_dumped_where_nothing_is_migrated(shop):
    events, _ = shop.events()

    assert events[-1]["outcome"] == "deployed"
    assert not [event for event in events if event["event"].startswith("backup.")]
    assert shop.backups() == []


def test_ahead_of_a_migration_the_database_is_dumped(shop):
    shop.change_book("    blurb = models.TextField(null=True)")
    shop.add_migration("0003_blurb", "0002_first_books", BLURB)
    before, content = shop.live, shop.content()

    status, out, err = shop.run("deploy", "demo")

    assert (status, err) == (0, ""), out + err
    [backup] = shop.backups()
    assert f"local: backed up sqlite {shop.database}: {backup['name']}, " in out
    assert (backup["release"], backup["before"]) == (before, "migrating catalogue.0003_blurb")
    assert "catalogue.0002_first_books" in backup["migrations"]
    assert "catalogue.0003_blurb" not in backup["migrations"]
    assert shop.content(shop.folder / backup["file"]) == content
    assert "blurb" in shop.columns()


def test_a_backup_that_fails_stops_the_deployment(shop):
    before, columns = shop.live, shop.columns()
    shop.change_book("    praise = models.TextField(null=True)")
    operation = 'migrations.AddField("book", "praise", models.TextField(null=True))'
    shop.add_migration("0004_praise", "0003_blurb", operation)
    aside = shop.folder.rename(shop.folder.with_name("aside"))
    shop.folder.write_text("no folder")

    _, err = shop.events(status=1)

    shop.folder.unlink()
    aside.rename(shop.folder)
    assert err == (
        f"CommandError: local: no backup is possible: {shop.folder} is not a folder\n"
        "Move away what is there.\n"
        f"Nothing changed: the host serves {before}, as before.\n"
    )
    assert (shop.live, shop.columns()) == (before, columns)


def test_with_contract_what_only_adds_is_not_dumped(shop):
    shop.set_target(BACKUP="contract")

    events, _ = shop.events()

    assert events[-1]["outcome"] == "deployed"
    assert "praise" in shop.columns()
    assert len(shop.backups()) == 1


def test_what_waits_for_confirm_is_dumped_then(shop):
    shop.set_target(MIGRATIONS="phased")
    shop.reset_models()
    shop.change_book("    blurb = models.TextField(null=True)")
    shop.add_migration("0005_no_praise", "0004_praise", 'migrations.RemoveField("book", "praise")')

    events, _ = shop.events()

    assert events[-1]["outcome"] == "deployed"
    kinds = [event["event"] for event in events if event["event"] in ("confirmed", "backup.finished")]
    assert kinds == ["confirmed", "backup.finished"]
    assert "praise" not in shop.columns()
    assert shop.backups()[-1]["before"] == "migrating catalogue.0005_no_praise"
    assert shop.backups()[-1]["release"] == shop.live


def test_backups_are_listed(shop):
    first, second = shop.backups()

    status, out, err = shop.run("deploy_restore", "demo")

    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == [second["name"], first["name"]]
    assert out.splitlines()[1].endswith(
        f"  sqlite {shop.database}, ahead of migrating catalogue.0003_blurb"
    ), out
    _, out, _ = shop.run("deploy_restore", "demo", "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["event"] for event in events] == ["host.backup"] * 2
    assert events[0]["release"] == second["release"]


def test_a_damaged_backup_is_listed_as_such(shop):
    first, second = shop.backups()
    dump = shop.folder / first["file"]
    content = dump.read_bytes()
    dump.write_bytes(content[:100])
    why = (
        f"CommandError: local: The backup {first['name']} is damaged:"
        f" its dump {dump.name} has 100 bytes, and had {len(content)}.\n"
        "Take another one; what is left of this one lies in ROOT/shared/backups.\n"
    )

    status, out, err = shop.run("deploy_restore", "demo")
    refused = shop.run("deploy_restore", "demo", first["name"], "--yes")
    dump.write_bytes(content)

    assert (status, [line.split()[0] for line in out.splitlines()], err) == (1, [second["name"]], why)
    assert (refused[0], refused[2]) == (1, why)


def test_nothing_is_put_back_unasked(shop):
    content = shop.content()

    status, out, err = shop.run("deploy_restore", "demo", shop.backups()[0]["name"])

    assert (status, out) == (2, "")
    assert err == (
        "CommandError: Nothing was restored: there is no terminal to ask at.\n"
        "Say --yes if what came after the backup may be lost.\n"
    )
    assert shop.content() == content


def test_an_unknown_backup(shop):
    names = ", ".join(backup["name"] for backup in reversed(shop.backups()))

    status, _, err = shop.run("deploy_restore", "demo", "yesterday", "--yes")

    assert (status, err) == (
        2,
        f"CommandError: There is no backup 'yesterday' of 'demo'.\nThere is: {names}.\n",
    )


def test_a_backup_is_put_back(shop):
    latest = shop.backups()[-1]
    was = shop.content(shop.folder / latest["file"])
    with closing(sqlite3.connect(shop.database)) as connection, connection:
        connection.execute("DELETE FROM catalogue_book WHERE id = 1")
        connection.execute(
            "INSERT INTO catalogue_book (title, slug, author_id, year, cover, stock)"
            " SELECT 'Later', 'later', author_id, year, '', 1 FROM catalogue_book LIMIT 1"
        )
    now, live = shop.content(), shop.live

    status, out, err = shop.run("deploy_restore", "demo", latest["name"], "--yes")

    assert (status, err) == (0, ""), out + err
    assert shop.content() == was
    assert shop.live == live
    assert "1 row that came later would be lost; 1 row that went since would come back" in out
    assert "  migrations that were applied since: catalogue.0005_no_praise\n" in out
    assert (
        "warning: the database no longer has these migrations: catalogue.0005_no_praise."
        " If the live release needs them, apply them again: manage.py deploy_run demo -- migrate;"
        " or go back to what was live then:"
        f" manage.py deploy_rollback demo {latest['release']}.\n"
    ) in out
    safe = shop.backups()[-1]
    assert safe["before"] == f"restoring {latest['name']}"
    assert shop.content(shop.folder / safe["file"]) == now
    shop.check()
    assert "restore" in shop.run("deploy_history", "demo")[1].splitlines()[0]
