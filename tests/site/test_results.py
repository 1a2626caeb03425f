import json

import pytest
from django.test import override_settings

from django_deploy.site.runner import answer


def run(*command):
    return answer(json.dumps({"do": "run", "command": command}))


def test_migrate_tells_what_it_applied(database, capsys):
    assert run("migrate", "testapp")["result"] == {
        "applied": ["testapp.0001_initial", "testapp.0002_note_is_read"]
    }
    assert run("migrate", "testapp")["result"] == {"applied": []}


def test_migrate_backwards_tells_what_it_took_back(database, capsys):
    run("migrate", "testapp")

    reply = run("migrate", "testapp", "zero")

    assert reply["result"] == {
        "applied": [],
        "unapplied": ["testapp.0002_note_is_read", "testapp.0001_initial"],
    }


def test_migrations_of_another_database(database, capsys):
    reply = run("migrate", "testapp", "0001", "--database", "other")

    assert reply["result"] == {"applied": ["testapp.0001_initial (other)"]}


def test_failing_migration_tells_what_stays_applied(database, capsys, monkeypatch):
    monkeypatch.setenv("TESTAPP_MIGRATION_FAILS", "1")

    reply = run("migrate", "testapp")

    assert reply["ok"] is False
    assert reply["exit"] == 1
    assert reply["error"] == "RuntimeError: this migration was told to fail"
    assert reply["result"] == {"applied": ["testapp.0001_initial"]}


def test_what_the_rows_of_sqlite_do_not_fit_to_was_not_applied(database, capsys):
    run("migrate", "testapp", "0001")
    with database.cursor() as cursor:
        cursor.execute("PRAGMA foreign_keys = OFF")
        cursor.execute("CREATE TABLE shelf (id integer PRIMARY KEY)")
        shelf = "shelf integer REFERENCES shelf (id) DEFERRABLE INITIALLY DEFERRED"
        cursor.execute(f"CREATE TABLE book (id integer PRIMARY KEY, {shelf})")
        cursor.execute("INSERT INTO book VALUES (1, 1)")

    reply = run("migrate", "testapp")

    assert reply["error"].startswith("django.db.utils.IntegrityError: The row in table 'book'")
    assert reply["result"] == {"applied": []}


def test_database_that_cannot_be_reached(database, capsys, tmp_path):
    database.settings_dict["NAME"] = str(tmp_path / "no" / "folder" / "database.sqlite3")

    reply = run("migrate")

    assert reply["error"] == "django.db.utils.OperationalError: unable to open database file"
    assert reply["result"] == {}


@pytest.fixture
def static_root(tmp_path):
    with override_settings(
        STATIC_ROOT=tmp_path / "static",
        INSTALLED_APPS=["django.contrib.staticfiles", "django_deploy", "tests.testapp"],
    ):
        yield tmp_path / "static"


def test_collectstatic_counts(static_root, capsys):
    first = run("collectstatic", "--noinput")["result"]
    second = run("collectstatic", "--noinput")["result"]

    assert first == {"copied": 1, "unmodified": 0, "post_processed": 0}
    assert second == {"copied": 0, "unmodified": 1, "post_processed": 0}
    assert (static_root / "testapp" / "site.css").is_file()


def test_fix_permissions_counts(static_root, database, capsys):
    static_root.mkdir(mode=0o755)
    (static_root / "a.css").touch(mode=0o600)

    reply = run("fix_permissions")

    assert reply["result"] == {"changed": 1, "skipped": [], "created": 0}


def test_other_commands_have_no_result(capsys):
    assert run("behave", "talk")["result"] == {}
