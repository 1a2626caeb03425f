"""What a host makes of the way to an earlier release; the rest is in tests/test_way_back_deployment.py."""

from __future__ import annotations

import pytest

from django_deploy.host.layout import Layout
from django_deploy.host.way_back import WayBack
from tests.host.conftest import Link

RELEASE = "20261122T174500Z-3f9c2a1"
PLAN = {"database": "default", "place": "postgresql shop on db1", "ahead": ["shop.0002_new"]}


@pytest.fixture
def way_back(tmp_path):
    layout = Layout(str(tmp_path))
    layout.create()
    return WayBack(layout, Link(), -1, layout.release(RELEASE), lambda stream, line: None)


def refuse(request):
    raise AssertionError(request)


def test_nothing_is_asked_where_the_release_knows_all(way_back):
    way_back.plan(refuse, {**PLAN, "ahead": []})

    assert (way_back.reversals, way_back.moves()) == ([], [])


def test_what_no_release_has_the_file_of_cannot_be_taken_back(way_back):
    way_back.plan(refuse, PLAN)

    assert [reversal.as_dict() for reversal in way_back.reversals] == [
        {
            "database": "default",
            "place": "postgresql shop on db1",
            "needed": ["shop.0002_new"],
            "kept": [],
            "irreversible": ["shop.0002_new: no release of this host has its file"],
        }
    ]
