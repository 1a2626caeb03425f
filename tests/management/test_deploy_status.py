from __future__ import annotations

import io
import json
import time
from types import SimpleNamespace

import pytest
from django.core.management.base import CommandError
from django.test import override_settings

from django_deploy.deployment import HostStatus
from django_deploy.management.commands import deploy_status

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
        {"name": "worker", "release": "r4", "state": "failed", "since": 0, "pid": 0},
        {"name": "web", "release": "r3", "state": "running", "since": NOW - 200_000, "pid": 2},
    ),
)


class Deployment:
    def __init__(self, *hosts):
        self.hosts = hosts

    def status(self, target, *, report, prompts):
        return self.hosts


def run(*hosts, argv=(), error=""):
    out = io.StringIO()
    command = deploy_status.Command(stdout=out, no_color=True)
    command.deployment = Deployment(*hosts)
    targets = {"staging": {"HOSTS": ["web1"], "ROOT": "/srv/shop", "ENV": {"PASSWORD": "hunter22"}}}
    with override_settings(DEPLOY_TARGETS=targets):
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
    assert run(GOOD) == (
        "deploy@web1\n"
        "  live        r4, 3 h 10 min old\n"
        "              shop 1.4, git 3f9c2a1b22dd (main) with uncommitted changes, by anna@laptop\n"
        "  processes   web     running for 3 h 3 min\n"
        "              worker  failed\n"
        "              web     running for 2 days (release r3)\n"
        "  go back to  r3, 2 days old: shop 1.3, hg aa, by anna@laptop\n"
        "              r1, of unknown age\n"
    )


def test_a_host_without_a_release():
    assert run(HostStatus("web1")) == "web1\n  live        nothing yet\n"


def test_a_host_that_does_not_answer():
    silent = HostStatus("web2", error="web2: no route to host.\nIs it on?")

    out = run(HostStatus("web1"), silent, error="Without an answer: web2.")

    assert out == "web1\n  live        nothing yet\nweb2\n  no route to host. Is it on?\n"


def test_json_is_one_event_a_host():
    out = run(GOOD, HostStatus("web2", error="gone"), argv=["--json"], error="Without an answer: web2.")

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
        "releases": [],
        "processes": [],
    }


def test_what_a_host_says_is_data():
    release = {**LIVE, "project": "\x1b[2Jhunter22", "created_by": "a\nb"}

    out = run(HostStatus("web1", live="r4", releases=(release,)))

    assert "\x1b" not in out
    assert "hunter22" not in run(HostStatus("web1", live="r4", releases=(release,)), argv=["--json"])
    assert "**** 1.4, git 3f9c2a1b22dd (main) with uncommitted changes, by a b\n" in out
