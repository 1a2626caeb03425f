"""A rehearsed incident: a release drops a column that the one before reads. The database is PostgreSQL."""

from __future__ import annotations

import re
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from . import base
from .conftest import Machines
from .inspection import assert_consistent, live, look, visit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .bookshop import Bookshop
    from .laptop import Laptop
    from .machines import Machine
    from .network import Network

#: The bookshop on its host's own PostgreSQL, which knows the user ``deploy`` by its socket.
SETTINGS = """\
from bookshop.settings import *

DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "shop"}}
"""

MIGRATION = """\
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("catalogue", "{after}")]
    operations = [{operation}]
"""

ADD_BLURB = 'migrations.AddField("book", "blurb", models.TextField(null=True))'
FIELD = "    restocked = models.DateTimeField(null=True, editable=False)\n"
BLURB = "    blurb = models.TextField(null=True)\n"


@pytest.fixture(scope="module")
def server(network: Network, laptop: Laptop) -> Iterator[Machine]:
    """A host with PostgreSQL."""
    machines = Machines(base.build("postgresql"), network, laptop)
    [machine] = machines(1)
    machine.run("runuser", "-u", "postgres", "--", "createuser", "deploy", user="root")
    machine.run("runuser", "-u", "postgres", "--", "createdb", "--owner=deploy", "shop", user="root")
    yield machine
    machine.destroy()


def ask(machine: Machine, query: str) -> list[list[str]]:
    out = machine.run("psql", "--no-psqlrc", "-At", "-F", "|", "-c", query, "shop").stdout
    return [line.split("|") for line in out.splitlines()]


def dump(machine: Machine) -> str:
    """All of the database, as text, but the table that says who migrated it and when."""
    out = machine.run("pg_dump", "--exclude-table=django_deploy_site*", "shop").stdout
    return re.sub(r"(?m)^\\(un)?restrict .*$", "", out)


def books(machine: Machine) -> list[list[str]]:
    """What is in the columns that no migration of this test touches."""
    return ask(
        machine, "SELECT id, title, slug, author_id, year, cover, stock FROM catalogue_book ORDER BY id"
    )


def has_blurb(machine: Machine) -> bool:
    query = "SELECT 1 FROM information_schema.columns WHERE column_name = 'blurb'"
    return bool(ask(machine, query))


def migrate(bookshop: Bookshop, name: str, after: str, operation: str) -> None:
    text = MIGRATION.format(after=after, operation=operation)
    bookshop.write(f"catalogue/migrations/{name}.py", text)


def change_model(bookshop: Bookshop, old: str, new: str) -> None:
    path = bookshop.folder / "catalogue/models.py"
    path.write_text(path.read_text().replace(old, new))


def aim(bookshop: Bookshop, machine: Machine, **changes: Any) -> None:
    web = "gunicorn bookshop.wsgi --bind unix:{socket} --threads 4 --no-control-socket"
    bookshop.aim(
        [machine],
        SETTINGS_MODULE="bookshop.on_postgresql",
        PROCESSES={"web": web},
        **changes,
    )


def assert_serves(machine: Machine, release: str) -> None:
    assert visit(machine).release == release
    assert_consistent(machine, release, processes=("web",))


PRIVACY = """\
import time
from catalogue.models import Book

def blur(using):
    Book.objects.update(title="A book")

def dawdle(using):
    time.sleep(60)
"""


def copies(machine: Machine) -> list[list[str]]:
    """Of databases, and of what is fetched."""
    files = machine.run("find", f"{machine.root}/shared/backups/copies", "-not", "-name", ".lock").stdout
    found = ask(machine, "SELECT datname FROM pg_database WHERE datname LIKE 'django_deploy_copy_%'")
    return [*found, *([file] for file in files.splitlines()[1:])]


