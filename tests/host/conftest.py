"""What tests of the host program share: a host's folders, and a deployer that only listens."""

from __future__ import annotations

import pytest

from django_deploy.host.backups import Backups
from django_deploy.host.layout import Layout


class Link:
    """Remembers what is reported."""

    def __init__(self):
        self.events = []

    def report(self, kind, **fields):
        self.events.append((kind, fields))

    def warnings(self):
        return [fields["message"] for kind, fields in self.events if kind == "warning"]


@pytest.fixture
def link():
    return Link()


@pytest.fixture
def layout(tmp_path):
    """A ROOT in which nothing was deployed yet."""
    layout = Layout(str(tmp_path / "site"))
    layout.create()
    return layout


@pytest.fixture
def backups(layout, link):
    return Backups(layout, link)
