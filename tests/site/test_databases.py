"""Which database it is, whose, who migrates it just now, and how large it is: on real servers."""

from __future__ import annotations

import re
import shutil
import sqlite3
import stat
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.library.editions import Edition

SALT = "pepper"


@pytest.fixture
def start(tmp_path):
    """Starts the site's side of a deployment: an edition and its database."""
    with ExitStack() as stack:
        yield lambda number, database: stack.enter_context(closing(Edition(number, database, tmp_path)))


@pytest.fixture(scope="module")
def databases(server):
    """Two of one server, by their names."""
    _, create = server
    return {name: create(name) for name in ("one", "two")}


def guard(edition, target, wait=0.0):
    owner = {"target": target, "root": f"/srv/{target}", "host": "web1"}
    return edition.ask(do="guard", database="default", owner=owner, wait=wait)


def identify(edition, salt=SALT):
    reply = edition.ask(do="identify", commands=[["migrate"]], salt=salt)
    return reply["databases"]["default"]


def reach(edition):
    reply = edition.ask(do="reach")
    assert reply["ok"], reply
    return reply["databases"]["default"]


def owners(edition):
    return [owner["target"] for owner in edition.plan()["owners"]]


def test_a_database_is_known_by_any_name(server, databases, start):
    vendor, _ = server
    other_name = {**databases["one"], **({} if vendor == "sqlite" else {"HOST": "localhost"})}
    first, second = start(1, databases["one"]), start(1, other_name)

    assert identify(first)["fingerprint"] == identify(second)["fingerprint"]
    assert identify(first)["fingerprint"] != identify(first, "salt")["fingerprint"]
    assert identify(first)["fingerprint"] != identify(start(1, databases["two"]))["fingerprint"]
    assert identify(first)["vendor"] == vendor
    assert re.fullmatch(rf"{vendor} .*one( on 127.0.0.1:\d+)?", identify(first)["place"]), identify(first)[
        "place"
    ]


def test_a_server_that_does_not_answer(server, databases, start):
    vendor, _ = server
    if vendor == "sqlite":
        wanted = {**databases["one"], "NAME": "/nowhere/at/all"}
        assert "fingerprint" in identify(start(1, wanted))  # a file is known by its path
        return

    found = identify(start(1, {**databases["one"], "PORT": 1}))

    assert "fingerprint" not in found
    assert found["error"].startswith("OperationalError: ")


def test_a_database_is_reached(server, start):
    vendor, create = server
    edition = start(1, create("three"))
    if vendor == "sqlite":
        assert reach(edition)["error"].startswith("there is no file ")
        edition.migrate()
    else:
        assert reach(edition)["error"] == "it answers, and has no tables"
        edition.migrate()

    assert reach(edition) == {"vendor": vendor, "place": identify(edition)["place"]}


def test_a_file_that_is_no_database(tmp_path, start):
    file = tmp_path / "broken.sqlite3"
    file.write_text("This is no database, and as long as a page must be. " * 100)

    found = reach(start(1, {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)}))

    assert found["error"] == "DatabaseError: file is not a database"
    assert found["place"] == f"sqlite {file}"


def modes(folder):
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.glob("*.sqlite3*")}


def test_a_file_of_ours_is_for_its_owner_only(tmp_path, start):
    options = {"init_command": "PRAGMA journal_mode=WAL"}
    database = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "x.sqlite3"),
        "OPTIONS": options,
    }
    edition = start(1, database)

    assert guard(edition, "production") == {"ok": True}
    edition.migrate()

    with closing(sqlite3.connect(database["NAME"])) as connection:
        connection.execute("SELECT count(*) FROM django_migrations")
        assert modes(tmp_path) == dict.fromkeys(("x.sqlite3", "x.sqlite3-shm", "x.sqlite3-wal"), 0o600)


def test_a_file_that_is_there_keeps_its_mode(tmp_path, start):
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "x.sqlite3")}
    (tmp_path / "x.sqlite3").touch()
    (tmp_path / "x.sqlite3").chmod(0o640)
    edition = start(1, database)

    assert guard(edition, "production") == {"ok": True}

    assert modes(tmp_path) == {"x.sqlite3": 0o640}


def test_a_file_that_cannot_be_made(tmp_path, start):
    """SQLite says why, as ever."""
    edition = start(1, {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "no" / "x.sqlite3")})

    assert guard(edition, "production")["error"].endswith("OperationalError: unable to open database file")


def test_a_file_that_all_may_read(start):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        file = folder / "x.sqlite3"
        edition = start(1, {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)})
        edition.migrate()
        place = {"vendor": "sqlite", "place": f"sqlite {file}"}

        assert reach(edition) == place, "nobody else may enter the folder"
        folder.chmod(0o755)
        assert reach(edition) == {**place, "open_file": str(file)}
        file.chmod(0o660)
        assert reach(edition) == place


def test_a_server_that_is_not_reached(server, databases, start):
    if server[0] != "sqlite":
        assert reach(start(1, {**databases["one"], "PORT": 1}))["error"].startswith("OperationalError: ")