def test_real_data_does_not_leave_the_host(server: Machine, bookshop: Bookshop) -> None:
    bookshop.pip("install", "psycopg[binary]")
    bookshop.write("bookshop/on_postgresql.py", SETTINGS)
    bookshop.write("catalogue/privacy.py", PRIVACY)
    aim(bookshop, server)
    bookshop.deployed()
    before = dump(server)
    fetch = ("deploy_fetch", "database", "-o", "shop.dump", "--anonymize")

    refused = bookshop.run(*fetch, "catalogue.privacy.blur")
    right = ["psql", "-c", "ALTER ROLE deploy CREATEDB"]
    server.run("runuser", "-u", "postgres", "--", *right, user="root")
    with bookshop.start(*fetch, "catalogue.privacy.dawdle", "--json") as command:
        command.wait_for("anonymize.started")
        deadline = time.monotonic() + 30
        while len(copies(server)) < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        during = copies(server)
        command.kill()
    deadline = time.monotonic() + 30
    while copies(server) and time.monotonic() < deadline:
        time.sleep(0.2)
    after = copies(server)
    result = bookshop.run(*fetch, "catalogue.privacy.blur")

    assert refused.status == 1
    assert refused.err.startswith(
        f"CommandError: deploy@{server.address}: no copy of the database could be made:"
        " deploy may not create the second database in which the data is anonymized\n"
    ), refused
    assert refused.err.endswith('On the server, as its superuser: ALTER ROLE "deploy" CREATEDB;\n')
    assert during[0][0].startswith("django_deploy_copy_")
    assert (after, copies(server)) == ([], [])
    assert result.status == 0, result
    file = bookshop.folder / "shop.dump"
    text = subprocess.run(["pg_restore", "--file=-", file], check=True, capture_output=True).stdout.decode()
    assert "A book" in text and "Emma" not in text
    assert dump(server) == before


def test_a_column_goes_that_the_old_code_reads(server: Machine, bookshop: Bookshop) -> None:
    bookshop.pip("install", "psycopg[binary]")
    bookshop.write("bookshop/on_postgresql.py", SETTINGS)
    change_model(bookshop, FIELD, FIELD + BLURB)
    migrate(bookshop, "0003_blurb", "0002_first_books", ADD_BLURB)
    aim(bookshop, server)
    old = bookshop.deployed()
    ask(server, "UPDATE catalogue_book SET blurb = 'Of ' || title || ' ☃'")
    untouched, before = books(server), dump(server)
    assert untouched

    # By default it is refused: the old code reads it, and goes on.
    change_model(bookshop, BLURB, "")
    migrate(bookshop, "0004_no_blurb", "0003_blurb", 'migrations.RemoveField("book", "blurb")')
    aim(bookshop, server, BACKUP=True)
    result = bookshop.deploy()
    assert result.status == 1, result
    assert "drops catalogue_book.blurb; the live release uses it: catalogue.Book.blurb" in result.err
    assert f"Nothing changed: the host serves {old}, as before." in result.err
    assert_serves(server, old)
    assert dump(server) == before

    # Who insists gets it, and a backup of what was there.
    new = bookshop.deployed("--allow-breaking")
    assert_serves(server, new)
    assert not has_blurb(server)
    assert books(server) == untouched
    listed = bookshop.run("deploy_restore", "--json").all("host.backup")
    [backup] = listed
    assert (backup["release"], backup["before"]) == (old, "migrating catalogue.0004_no_blurb")
    name = backup["name"]
    folder = f"{server.root}/shared/backups"
    found = server.run("stat", "-c", "%a %n", f"{folder}/{name}.pgdump", f"{folder}/{name}.json").stdout
    assert re.findall(r"(?m)^\d+", found) == ["600", "600"]

    # The old code cannot do without the column: going back says so, and changes nothing.
    result = bookshop.run("deploy_rollback")
    assert result.status == 1, result
    assert f"{old} cannot use postgresql shop on this machine as it is" in result.out
    assert "catalogue_book.blurb comes back without its values" in result.out
    assert "--reverse-migrations" in result.err
    assert_serves(server, new)
    assert not has_blurb(server)

    # With the reverse migration, the column is there again, and empty.
    result = bookshop.run("deploy_rollback", "--reverse-migrations")
    assert result.status == 0, result
    assert_serves(server, old)
    assert books(server) == untouched
    assert ask(server, "SELECT count(*), count(blurb) FROM catalogue_book") == [[str(len(untouched)), "0"]]

    # The backup has its values: afterwards the database is what it was, byte for byte.
    result = bookshop.run("deploy_restore", name, "--yes")
    assert result.status == 0, result
    assert dump(server) == before
    assert_serves(server, old)

    # Forward again: the migration is applied once more.
    result = bookshop.run("deploy_rollback", new, "--allow-breaking")
    assert result.status == 0, result
    assert_serves(server, new)
    assert not has_blurb(server)
    assert books(server) == untouched


