"""What Ctrl-C says of a site that was changed already; the rest is in ``tests/hosts/test_daily.py``."""

from __future__ import annotations

from functools import partial

import pytest

from django_deploy import upkeep
from django_deploy.exceptions import Interrupted
from django_deploy.host.protocol import ignore
from tests import sessions
from tests.sessions import TARGET, WEB1, WEB2, Session, interrupt_at_the_end

WHERE = "manage.py deploy_status staging shows where it is on. Do it once more."


@pytest.fixture
def connect(monkeypatch):
    return partial(sessions.connect, monkeypatch)


def interrupted(work, *args, report=ignore):
    with pytest.raises(Interrupted) as caught:
        work(TARGET, *args, report=report)
    return str(caught.value)


@pytest.mark.parametrize("notice", [{"message": "", "retry_after": None}, None], ids=["on", "off"])
def test_the_maintenance_page_when_interrupted(connect, notice):
    connect(Session(WEB1), Session(WEB2, "maintain"))

    assert interrupted(upkeep.maintain, notice) == (
        f"Interrupted. Some hosts may show the maintenance page, and others the site.\n{WHERE}"
    )


def test_the_maintenance_page_before_anything_was_asked_for(connect):
    connect(Session(WEB1), Session(WEB2, "begin"))

    assert interrupted(upkeep.maintain, None) == "Interrupted. Nothing was changed."


def test_the_restart_of_a_process_when_interrupted(connect):
    looks = "manage.py deploy_status staging shows what runs."
    connect(Session(WEB1, "restart"), Session(WEB2))
    assert interrupted(upkeep.restart_process, "worker") == (
        f"Interrupted. 'worker' may have been restarted on web1.\n{looks}"
    )

    connect(Session(WEB1), Session(WEB2, "begin"))
    assert interrupted(upkeep.restart_process, "worker") == (
        f"Interrupted. 'worker' may have been restarted on web1.\n{looks}"
    )

    connect(Session(WEB1, "begin"), Session(WEB2))
    assert interrupted(upkeep.restart_process, "worker") == "Interrupted. Nothing was changed."


@pytest.mark.parametrize(
    ("work", "args"), [(upkeep.restart, ()), (upkeep.change_environment, ({"DEBUG": "0"}, []))]
)
def test_too_late_to_interrupt(connect, work, args):
    connect(Session(WEB1), Session(WEB2))
    said = interrupted(work, *args, report=interrupt_at_the_end)

    assert said.startswith("Interrupted, but too late: ")
    assert said.endswith("-3f9c2a1 had been confirmed: it is live.")


def test_the_environment_of_hosts_on_which_nothing_is_live_when_interrupted(connect):
    connect(Session(WEB1, live=None), Session(WEB2, "store_environment", live=None))

    assert interrupted(upkeep.change_environment, {"DEBUG": "0"}, []) == (
        "Interrupted. The environment may have been changed on some hosts.\n"
        "manage.py deploy_env staging shows what is set."
    )
