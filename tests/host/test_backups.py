"""The backups of a host: what is kept of them, and what is left when one fails. The site is a fake."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from django_deploy.host import backups as module
from django_deploy.host.protocol import Failure

DATABASE = {
    "alias": "default",
    "engine": "sqlite",
    "place": "sqlite /srv/site/shared/db",
    "tool": "SQLite 3.40",
    "suffix": ".sqlite3",
    "estimate": 1000,
    "served": ["/srv/site/shared/media"],
    "migrations": ["shop.0001_initial"],
    "tables": {"shop_book": {"rows": 2, "is_estimate": False, "key": "id", "last": 2}},
}


class Site:
    """Dumps a few bytes, or fails."""

    def __init__(self, content=b"all of it", **replies):
        self.content, self.replies, self.asked = content, replies, []

    def __call__(self, request, timeout):
        self.asked.append(request)
        if request["do"] == "dump":
            file = Path(request["file"])
            assert (file.stat().st_mode & 0o777, file.read_bytes()) == (0o600, b"")
            file.write_bytes(self.content)
        if request["do"] in self.replies:
            return self.replies[request["do"]]
        database = {**DATABASE, "alias": request["database"]}
        return {"ok": True, **({"database": database} if request["do"] == "describe_database" else {})}


def make(backups, site=None, database="default", keep=5):
    return backups.make(site or Site(), database, before="migrating shop.0002", target="staging", keep=keep)


def names(backups):
    return [backup["name"] for backup in backups.all()]


def test_a_backup_is_a_dump_and_what_it_is(backups, link):
    name = make(backups)

    [backup] = backups.all()
    assert name == backup["name"] == f"{name[:16]}-default"
    assert (backup["release"], backup["before"], backup["target"]) == (None, "migrating shop.0002", "staging")
    assert (backup["size"], backup["tables"]) == (9, DATABASE["tables"])
    assert sorted(path.name for path in backups.folder.iterdir()) == [f"{name}.json", f"{name}.sqlite3"]
    assert {path.stat().st_mode & 0o777 for path in backups.folder.iterdir()} == {0o600}
    assert backups.folder.stat().st_mode & 0o777 == 0o700
    backups.verify(backup)
    assert [(kind, fields["bytes"]) for kind, fields in link.events] == [
        ("backup.started", 1000),
        ("backup.finished", 9),
    ]


def test_those_of_one_second_have_names_of_their_own(backups):
    made = [make(backups) for _ in range(3)]

    assert len(set(made)) == 3
    assert made == sorted(made) == names(backups)


def test_so_many_of_each_database_are_kept(backups):
    other = make(backups, database="other place")
    made = [make(backups, keep=2) for _ in range(3)]

    assert names(backups) == sorted([other, *made[1:]])
    assert other.endswith("-other_place")
    assert len(list(backups.folder.iterdir())) == 6


def test_an_empty_database_is_not_dumped(backups, link):
    site = Site(describe_database={"ok": True, "database": {**DATABASE, "tables": {}, "migrations": []}})

    assert make(backups, site) is None

    assert (backups.all(), link.events) == ([], [])


def test_a_failure_names_its_reason_and_leaves_nothing(backups):
    kept = make(backups)
    error = "pg_dump: error: aborting because of server version mismatch\ndetail: 15 and 11"
    site = Site(dump={"ok": False, "error": error, "remedy": "Install a newer one.", "damaged": False})

    with pytest.raises(Failure) as caught:
        make(backups, site)

    failure = caught.value
    assert (failure.type, failure.remedy) == ("BackupFailed", "Install a newer one.")
    assert failure.message == (
        "the backup of sqlite /srv/site/shared/db failed: pg_dump: error: aborting because of server version"
        " mismatch"
    )
    assert failure.details["lines"] == ["detail: 15 and 11"]
    assert names(backups) == [kept]
    assert len(list(backups.folder.iterdir())) == 2


def test_a_dump_with_nothing_in_it_is_none(backups):
    with pytest.raises(Failure) as caught:
        make(backups, Site(b""))

    assert caught.value.message == ("sqlite /srv/site/shared/db was not backed up: SQLite 3.40 wrote nothing")
    assert backups.all() == []
    assert list(backups.folder.iterdir()) == []


def test_without_a_tool_there_is_no_backup(backups):
    site = Site(
        describe_database={"ok": False, "error": "there is no pg_dump on the host", "remedy": "Get it."}
    )

    with pytest.raises(Failure, match="no backup is possible: there is no pg_dump on the host") as caught:
        make(backups, site)

    assert (caught.value.type, caught.value.remedy) == ("BackupFailed", "Get it.")


def test_a_disk_that_is_too_small_is_seen_before(backups, monkeypatch):
    monkeypatch.setattr(module, "LEFT_FREE", 1 << 60)
    site = Site()

    with pytest.raises(
        Failure, match=r"^the backup of sqlite /srv/site/shared/db may take 0\.0 MB, and "
    ) as caught:
        make(backups, site)

    assert caught.value.type == "NoSpace"
    assert [request["do"] for request in site.asked] == ["describe_database"]


def test_a_dump_is_not_written_where_visitors_may_read_it(backups, layout):
    shared = str(layout.shared)
    site = Site(describe_database={"ok": True, "database": {**DATABASE, "served": [shared]}})

    with pytest.raises(Failure) as caught:
        make(backups, site)

    assert (caught.value.type, caught.value.message) == (
        "BackupFailed",
        f"no backup is possible: {backups.folder} is inside of {shared}, whose files visitors may read",
    )


def test_what_a_killed_program_left_goes_with_the_next(backups):
    kept = make(backups)
    (backups.folder / ".20261122T174500Z-default.sqlite3.part").touch()
    (backups.folder / "20261122T174500Z-default.json").write_text("{}")
    (backups.folder / "mine.json").write_text("{}")

    made = make(backups)

    assert sorted(path.name for path in backups.folder.iterdir()) == sorted(
        [*(f"{name}{suffix}" for name in (kept, made) for suffix in (".json", ".sqlite3")), "mine.json"]
    )


def test_what_is_damaged_is_not_listed(backups):
    first, second, third = (make(backups) for _ in range(3))
    (backups.folder / f"{first}.json").write_text("{")
    (backups.folder / f"{second}.sqlite3").write_bytes(b"")

    assert names(backups) == [third]


def test_a_dump_that_was_changed_is_not_put_back(backups):
    name = make(backups)
    (backups.folder / f"{name}.sqlite3").write_bytes(b"ALL OF IT")

    with pytest.raises(Failure) as caught:
        backups.verify(backups.find(name))

    assert caught.value.message == (
        f"the backup {name} is damaged: its sha256 is another than when it was made"
    )


def test_damage_is_told_by_name(backups):
    """Whoever looks for a backup in need is not told that there was none."""
    short, gone, broken, other = [make(backups, keep=9) for _ in range(4)]
    (backups.folder / f"{short}.sqlite3").write_bytes(b"")
    (backups.folder / f"{gone}.sqlite3").unlink()
    (backups.folder / f"{broken}.json").write_text("{")
    size = json.loads((backups.folder / f"{short}.json").read_text())["size"]
    (backups.folder / f"{other}.json").write_text((backups.folder / f"{short}.json").read_text())

    found, damaged = backups.look()
    assert found == []
    assert damaged == {
        short: f"its dump {short}.sqlite3 has 0 bytes, and had {size}",
        gone: f"its dump {gone}.sqlite3 is not there",
        broken: f"{broken}.json cannot be read",
        other: f"{other}.json tells of another one, {short}",
    }
    with pytest.raises(Failure) as caught:
        backups.find(short)
    assert caught.value.message == f"the backup {short} is damaged: {damaged[short]}"


def test_what_is_being_made_is_not_damaged(backups):
    """Its description is there a moment before the dump has its name; or for good, after a power cut."""
    name = make(backups)
    dump = backups.folder / f"{name}.sqlite3"
    dump.rename(backups.folder / f".{dump.name}.part")

    assert backups.look() == ([], {})


def test_an_unknown_one(backups):
    with pytest.raises(Failure) as caught:
        backups.find("../../etc/passwd")

    assert (caught.value.type, caught.value.message) == (
        "NoSuchBackup",
        "there is no backup '../../etc/passwd' on the host",
    )


def test_the_file_that_is_named_lies_in_the_folder(backups, layout):
    """Nothing else is deleted or read on the word of a file."""
    name = make(backups)
    outside = layout.shared / f"{name}.sqlite3"
    outside.write_bytes(b"all of it")
    record = backups.folder / f"{name}.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "file": f"../{name}.sqlite3"}))

    make(backups, keep=1)

    assert os.path.exists(outside)


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        ({"ok": True, "databases": {"default": {"vendor": "sqlite", "place": "sqlite /new/db"}}}, "/new/db"),
        ({"ok": False, "error": "A request does one of describe, run"}, "/srv/site/shared/db"),
    ],
    ids=["another place", "an older release"],
)
def test_it_is_told_into_what_a_backup_is_put(backups, link, reply, place):
    """The live release may have another database than the one of which the backup is."""
    make(backups)
    [backup] = backups.all()
    failure = {"ok": False, "error": "no", "damaged": False}

    backups.restore(Site(identify=reply), backup)
    with pytest.raises(Failure, match=f"the restore of sqlite {place} failed: no"):
        backups.restore(Site(identify=reply, restore=failure), backup)

    told = [fields["place"] for kind, fields in link.events if kind.startswith("restore.")]
    assert told == [f"sqlite {place}"] * 3
