"""Django, set up once for all tests, and a database for those that want one."""

import os

import django
import pytest


def pytest_configure():
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()


@pytest.fixture
def database(tmp_path):
    """The default database as a fresh file without any table."""
    from django.db import connection

    name = connection.settings_dict["NAME"]
    connection.close()
    connection.connection = None  # an in-memory database survives close()
    connection.settings_dict["NAME"] = str(tmp_path / "database.sqlite3")
    yield connection
    connection.close()
    connection.settings_dict["NAME"] = name
