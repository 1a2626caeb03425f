from __future__ import annotations

import io
import json
import os
import shutil
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from django.core.management.base import CommandError
from django.test import override_settings

from django_deploy.management.commands import deploy_status
from django_deploy.status import HostStatus
from tests.management.use_cases import replaced

NOW = time.time()


@pytest.fixture(autouse=True)
def _now(monkeypatch):
    """Ages are shown in minutes, and a long run of tests takes some."""
    monkeypatch.setattr(deploy_status, "time", SimpleNamespace(time=lambda: NOW))


LIVE, RETIRED, OLDER, FAILED = (
    {
        "id": id,
        "state": state,
        "project": "shop",
        "version": version,
        "revision": revision,
        "created": NOW - age,
        "created_by": "anna@laptop",
    }
    for id, state, version, revision, age in [
        (
            "r4",
            "live",
            "1.4",
            {"vcs": "git", "id": "3f9c2a1b22dd77", "branch": "main", "dirty": True},
            11_430,
        ),
        ("r3", "retired", "1.3", {"vcs": "hg", "id": "aa", "branch": "", "dirty": False}, 200_000),
        ("r1", "retired", "1.1", None, 0),
        ("r2", "failed", "1.2", None, 300_000),
    ]
)
OLDER.update(created=None, created_by=None, project=None, version=None)
GOOD = HostStatus(
    "deploy@web1",
    live="r4",
    releases=(OLDER, FAILED, RETIRED, LIVE),
    processes=(
        {"name": "web", "release": "r4", "state": "running", "since": NOW - 11_010, "pid": 1},
        {"name": "worker", "release": "r4", "state": "failed", "since": 0, "pid": 0, "restarts": 12},
        {"name": "web", "release": "r3", "state": "running", "since": NOW - 200_000, "pid": 2},
    ),
)


DOWN = "Not running: worker on deploy@web1."


class Status:
    """The use case's interface."""

    def __init__(self, *hosts):
        self.hosts = hosts

    def look(self, target, *, report, prompts):
        return self.hosts


def run(*hosts, argv=(), error=""):
    out = io.StringIO()
    command = deploy_status.Command(stdout=out, no_color=True)
    targets = {"staging": {"HOSTS": ["web1"], "ROOT": "/srv/shop", "ENV": {"PASSWORD": "hunter22"}}}
    with override_settings(DEPLOY_TARGETS=targets), replaced(status=Status(*hosts)):
        parser = command.create_parser("manage.py", "deploy_status")
        options = vars(parser.parse_args(["staging", *argv]))
        if not error:
            command.execute(**options)
            return out.getvalue()
        with pytest.raises(CommandError) as caught:
            command.execute(**options)
    assert str(caught.value) == error
    assert caught.value.returncode == 1
    return out.getvalue()


def test_a_host():
    assert run(GOOD, error=DOWN) == (
        "deploy@web1\n"
        "  live        r4, 3 h 10 min old\n"
        "              shop 1.4, git 3f9c2a1b22dd (main) with uncommitted changes, by anna@laptop\n"
        "  processes   web     running for 3 h 3 min\n"
        "              worker  failed, started again 12 times\n"
        "              web     running for 2 days (release r3)\n"
        "  go back to  r3, 2 days old: shop 1.3, hg aa, by anna@laptop\n"
        "              r1, of unknown age\n"
    )


def test_all_is_well():
    well = replace(GOOD, processes=(GOOD.processes[0], GOOD.processes[2]))

    assert run(well).startswith("deploy@web1\n  live        r4, 3 h 10 min old\n")


def test_a_host_that_is_behind():
    behind = HostStatus("web2", live="r3", behind="r4", releases=(RETIRED,))

    assert run(behind, error="Behind: web2.") == (
        "web2\n"
        "  live        r3, 2 days old\n"
        "              shop 1.3, hg aa, by anna@laptop\n"
        "  behind      r4 is live elsewhere\n"
        "  go back to  r3, 2 days old: shop 1.3, hg aa, by anna@laptop\n"
    )


