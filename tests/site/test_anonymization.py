"""Copies of real databases that a callable of the project changes, and the database that it must not."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.library.database import Library

NAME = "django_deploy_copy_0123456789ab"

CHANGES = '''\
import time
from pathlib import Path
from django.db import connection, connections
from tests.library.models import Book

def rename(using):
    """With the alias, and without it: both are the second database."""
    assert using == "default"
    Book.objects.using(using).filter(title="Emma").update(title="Nobody")
    Book.objects.filter(title="Walden").delete()

def empty(using):
    Book.objects.all().delete()

def fail(using):
    Book.objects.all().delete()
    raise ValueError("not today")

def wander(using):
    with connections["other"].cursor() as cursor:
        cursor.execute("SELECT 1")

def wait(using):
    Book.objects.all().delete()
    Path(__file__).with_name("begun").touch()
    time.sleep(60)

def thread(using):
    import threading
    found = []
    def work():
        with connection.cursor() as cursor:
            found.append(Book.objects.update(title="Nobody"))
        connection.close()
    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert found == [2], found

nothing = 5
'''


@pytest.fixture
def library(server, tmp_path):
    vendor, create = server
    made = Library(vendor, create(f"a_{tmp_path.name[-40:]}"), tmp_path)
    with made.edition(1) as edition:
        edition.migrate()
    made.add("Emma", "Walden")
    (tmp_path / "changes.py").write_text(CHANGES)
    return made


def begin(edition, folder, callable):
    """Dumps the database, and gives the request that anonymizes that."""
    work = folder / "work"
    work.mkdir(exist_ok=True)
    source, file = work / "whole", work / "changed"
    source.unlink(missing_ok=True)
    source.touch()
    file.touch()
    assert edition.ask(do="dump", database="default", file=str(source)) == {"ok": True}
    paths = {"source": str(source), "work": str(work), "file": str(file)}
    return {"do": "anonymize", "database": "default", "callable": callable, "name": NAME, **paths}


def titles(library, file):
    """What a dump has, by a tool that is not ours."""
    if library.vendor == "sqlite":
        with closing(sqlite3.connect(file)) as connection:
            return sorted({row[0] for row in connection.execute("SELECT title FROM library_book")})
    program = ["pg_restore", "--file=-"] if library.vendor == "postgresql" else ["zcat"]
    text = subprocess.run([*program, file], check=True, capture_output=True).stdout.decode()
    return sorted(title for title in ("Emma", "Nobody", "Walden") if title in text)


def databases(library):
    if library.vendor == "sqlite":
        return [path.name for path in library.folder.rglob(f"{NAME}*")]
    query = {"postgresql": "SELECT datname FROM pg_database", "mysql": "SHOW DATABASES"}[library.vendor]
    return [row[0] for row in library.execute(query)[0] if row[0] == NAME]


@pytest.mark.parametrize("callable", ["changes.rename", "changes.thread"])
def test_the_copy_is_changed_and_nothing_else(library, tmp_path, callable):
    before = library.content()
    with library.edition(1) as edition:
        request = begin(edition, tmp_path, callable)

        assert edition.ask(**request) == {"ok": True}

        assert titles(library, request["file"]) == ["Nobody"]
        described = edition.ask(do="describe_database", database="default")
    # What comes later is asked of the database itself again.
    assert described["database"]["tables"]["library_book"]["rows"] == 2
    assert library.content() == before
    assert library.vendor == "sqlite" or databases(library) == []


def test_nothing_that_was_changed_can_be_read_in_the_file(library, tmp_path):
    """SQLite leaves in its pages what was deleted."""
    library.add(*(f"Secret {number}" for number in range(2000)))
    with library.edition(1) as edition:
        request = begin(edition, tmp_path, "changes.empty")
        assert edition.ask(**request) == {"ok": True}

    content = Path(request["file"]).read_bytes()
    assert b"Secret" not in content
    assert b"Emma" not in content


def test_a_callable_that_fails(library, tmp_path):
    before = library.content()
    with library.edition(1) as edition:
        request = begin(edition, tmp_path, "changes.fail")

        assert edition.ask(**request) == {"ok": False, "error": "ValueError: not today"}

    assert library.content() == before
    assert library.vendor == "sqlite" or databases(library) == []


def test_other_databases_are_closed(library, tmp_path):
    with library.edition(1, LIBRARY_OTHER=str(tmp_path / "other")) as edition:
        reply = edition.ask(**begin(edition, tmp_path, "changes.wander"))

    assert reply == {
        "ok": False,
        "error": "changes.wander uses the database 'other';"
        " while 'default' is anonymized, all others are closed",
        "remedy": "Let it use the alias that it is called with: Model.objects.using(alias).",
        "damaged": False,
    }


def test_one_that_is_ended_leaves_no_second_database(library, tmp_path):
    before = library.content()
    begun = tmp_path / "begun"
    with library.edition(1) as edition:
        edition.send(**begin(edition, tmp_path, "changes.wait"))
        deadline = time.monotonic() + 30
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert databases(library) != []

        edition.process.send_signal(signal.SIGTERM)
        edition.process.wait(10)

    assert begun.exists()
    assert library.vendor == "sqlite" or databases(library) == []
    assert library.content() == before


def test_what_one_has_left_that_was_killed_is_replaced(library, tmp_path):
    if library.vendor == "sqlite":
        pytest.skip("it is in a folder of its own")
    create = f"CREATE DATABASE {NAME}"
    if library.vendor == "postgresql":
        import psycopg

        place = f"host=127.0.0.1 port={library.database['PORT']} user=library dbname=postgres"
        with psycopg.connect(place, autocommit=True) as connection:
            connection.execute(create)
    else:
        library.execute(create)
    with library.edition(1) as edition:
        request = begin(edition, tmp_path, "changes.rename")

        assert edition.ask(**request) == {"ok": True}

    assert databases(library) == []


@pytest.mark.parametrize(
    ("path", "error", "remedy"),
    [
        (
            "nowhere.rename",
            "the live release has no nowhere.rename: No module named 'nowhere'",
            "It must be a part of the release that is live: deploy it first.",
        ),
        (
            "changes.lost",
            'the live release has no changes.lost: Module "changes" does not define a "lost" attribute/class',
            "It must be a part of the release that is live: deploy it first.",
        ),
        ("changes.nothing", "changes.nothing is no callable", "It is called with the alias of a database."),
    ],
)
def test_what_cannot_anonymize_is_told_first(library, path, error, remedy):
    with library.edition(1) as edition:
        reply = edition.ask(do="check_anonymizer", database="default", callable=path)

    assert reply == {"ok": False, "error": error, "remedy": remedy, "damaged": False}


def test_who_may_not_create_databases_is_told_first(library):
    if library.vendor != "postgresql":
        pytest.skip("only PostgreSQL tells ahead")
    library.execute("DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN")
    library.database = {**library.database, "USER": "reader"}
    with library.edition(1) as edition:
        reply = edition.ask(do="check_anonymizer", database="default", callable="changes.rename")

    assert (reply["error"], reply["remedy"]) == (
        "reader may not create the second database in which the data is anonymized",
        'On the server, as its superuser: ALTER ROLE "reader" CREATEDB;',
    )