def test_a_database_remembers_who_migrates_it(databases, start):
    edition = start(1, databases["one"])

    assert owners(edition) == []
    assert guard(edition, "production") == {"ok": True}
    edition.ask(do="unguard")
    assert owners(edition) == ["production"]
    assert owners(start(1, databases["two"])) == []


def test_a_copy_is_nobodys(server, databases, start):
    """The table comes along, and what it says is of the database that it comes from."""
    vendor, create = server
    edition = start(1, databases["two"])
    guard(edition, "production")
    edition.ask(do="unguard")
    edition.close()
    copy = copy_database(vendor, create, databases["two"])

    assert owners(start(1, copy)) == []
    assert guard(start(1, copy), "staging") == {"ok": True}
    assert owners(start(1, copy)) == ["staging"]
    assert owners(start(1, databases["two"])) == ["production"]


def copy_database(vendor, create, original):
    if vendor == "sqlite":
        copy = create("copy")
        shutil.copy(original["NAME"], copy["NAME"])
        return copy
    if vendor == "postgresql":
        return execute(original, "postgres", "CREATE DATABASE copy TEMPLATE two", name="copy")
    create("copy")
    statements = (
        "CREATE TABLE copy.django_deploy_site LIKE two.django_deploy_site",
        "INSERT INTO copy.django_deploy_site SELECT * FROM two.django_deploy_site",
    )
    return execute(original, "copy", *statements, name="copy")


def execute(database, place, *statements, name=""):
    """As the server's owner; gives the settings of the database of that name."""
    if database["ENGINE"].endswith("postgresql"):
        import psycopg

        address = f"host=127.0.0.1 port={database['PORT']} user=library dbname={place}"
        with psycopg.connect(address, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)
    else:
        import pymysql

        port = database["PORT"]
        with pymysql.connect(host="127.0.0.1", port=port, user="root", database=place) as connection:
            for statement in statements:
                connection.cursor().execute(statement)
            connection.commit()
    return {**database, "NAME": name or place}


def test_one_migration_at_a_time(server, databases, start):
    vendor, _ = server
    first, second = start(1, databases["one"]), start(1, databases["one"])
    assert guard(first, "production") == {"ok": True}

    reply = guard(second, "production", wait=0.1)

    if vendor == "sqlite":
        assert reply == {"ok": True}  # one file, one host: the lock of ROOT is there
        return
    assert re.fullmatch(
        r"another migration of this database did not end within"
        r" 0.1 s: (process \d+ of 127.0.0.1 since .*|connection \d+)",
        reply["error"],
    ), reply
    assert guard(start(1, databases["two"]), "production") == {"ok": True}
    first.ask(do="unguard")
    assert guard(second, "production") == {"ok": True}
    _, out, _ = second.end()
    assert re.match("Waiting for another migration of this database to end: (process|connection) ", out), out


def test_the_lock_ends_with_its_process(databases, start):
    first, second = start(1, databases["one"]), start(1, databases["one"])
    guard(first, "production")
    first.close()

    assert guard(second, "production", wait=10) == {"ok": True}


def test_the_lock_is_in_nobodys_way(server, databases, start):
    """PostgreSQL makes an index concurrently only when no older transaction could still see the table."""
    vendor, _ = server
    if vendor != "postgresql":
        pytest.skip("of PostgreSQL only")
    edition = start(1, databases["one"])
    assert guard(edition, "production") == {"ok": True}
    edition.migrate()
    began = time.monotonic()

    execute(
        databases["one"],
        "one",
        "SET statement_timeout = '30s'",
        "CREATE INDEX CONCURRENTLY by_name ON library_writer (name)",
    )

    assert time.monotonic() - began < 30


FILL = {
    "postgresql": (
        "INSERT INTO library_writer (name) VALUES ('Anna')",
        "INSERT INTO library_book (title, rank, writer_id) SELECT 'x', 1, 1 FROM generate_series(1, 150000)",
        "ANALYZE library_book",
    ),
    "mysql": (
        "INSERT INTO library_writer (name) VALUES ('Anna')",
        "INSERT INTO library_book (title, `rank`, writer_id) SELECT 'x', 1, 1 FROM seq_1_to_150000",
        "ANALYZE TABLE library_book",
    ),
}
WAITS = {
    "postgresql": "they are rewritten, and meanwhile nobody can read or write the table",
    "mysql": "the table is copied, and meanwhile nobody can write to it",
}


def test_large_tables_are_told(server, start):
    vendor, create = server
    if vendor == "sqlite":
        pytest.skip("SQLite has no estimates")
    database = create("large")
    old = start(1, database)
    old.migrate()
    execute(database, "large", *FILL[vendor])

    plan = start(5, database).plan()

    hints = {m["name"]: [operation["hint"] for operation in m["operations"]] for m in plan["migrations"]}
    title, rank = hints["library.0005_wider"]
    assert title == ""
    assert re.fullmatch(rf"library_book has about 1\d\d,000 rows: {WAITS[vendor]}", rank)
