"""Dumps of real databases, what has happened since, and the way back."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from tests.library.editions import Edition

TOOLS = {"postgresql": "pg_dump", "mysql": "mariadb-dump", "sqlite": ""}


def describe(edition):
    reply = edition.ask(do="describe_database", database="default")
    assert reply["ok"], reply
    return reply["database"]


def test_a_dump_puts_back_what_was(library, tmp_path):
    file = tmp_path / "dump"
    library.add("Emma", "Walden ☃ 𝄞")
    before = library.content()
    with library.edition(1) as edition:
        assert edition.ask(do="dump", database="default", file=str(file)) == {"ok": True}
    library.add("Later")
    library.execute("CREATE TABLE newer (id integer PRIMARY KEY)", "CREATE VIEW seen AS SELECT id FROM newer")
    with library.edition(2) as edition:
        edition.migrate()
    assert library.content() != before

    with library.edition(2) as edition:
        assert edition.ask(do="restore", database="default", file=str(file)) == {"ok": True}

    assert library.content() == before


def test_what_is_known_of_a_database(library):
    library.add("Emma", "Walden")

    with library.edition(1) as edition:
        found = describe(edition)

    assert found["engine"] == library.vendor
    assert found["migrations"] == ["library.0001_initial"]
    assert TOOLS[library.vendor] in found["tool"]
    assert found["estimate"] > 0
    keys = library.execute("SELECT max(id) FROM library_book")[0][0][0]
    assert found["tables"]["library_book"] == {"rows": 2, "is_estimate": False, "key": "id", "last": keys}
    assert found["tables"]["library_loan"] == {"rows": 0, "is_estimate": False, "key": "id", "last": None}
    assert not {"django_migrations", "django_deploy_site"} & set(found["tables"])


def test_what_has_happened_since(library):
    library.add("Emma", "Walden")
    with library.edition(2) as edition:
        before = describe(edition)
        edition.migrate()
        library.add("Later", "Latest")
        library.execute("DELETE FROM library_book WHERE title = 'Emma'", "CREATE TABLE newer (id integer)")

        reply = edition.ask(
            do="compare", database="default", migrations=before["migrations"], tables=before["tables"]
        )

    since = reply["since"]
    assert (since["newer"], since["older"]) == ([f"library.{name}" for name in ["0002_subtitle"]], [])
    assert since["tables"] == [
        {"table": "library_book", "before": 2, "now": 3, "newer": 2, "is_estimate": False},
        {"table": "newer", "before": None, "now": 0, "newer": 0, "is_estimate": False},
    ]


def test_a_dump_that_is_damaged_changes_nothing_or_says_so(library, tmp_path):
    file = tmp_path / "dump"
    library.add("Emma")
    with library.edition(1) as edition:
        assert edition.ask(do="dump", database="default", file=str(file)) == {"ok": True}
        before = library.content()
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

        reply = edition.ask(do="restore", database="default", file=str(file))

    assert reply["ok"] is False
    assert reply["damaged"] is (library.vendor == "mysql")
    if library.vendor != "mysql":
        assert library.content() == before


def test_without_the_tool_nothing_is_dumped(library, tmp_path):
    if library.vendor == "sqlite":
        pytest.skip("it is part of Python")
    with library.edition(1, PATH=str(tmp_path)) as edition:
        reply = edition.ask(do="describe_database", database="default")

    tool = {"postgresql": "pg_dump", "mysql": "mariadb-dump or mysqldump"}[library.vendor]
    package = {"postgresql": "postgresql-client", "mysql": "mariadb-client"}[library.vendor]
    assert reply == {
        "ok": False,
        "error": f"there is no {tool} on the host",
        "remedy": f"On the host, as root: apt install {package}",
        "damaged": False,
    }


def test_a_password_is_in_no_argument(library, tmp_path):
    """Everybody on the host can read those."""
    if library.vendor == "sqlite":
        pytest.skip("it has none")
    names = {"postgresql": ["pg_dump"], "mysql": ["mariadb-dump", "mysqldump"]}[library.vendor]
    for name in names:
        spy = tmp_path / name
        spy.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/arguments\nenv >> {tmp_path}/environment\n')
        spy.chmod(0o755)
    library.database = {**library.database, "PASSWORD": "open sesame"}
    with library.edition(1, PATH=f"{tmp_path}:{os.environ['PATH']}") as edition:
        edition.ask(do="dump", database="default", file=str(tmp_path / "dump"))

    assert "open sesame" not in (tmp_path / "arguments").read_text()
    variable = {"postgresql": "PGPASSWORD", "mysql": "MYSQL_PWD"}[library.vendor]
    assert f"{variable}=open sesame" in (tmp_path / "environment").read_text()


#: What a database may have beside Django's tables, some of it from before the dump, some from after it.
BESIDE = {
    "postgresql": (
        (
            "CREATE EXTENSION IF NOT EXISTS plpgsql",
            "CREATE TYPE mood AS ENUM ('good', 'bad')",
            "CREATE DOMAIN short AS varchar(3)",
            "CREATE SCHEMA other",
            "CREATE TABLE other.log (id integer GENERATED ALWAYS AS IDENTITY, mood mood, short short)",
            "INSERT INTO other.log (mood, short) VALUES ('good', 'abc')",
            "CREATE TABLE parted (at date) PARTITION BY RANGE (at)",
            "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM ('2020-01-01') TO ('2030-01-01')",
            "INSERT INTO parted VALUES ('2026-11-28')",
            "CREATE MATERIALIZED VIEW titles AS SELECT title FROM library_book",
            "CREATE VIEW moods AS SELECT mood FROM other.log",
            "CREATE FUNCTION one() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
            "CREATE SEQUENCE numbers START 7",
            "SELECT lo_from_bytea(4711, 'large')",
        ),
        (
            "CREATE TYPE later AS ENUM ('x')",
            "CREATE TABLE mine (later later, id serial, book bigint REFERENCES library_book)",
            "CREATE FUNCTION later() RETURNS later LANGUAGE sql AS $$ SELECT 'x'::later $$",
            "CREATE SCHEMA later",
            "SELECT nextval('numbers')",
            "SELECT lo_from_bytea(4712, 'later')",
        ),
    ),
    "mysql": (
        (
            "CREATE VIEW titles AS SELECT title FROM library_book",
            "CREATE PROCEDURE one() SELECT 1",
            "CREATE FUNCTION two() RETURNS integer DETERMINISTIC RETURN 2",
            "CREATE TABLE log (id integer AUTO_INCREMENT PRIMARY KEY, data blob)",
            "CREATE TRIGGER noted AFTER INSERT ON library_loan FOR EACH ROW"
            " INSERT INTO log VALUES (NULL, 'x')",
            "INSERT INTO log (data) VALUES (x'00ff27')",
        ),
        (
            "CREATE TABLE later (id integer PRIMARY KEY, book bigint,"
            " FOREIGN KEY (book) REFERENCES library_book (id))",
            "CREATE PROCEDURE three() SELECT 3",
            "DROP VIEW titles",
        ),
    ),
    "sqlite": (
        (
            "CREATE VIEW titles AS SELECT title FROM library_book",
            "CREATE TRIGGER noted AFTER INSERT ON library_loan BEGIN SELECT 1; END",
        ),
        ("DROP VIEW titles", "CREATE TABLE later (id integer PRIMARY KEY)"),
    ),
}


def test_what_a_database_has_beside_tables(library, tmp_path):
    file = tmp_path / "dump"
    earlier, later = BESIDE[library.vendor]
    library.add("Emma")
    library.execute(*earlier)
    before = library.content()
    with library.edition(1) as edition:
        assert edition.ask(do="dump", database="default", file=str(file)) == {"ok": True}
        library.execute(*later)
        assert library.content() != before

        assert edition.ask(do="restore", database="default", file=str(file)) == {"ok": True}

    assert library.content() == before


@pytest.mark.parametrize(
    "request_",
    [
        {"do": "describe_database"},
        {"do": "dump", "file": "dump"},
        {"do": "restore", "file": "dump"},
        {"do": "compare", "migrations": [], "tables": {}},
        {"do": "check_anonymizer", "callable": "os.getcwd"},
    ],
    ids=lambda request_: request_["do"],
)
def test_a_database_that_the_site_does_not_have(tmp_path, request_):
    with closing(
        Edition(1, {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db")}, tmp_path)
    ) as edition:
        reply = edition.ask(database="nope", **request_)

    assert reply == {
        "ok": False,
        "error": "the site has no database 'nope'",
        "remedy": "Its settings, in DATABASES, have: default.",
        "damaged": False,
    }
