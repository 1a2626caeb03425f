"""What is said of a backup that is put back; the rest is in ``tests/test_backups_deployment.py``."""

from __future__ import annotations

import pytest

from django_deploy.restoration import Backup, Loss

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
        "message": "the database does not have these migrations any more: shop.0002_b.",
        "remedy": remedy,
    }
