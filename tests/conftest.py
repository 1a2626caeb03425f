"""Django, set up once for all tests, and databases for those that want them."""

import os
import signal

import django
import pytest

from tests.corner_cases import summary


def pytest_configure():
    # A shell ignores Ctrl-C for what it runs in the background; a deployer that inherits this never hears it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    for service in ("GITHUB_ACTIONS", "GITLAB_CI"):  # where these tests run is not what they are about
        os.environ.pop(service, None)
    django.setup()


@pytest.fixture
def database(tmp_path, monkeypatch):
    """All databases as fresh files without any table; the default one's connection."""
    from django.db import connections

    for alias in connections:
        monkeypatch.setitem(connections[alias].settings_dict, "NAME", str(tmp_path / f"{alias}.sqlite3"))
    yield connections["default"]
    connections.close_all()


def pytest_terminal_summary(terminalreporter):
    """How many of the corner cases this run has shown."""
    passed = [report.nodeid for report in terminalreporter.getreports("passed") if report.when == "call"]
    failed = [report.nodeid for kind in ("failed", "error") for report in terminalreporter.getreports(kind)]
    for line in summary(passed, failed):
        terminalreporter.write_line(line)