def test_a_restoration_that_fails_leaves_the_site_as_it_was(server: Machine, bookshop: Bookshop) -> None:
    """It comes after the other one, whose backups and release are there."""
    bookshop.write("bookshop/on_postgresql.py", SETTINGS)
    aim(bookshop, server)
    [*_, backup] = bookshop.run("deploy_restore", "--json").all("host.backup")
    before, release = dump(server), live(server)
    server.run("mv", "/usr/bin/pg_restore", "/root/pg_restore", user="root")

    result = bookshop.run("deploy_restore", backup["name"], "--yes")

    server.run("mv", "/root/pg_restore", "/usr/bin/pg_restore", user="root")
    assert result.status == 1, result
    assert result.err.splitlines()[0].endswith("there is no pg_restore on the host"), result
    assert result.err.splitlines()[-1] == "The database is as before."
    assert dump(server) == before
    assert_serves(server, release)


#: A tool that takes its time.
SLOW = """\
#!/bin/sh
sleep 5
exec /usr/lib/postgresql/15/bin/pg_restore "$@"
"""


def test_a_deployer_that_leaves_during_a_restoration(server: Machine, bookshop: Bookshop) -> None:
    """The host goes on, and visitors see the maintenance page until somebody says that it is over."""
    bookshop.write("bookshop/on_postgresql.py", SETTINGS)
    aim(bookshop, server)
    release = live(server)
    name = bookshop.run("deploy_restore", "--json").all("host.backup")[0]["name"]
    assert bookshop.run("deploy_restore", name, "--yes").status == 0
    before = dump(server)
    ask(server, "UPDATE catalogue_book SET title = 'lost'")
    server.run("mv", "/usr/bin/pg_restore", "/root/pg_restore", user="root")
    server.put("/usr/bin/pg_restore", SLOW, owner="root", mode="755")

    with bookshop.start("deploy_restore", name, "--yes", "--json") as command:
        command.wait_for("restore.started")
        command.kill()
    assert visit(server).status == 503
    look(server, patience=60)

    server.run("mv", "/root/pg_restore", "/usr/bin/pg_restore", user="root")
    assert dump(server) == before
    assert visit(server).status == 503
    assert bookshop.run("deploy_maintenance", "off").status == 0
    assert_serves(server, release)


#: A tool that does not end.
ENDLESS = """\
#!/bin/sh
[ "$1" = --version ] && echo pg_dump 15 && exit
exec sleep 4711
"""


def test_a_deployer_that_leaves_during_a_backup(server: Machine, bookshop: Bookshop) -> None:
    """Nothing is left of it: no program, no file. It comes after the others."""
    bookshop.pip("install", "psycopg[binary]")
    bookshop.write("bookshop/on_postgresql.py", SETTINGS)
    change_model(bookshop, FIELD, f"{FIELD}    grade = models.IntegerField(null=True)\n")
    migrate(bookshop, "0003_blurb", "0002_first_books", ADD_BLURB)
    migrate(bookshop, "0004_no_blurb", "0003_blurb", 'migrations.RemoveField("book", "blurb")')
    grade = 'migrations.AddField("book", "grade", models.IntegerField(null=True))'
    migrate(bookshop, "0005_grade", "0004_no_blurb", grade)
    aim(bookshop, server, BACKUP=True)
    release, before = live(server), dump(server)
    server.run("mv", "/usr/bin/pg_dump", "/root/pg_dump", user="root")
    server.put("/usr/bin/pg_dump", ENDLESS, owner="root", mode="755")

    with bookshop.start("deploy", "--json") as command:
        command.wait_for("backup.started")
        command.kill()
    assert_serves(server, release)

    server.run("mv", "/root/pg_dump", "/usr/bin/pg_dump", user="root")
    assert server.run("pgrep", "-f", "sleep 4711", check=False).returncode == 1
    assert server.run("find", f"{server.root}/shared/backups", "-name", "*.part*").stdout == ""
    assert dump(server) == before


