"""The status, looked at again and again; what is printed: ``tests/management/test_deploy_status.py``."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import replace

import pytest

from django_deploy.exceptions import HostUnreachable
from django_deploy.status import watch
from django_deploy.transport import fleet
from tests.sessions import RELEASE, TARGET, WEB1, WEB2, Session, connect


class Watched(Session):
    """A host that says of itself what it has said at first."""

    def request(self, name, **fields):
        reply = Future()
        reply.set_result({**self.facts, "lock": None, "unfinished": False, "processes": []})
        return reply


@pytest.fixture
def couriers():
    """The names of those that have come since."""
    before = set(threading.enumerate())
    return lambda: sorted(t.name for t in {*threading.enumerate()} - before if t.name.startswith("courier "))


def wait_for_their_end(couriers):
    deadline = time.monotonic() + 10
    while couriers():
        assert time.monotonic() < deadline, couriers()
        time.sleep(0.01)


def test_a_host_that_does_not_answer_is_asked_anew_and_leaves_nothing_behind(monkeypatch, couriers):
    def refuse(host, target, **options):
        raise HostUnreachable(host.name, "nothing answers there")

    monkeypatch.setattr(fleet, "open_session", refuse)
    looks = watch(replace(TARGET, hosts=(WEB1,)))
    for _ in range(4):
        assert [status.error for status in next(looks)] == ["web1: nothing answers there"]

        wait_for_their_end(couriers)


def test_links_to_hosts_that_answer_stay_open_up_to_the_end(monkeypatch, couriers):
    connect(monkeypatch, Watched(WEB1), Watched(WEB2))
    looks = watch(TARGET)
    for _ in range(3):
        assert [status.live for status in next(looks)] == [RELEASE, RELEASE]
        assert couriers() == ["courier web1", "courier web2"]

    looks.close()
    wait_for_their_end(couriers)
