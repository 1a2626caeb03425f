"""One rehearsal at a time, and what is left of it."""

from __future__ import annotations

import fcntl
import os

import pytest

from django_deploy.host.layout import Layout
from django_deploy.host.protocol import Failure
from django_deploy.host.rehearsal import _alone, forget


@pytest.fixture
def layout(tmp_path):
    made = Layout(str(tmp_path))
    made.private.mkdir()
    return made


def test_one_at_a_time(layout):
    with (
        _alone(layout),
        pytest.raises(Failure, match="another deploy --plan, or a deploy that will ask, is running there"),
        _alone(layout),
    ):
        pass


def test_what_is_under_way_is_not_thrown_away(layout):
    folder = layout.private / "rehearsal"
    folder.mkdir()
    descriptor = os.open(layout.private / "rehearsal.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    forget(layout)
    assert folder.is_dir()
    os.close(descriptor)
    forget(layout)
    assert not folder.exists()