def test_a_deployment_is_running():
    lock = {"by": "bob@desk", "since": NOW - 75, "phase": "running migrate --noinput", "pid": 7}

    assert run(HostStatus("web1", lock=lock)) == (
        "web1\n"
        "  live        nothing yet\n"
        "  locked      by bob@desk for 1 min 15 s: running migrate --noinput\n"
    )
    assert "  locked      by somebody: starting\n" in run(HostStatus("web1", lock={"pid": 7}))
    later = {**lock, "since": NOW + 3600}  # a clock that is ahead of ours
    assert "  locked      by bob@desk for 0 ms: running" in run(HostStatus("web1", lock=later))


def test_a_deployment_that_was_cut_off():
    cut = HostStatus("web1", left_open={"release": "r5", "phase": "switch"})

    assert run(cut, error="Interrupted: web1.") == (
        "web1\n"
        "  live        nothing yet\n"
        "  interrupted r5, in the phase switch; the next deployment fixes it\n"
    )


def test_a_deployment_that_was_cut_off_after_its_confirm_is_no_trouble():
    left = HostStatus("web1", left_open={"release": "r5", "phase": "confirm"})

    assert run(left) == (
        "web1\n"
        "  live        nothing yet\n"
        "  left        what ran before it, at the very end: the next deployment clears it\n"
    )


def test_every_trouble_is_in_the_end():
    silent = HostStatus("web2", error="web2: gone.")
    behind = HostStatus("web3", live="r3", behind="r4", left_open={"release": "r5", "phase": "start"})

    run(GOOD, silent, behind, error="Without an answer: web2. Behind: web3. Interrupted: web3. " + DOWN)


def test_a_host_without_a_release():
    assert run(HostStatus("web1")) == "web1\n  live        nothing yet\n"


def test_a_host_that_does_not_answer():
    silent = HostStatus("web2", error="web2: no route to host.\nIs it on?")

    out = run(HostStatus("web1"), silent, error="Without an answer: web2.")

    assert out == "web1\n  live        nothing yet\nweb2\n  no route to host.\n  Is it on?\n"


def test_json_is_one_event_a_host():
    out = run(
        GOOD, HostStatus("web2", error="gone"), argv=["--json"], error=f"Without an answer: web2. {DOWN}"
    )

    first, second = map(json.loads, out.splitlines())
    assert first["host"] == "deploy@web1"
    assert first["live"] == "r4"
    assert [release["id"] for release in first["releases"]] == ["r1", "r2", "r3", "r4"]
    assert first["processes"][1]["state"] == "failed"
    del second["at"]
    assert second == {
        "event": "host.status",
        "host": "web2",
        "error": "gone",
        "live": None,
        "behind": None,
        "lock": None,
        "maintenance": None,
        "left_open": None,
        "releases": [],
        "processes": [],
    }


def test_what_a_host_says_is_data():
    release = {**LIVE, "project": "\x1b[2Jhunter22", "created_by": "a\nb"}

    out = run(HostStatus("web1", live="r4", releases=(release,)))

    assert "\x1b" not in out
    assert "hunter22" not in run(HostStatus("web1", live="r4", releases=(release,)), argv=["--json"])
    assert "**** 1.4, git 3f9c2a1b22dd (main) with uncommitted changes, by a b\n" in out


def test_what_is_watched_fits_the_screen_with_its_last_line_free(monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((80, 18)))
    out = io.StringIO()
    command = deploy_status.Command(stdout=out, no_color=True)

    hosts = [HostStatus(f"web{number}") for number in range(20)]
    hosts[17] = HostStatus("web17", error="web17: no answer.\nIs it up?")
    hosts[18] = replace(GOOD, host="web18", behind="r5")
    command.draw(SimpleNamespace(name="staging"), hosts)

    lines = out.getvalue().replace("\x1b[K", "").splitlines()
    assert len(lines) == 17
    assert [line.split(", ")[0] for line in lines[1:4]] == [
        "web17  no answer.",
        "web18  r4",
        "web0   nothing yet",
    ]
    assert lines[2].endswith("; behind; worker not running")
    assert lines[15] == "and 6 more"


def test_what_is_watched_is_as_wide_as_the_screen(monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((30, 18)))
    out = io.StringIO()

    deploy_status.Command(stdout=out, no_color=True).draw(
        SimpleNamespace(name="staging"), [HostStatus("web1", live="r4", releases=(LIVE,))]
    )

    lines = out.getvalue().replace("\x1b[K", "").splitlines()
    assert max(map(len, lines[1:-1])) == 30
    assert lines[3].endswith("…")
