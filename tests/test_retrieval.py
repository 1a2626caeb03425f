"""Fetching from a live site: the real command, the example project, a folder of this machine."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from django_deploy.media import MediaFile, MediaFolder
from tests.test_backups_deployment import Keeper
from tests.test_migrations_deployment import BLURB

PRIVACY = """\
from catalogue.models import Book

def blur(using):
    Book.objects.using(using).update(title="A book")
    print("blurred")

def fail(using):
    raise ValueError("not today")
"""


class Desk(Keeper):
    """The bookshop, and what is fetched of it."""

    @property
    def copies(self):
        return self.root / "shared" / "backups" / "copies"

    @property
    def media(self):
        return self.root / "shared" / "media"

    def fetch(self, *words, status=0):
        found, out, err = self.run("deploy_fetch", "demo", *words, "--json")
        assert found == status, out + err
        return [json.loads(line) for line in out.splitlines()], err

    def left(self):
        """What is left of copies on the host."""
        return sorted(path.name for path in self.copies.iterdir() if path.name != ".lock")

    def titles(self, file):
        with closing(sqlite3.connect(file)) as connection:
            return {row[0] for row in connection.execute("SELECT title FROM catalogue_book")}


@pytest.fixture(scope="module")
def shop():
    # Not pytest's own folder: its path is too long for a Unix socket.
    with tempfile.TemporaryDirectory(prefix="shop-") as folder:
        made = Desk(Path(folder))
        (made.project / "catalogue" / "privacy.py").write_text(PRIVACY)
        made.deploy()
        yield made
        made.stop()


@pytest.fixture
def output(tmp_path):
    return tmp_path / "shop.dump"


# The tests tell one story: each begins where the one before ended.


def test_a_database_is_fetched(shop):
    status, out, err = shop.run("deploy_fetch", "demo", "database")

    file = shop.project / "demo-default.sqlite3"
    assert (status, err) == (0, ""), out + err
    assert out.splitlines()[-1] == "It is a SQLite database."
    assert f"local: copied sqlite {shop.database}, " in out
    assert f"local: {file.name} is here, " in out
    assert file.stat().st_mode & 0o777 == 0o600
    assert shop.content(file) == shop.content()
    assert shop.left() == []
    assert list(shop.project.glob("demo-default*")) == [file]


def test_what_is_there_is_not_overwritten(shop, output):
    output.write_text("mine")

    for words, name in [([], "demo-default.sqlite3"), (["-o", str(output)], str(output))]:
        _, err = shop.fetch("database", *words, status=2)
        assert err == f"CommandError: {name} is there already.\nName another one, or say --force.\n"
    assert output.read_text() == "mine"

    shop.fetch("database", "-o", str(output), "--force")
    assert shop.content(output) == shop.content()


def begin(shop, output):
    """A fetch that is killed when some of a database of 80 MB has come."""
    with closing(sqlite3.connect(shop.database)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS large (content BLOB)")
        if not connection.execute("SELECT 1 FROM large").fetchone():
            connection.executemany("INSERT INTO large VALUES (?)", [(os.urandom(1 << 20),)] * 80)
    part = output.with_name("shop.dump.part")
    command = shop.start("deploy_fetch", "demo", "database", "-o", str(output))
    with command:
        deadline = time.monotonic() + 120
        while not part.exists() or part.stat().st_size < 2_000_000:
            assert command.poll() is None and time.monotonic() < deadline, command.stderr.read()
            time.sleep(0.005)
        command.send_signal(signal.SIGKILL)
        command.wait(10)
    return part


def test_what_broke_off_goes_on(shop, output):
    part = begin(shop, output)
    begun = part.stat().st_size
    assert not output.exists()
    assert part.stat().st_mode & 0o777 == 0o600
    assert len(shop.left()) == 2

    events, _ = shop.fetch("database", "-o", str(output))

    kinds = [event["event"] for event in events]
    assert "copy.started" not in kinds
    finished = next(event for event in events if event["event"] == "fetch.finished")
    assert finished["sent"] == finished["bytes"] - begun
    assert next(event for event in events if event["event"] == "fetch.progress")["done"] == begun
    assert shop.content(output) == shop.content()
    assert list(output.parent.iterdir()) == [output]
    assert shop.left() == []


def test_what_is_damaged_is_fetched_again(shop, output):
    part = begin(shop, output)
    content = bytearray(part.read_bytes())
    content[1000] ^= 1
    part.write_bytes(content)

    events, _ = shop.fetch("database", "-o", str(output))

    [warning] = [event["message"] for event in events if event["event"] == "warning"]
    assert warning == "What had been fetched of shop.dump.part was damaged: all of it is fetched again."
    shown = [event["done"] for event in events if event["event"] == "fetch.progress"]
    assert shown == sorted(shown)
    assert shop.content(output) == shop.content()


def test_a_copy_that_is_gone_is_made_again(shop, output):
    begin(shop, output)
    for file in shop.copies.iterdir():
        file.unlink()

    events, _ = shop.fetch("database", "-o", str(output))

    [warning] = [event["message"] for event in events if event["event"] == "warning"]
    assert warning == "The host no longer has the copy that was begun: another one is made."
    assert shop.content(output) == shop.content()
    with closing(sqlite3.connect(shop.database)) as connection:
        connection.execute("DROP TABLE large")
        connection.execute("VACUUM")


def test_what_is_anonymized_before_it_leaves(shop, output):
    before = shop.content()

    events, _ = shop.fetch("database", "-o", str(output), "--anonymize", "catalogue.privacy.blur")

    assert shop.titles(output) == {"A book"}
    assert b"Emma" not in output.read_bytes()
    assert shop.content() == before
    assert shop.left() == []
    kinds = [event["event"] for event in events if event["event"].startswith(("copy.", "anonymize."))]
    assert kinds == ["copy.started", "anonymize.started", "anonymize.finished", "copy.finished"]
    assert [event["line"] for event in events if event["event"] == "step.output"] == ["blurred"]


def test_a_callable_that_fails_or_is_not_there(shop, output):
    words = ["database", "-o", str(output), "--anonymize"]

    _, err = shop.fetch(*words, "catalogue.privacy.fail", status=1)
    assert err.startswith(
        "CommandError: local: no copy of the database could be made: ValueError: not today\n"
        "  | Traceback (most recent call last):\n"
    ), err
    assert err.endswith("Fix it, and run the command again.\n")
    _, err = shop.fetch(*words, "catalogue.nowhere.blur", status=1)
    assert err == (
        "CommandError: local: no copy of the database could be made: the live release has no"
        " catalogue.nowhere.blur: No module named 'catalogue.nowhere'\n"
        "It must be a part of the release that is live: deploy it first.\n"
    )
    assert (list(output.parent.iterdir()), shop.left()) == ([], [])


def test_a_database_of_another_name(shop, output):
    _, err = shop.fetch("database", "-o", str(output), "--database", "replica", status=1)

    assert err.startswith(
        "CommandError: local: no copy of the database could be made: the site has no database 'replica'\n"
        "Its settings, in DATABASES, have: default.\n"
    ), err
    assert "Traceback" not in err


def test_a_deployment_is_not_held_up(shop, output):
    with shop.dawdling():
        with shop.start("deploy", "demo") as command:
            holder = shop.root / ".deploy" / "lock"
            deadline = time.monotonic() + 60
            while "running dawdle" not in holder.read_text() and time.monotonic() < deadline:
                time.sleep(0.05)
            shop.fetch("database", "-o", str(output))
            assert "running dawdle" in holder.read_text()
            (shop.root / "shared" / "gate").unlink()
            out, err = command.communicate(timeout=60)
            (shop.root / "shared" / "gate").touch()
        assert command.returncode == 0, out + err
    assert shop.content(output) == shop.content()


def test_a_backup_is_fetched(shop, output):
    shop.set_target(BACKUP=True, STEPS=["collectstatic --noinput", "migrate --noinput"])
    shop.change_book("    blurb = models.TextField(null=True)")
    shop.add_migration("0003_blurb", "0002_first_books", BLURB)
    shop.deploy()
    [backup] = shop.backups()

    shop.fetch("database", "-o", str(output), "--backup", backup["name"])

    assert output.read_bytes() == (shop.folder / backup["file"]).read_bytes()
    assert shop.backups() == [backup]
    assert shop.left() == []
    changed = output.with_name("changed")
    words = ["--backup", backup["name"], "--anonymize", "catalogue.privacy.blur"]
    # The live release knows a column that the backup lacks; what it does not touch does not matter.
    shop.fetch("database", "-o", str(changed), *words)
    assert shop.titles(changed) == {"A book"}
    assert shop.backups() == [backup]


def write(folder, **files):
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_media_files_that_are_new_or_changed_are_fetched(shop, tmp_path):
    write(shop.media, covers__emma=b"emma", covers__walden=b"walden", empty=b"", large=os.urandom(3 << 20))
    (shop.media / "link").symlink_to("/etc/passwd")
    (shop.media / "covers" / "away").symlink_to("/etc")
    folder = tmp_path / "media"

    events, _ = shop.fetch("media", "--to", str(folder))

    there = content(shop.media)
    there.pop("link")
    assert content(folder) == there
    assert (folder / "large").stat().st_mtime_ns == (shop.media / "large").stat().st_mtime_ns
    [warning] = [event["message"] for event in events if event["event"] == "warning"]
    assert warning == "Left out, as they are no files, but links: link, covers/away."
    assert events[-1] == {**events[-1], "event": "fetch.finished", "sent": 10 + (3 << 20)}

    write(shop.media, covers__emma=b"Emma.", new=b"new")
    write(folder, mine=b"mine")
    status, out, err = shop.run("deploy_fetch", "demo", "media", "--to", str(folder))
    assert (status, err, out.splitlines()[-1]) == (0, "", "Files: 2 fetched, 3 the same already.")
    assert content(folder) == {**there, "covers/emma": b"Emma.", "new": b"new", "mine": b"mine"}


def test_media_files_go_on_where_they_broke_off(shop, tmp_path):
    folder = tmp_path / "media"
    write(shop.media, large=os.urandom(5 << 20))
    shop.fetch("media", "--to", str(folder))
    found = (folder / "large").stat()
    part = MediaFolder(folder).part(MediaFile("large", found.st_size, found.st_mtime_ns))
    whole = (folder / "large").read_bytes()
    (folder / "large").unlink()
    part.write_bytes(whole[: 3 << 20])

    events, _ = shop.fetch("media", "--to", str(folder))
    assert events[-1]["sent"] == 2 << 20
    assert (folder / "large").read_bytes() == whole

    (folder / "large").unlink()
    part.write_bytes(b"x" * (3 << 20))
    events, _ = shop.fetch("media", "--to", str(folder))
    assert events[-1]["sent"] == (2 << 20) + (5 << 20)
    assert (folder / "large").read_bytes() == whole


def test_only_with_delete_files_are_deleted(shop, tmp_path):
    folder = tmp_path / "media"
    write(folder, old__older=b"old", mine=b"mine")

    status, out, err = shop.run("deploy_fetch", "demo", "media", "--to", str(folder), "--delete")

    assert (status, err) == (0, "")
    assert out.splitlines()[-1].endswith(", 0 the same already, 2 deleted.")
    assert not (folder / "old").exists()
    assert set(content(folder)) == set(content(shop.media)) - {"link"}