#: A dump that takes its time, with the lock of a real one.
LOCKING = """\
#!/bin/sh
[ "$1" = --version ] && echo pg_dump 15 && exit
begin() {
    echo "BEGIN; LOCK TABLE catalogue_book IN ACCESS SHARE MODE;"
    yes "SELECT pg_sleep(0.1);"
}
begin | psql --quiet shop > /dev/null
"""


def test_what_is_fetched_does_not_hold_up_a_migration(server: Machine, bookshop: Bookshop) -> None:
    bookshop.pip("install", "psycopg[binary]")
    bookshop.write("bookshop/on_postgresql.py", SETTINGS)
    aim(bookshop, server)
    if server.run("test", "-e", f"{server.root}/current", check=False).returncode:
        bookshop.deployed()
    change_model(bookshop, FIELD, f"{FIELD}    grade = models.IntegerField(null=True)\n")
    migrate(bookshop, "0003_blurb", "0002_first_books", ADD_BLURB)
    migrate(bookshop, "0004_no_blurb", "0003_blurb", 'migrations.RemoveField("book", "blurb")')
    grade = 'migrations.AddField("book", "grade", models.IntegerField(null=True))'
    migrate(bookshop, "0005_grade", "0004_no_blurb", grade)
    server.run("mv", "/usr/bin/pg_dump", "/root/pg_dump", user="root")
    server.put("/usr/bin/pg_dump", LOCKING, owner="root", mode="755")

    with bookshop.start("deploy_fetch", "database", "-o", "shop.dump", "--json") as fetch:
        fetch.wait_for("copy.started")
        deadline = time.monotonic() + 30
        while not ask(server, LOCKED) and time.monotonic() < deadline:
            time.sleep(0.2)
        release = bookshop.deployed()
        given_up = fetch.end()
    server.run("mv", "/root/pg_dump", "/usr/bin/pg_dump", user="root")

    assert given_up.status == 1, given_up
    assert (
        "the copy was stopped because the database is needed: another deployment is running:" in given_up.err
    )
    assert ", running migrate --noinput\n" in given_up.err, given_up
    assert given_up.ids == ("copy-failed",)
    assert copies(server) == []
    assert_serves(server, release)


#: Whether the dump has its lock.
LOCKED = "SELECT 1 FROM pg_locks WHERE relation = 'catalogue_book'::regclass AND mode = 'AccessShareLock'"


def test_two_hosts_with_a_database_each(pair: list[Machine], bookshop: Bookshop) -> None:
    """What is taken back is taken back on both, and a backup belongs to the host that made it."""
    steps = ["collectstatic", {"COMMAND": "migrate", "ON": "each"}, "compress --force"]
    bookshop.aim(pair, STEPS=steps)
    before = live(pair[0])
    grade = "models.IntegerField(default=1)"
    change_model(bookshop, FIELD, f"{FIELD}    grade = {grade}\n")
    migrate(bookshop, "0003_grade", "0002_first_books", f'migrations.AddField("book", "grade", {grade})')
    bookshop.target["BACKUP"] = "contract"
    assert bookshop.deploy().status == 1
    new = bookshop.deployed("--allow-breaking")
    assert [visit(machine).release for machine in pair] == [new, new]
    backups = bookshop.run("deploy_restore", "--json").all("host.backup")
    assert sorted(backup["host"] for backup in backups) == sorted(bookshop.target["HOSTS"])

    # Rows of books lie in a column that the old code does not know and must be filled.
    result = bookshop.run("deploy_rollback", before, "--json")
    assert result.status == 1, result
    planned = result.all("reversal.planned")
    assert [event["migrations"][0]["losses"][0]["what"] for event in planned] == [
        "the values of catalogue_book.grade"
    ] * 2
    result = bookshop.run("deploy_rollback", before, "--reverse-migrations")
    assert result.status == 0, result
    assert [visit(machine).release for machine in pair] == [before, before]
    backup = next(each for each in backups if each["host"] == bookshop.target["HOSTS"][1])
    result = bookshop.run("deploy_restore", backup["name"], "--yes", "--json", "--hosts", backup["host"])
    assert result.status == 0, result
    assert [event["host"] for event in result.all("restore.finished")] == [backup["host"]]
    for machine in pair:
        assert visit(machine).release == before
        assert_consistent(machine, before)
