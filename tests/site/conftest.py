"""Real databases of each vendor, for those that want them."""

from __future__ import annotations

import pytest

from tests.database_servers import create_database, mariadb, postgresql

SERVERS = {"postgresql": postgresql, "mysql": mariadb}


@pytest.fixture(scope="session", params=["sqlite", "postgresql", "mysql"])
def server(request, tmp_path_factory):
    """The vendor, and what makes a new database of it."""
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("sqlite")
        yield "sqlite", lambda name: {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / name)}
    else:
        with SERVERS[request.param]() as settings:
            yield request.param, lambda name: create_database(settings, name)
