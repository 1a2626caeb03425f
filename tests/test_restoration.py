"""What is said of a backup that is put back; the rest is in ``tests/test_backups_deployment.py``."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from django_deploy.exceptions import Interrupted, RequestFailed
from django_deploy.host.protocol import ignore
from django_deploy.restoration import Backup, Loss, backups, restore
from tests.sessions import TARGET, WEB1, WEB2, Session, connect, interrupt_at_the_end

NAME, RELEASE = "20261122T212337Z-default", "20261122T174500Z-3f9c2a1"
BACKUP = Backup(NAME, "web1", "default", "postgresql shop on db1", "migrating shop.0002_b", RELEASE, 9, 0.0)
AGAIN = "If the live release needs them, apply them again: manage.py deploy_run staging -- migrate"


@pytest.mark.parametrize(
    ("place", "remedy"),
    [
        pytest.param(
            BACKUP.place,
            f"{AGAIN}; or go back to what was live then: manage.py deploy_rollback staging {RELEASE}.",
            id="the same",
        ),
        pytest.param("postgresql other on db1", f"{AGAIN}.", id="another, which that release does not use"),
    ],
)
def test_the_database_does_not_have_migrations_any_more(place, remedy):
    loss = Loss(BACKUP, {"place": place, "newer": ["shop.0002_b"], "older": [], "tables": []})

    assert loss.warning("staging") == {
        "message": "the database no longer has these migrations: shop.0002_b.",
        "remedy": remedy,
    }


SINCE = {"place": BACKUP.place, "newer": [], "older": [], "tables": []}
ANSWERS = {"backups": {"backups": [asdict(BACKUP)], "damaged": {}}, "compare_backup": {"since": SINCE}}


class Backed(Session):
    """A host with the backup and a site behind a socket."""

    def __init__(self, last="", **answers):
        super().__init__(WEB1, last, answers={**ANSWERS, **answers})
        self.facts["releases"][0]["processes"] = [{"name": "web", "command": ["gunicorn", "{socket}"]}]


class SwitchingOff(Backed):
    """Ctrl-C is pressed when the page goes off."""

    def request(self, name, **fields):
        self.last = "maintain" if name == "maintain" and fields["notice"] is None else ""
        return super().request(name, **fields)


def test_a_host_that_fails_does_not_hide_the_backups_of_the_others(monkeypatch):
    error = RequestFailed("web2", "no such folder", type="Bug")
    connect(monkeypatch, Backed(), Session(WEB2, answers={"backups": error}))

    assert backups(TARGET) == ((BACKUP,), (error,))


OFF = "manage.py deploy_maintenance staging off."


def interrupted(monkeypatch, session, report=ignore):
    connect(monkeypatch, session)
    with pytest.raises(Interrupted) as caught:
        restore(replace(TARGET, hosts=(WEB1,)), NAME, report=report, confirm=lambda loss: True)
    return str(caught.value)


def test_interrupted_before_anything_was_changed(monkeypatch):
    assert interrupted(monkeypatch, Backed("compare_backup")) == "Interrupted. Nothing was changed."


def test_interrupted_while_the_page_is_switched_on(monkeypatch):
    assert interrupted(monkeypatch, Backed("maintain")) == (
        f"Interrupted. No database was changed.\nIf the page is on (deploy_status): {OFF}"
    )


def test_interrupted_while_the_backup_is_put_back(monkeypatch):
    assert interrupted(monkeypatch, Backed("restore_backup")) == (
        "Interrupted. What has begun is not stopped half-way: the host goes on with it.\n"
        f"When it is done (deploy_status): {OFF}"
    )


def test_interrupted_while_the_page_is_switched_off(monkeypatch):
    assert interrupted(monkeypatch, SwitchingOff()) == (
        "Interrupted. The database is what it was when the backup was made.\n"
        f"If the page is on (deploy_status): {OFF}"
    )


def test_interrupted_while_the_page_is_switched_off_behind_a_failure(monkeypatch):
    error = RequestFailed("web1", "no room", type="StepFailed")
    assert interrupted(monkeypatch, SwitchingOff(restore_backup=error)) == (
        f"Interrupted. The database is as before.\nIf the page is on (deploy_status): {OFF}"
    )


def test_interrupted_at_the_very_end(monkeypatch):
    said = interrupted(monkeypatch, Backed(), interrupt_at_the_end)

    assert said == "Interrupted. The database is what it was when the backup was made."
