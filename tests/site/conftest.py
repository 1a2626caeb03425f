"""Real databases of each vendor, for those that want them."""

from __future__ import annotations

import re

import pytest

from tests.database_servers import create_database, mariadb, postgresql
from tests.library.database import Library

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


@pytest.fixture
def library(server, tmp_path, request):
    """A new database of the first edition."""
    vendor, create = server
    name = "b_" + re.sub(r"\W", "_", request.node.name)[-40:].lower()
    made = Library(vendor, create(name), tmp_path)
    if vendor == "mysql":
        made.execute(f"ALTER DATABASE {name} CHARACTER SET utf8mb4")
    with made.edition(1) as edition:
        edition.migrate()
    return made
