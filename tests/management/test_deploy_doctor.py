from __future__ import annotations

import io
import json

import pytest
from django.core import checks
from django.core.management.base import CommandError
from django.test import override_settings

from django_deploy.doctor import diagnosis
from django_deploy.doctor.finding import Finding
from django_deploy.management import system_checks
from django_deploy.management.commands import deploy_doctor

GOOD = Finding("clock", "ok", "as this machine's")
DOUBT = Finding("release", "warning", "nothing is live yet", "manage.py deploy staging")
BAD = Finding("sockets", "error", "status 500\n| hunter22 \x1b[31mred", "Read the log.\nThen deploy.")
WORSE = Finding("index", "error", "no answer", "Ask.")
UNKNOWN = Finding("dns", "not checked", "the target names no DOMAIN")


def run(monkeypatch, *findings, argv=()):
    """The output, and the error, if there is one."""
    monkeypatch.setattr(diagnosis, "diagnose", lambda target, **options: (one for one in findings))
    monkeypatch.setattr(system_checks, "check_settings", lambda: Finding("settings", "ok", "fine"))
    out = io.StringIO()
    command = deploy_doctor.Command(stdout=out, no_color=True)
    targets = {"staging": {"HOSTS": ["web1"], "ROOT": "/srv/shop", "ENV": {"PASSWORD": "hunter22"}}}
    with override_settings(DEPLOY_TARGETS=targets):
        options = vars(command.create_parser("manage.py", "deploy_doctor").parse_args(["staging", *argv]))
        try:
            command.execute(**options)
        except CommandError as error:
            return out.getvalue(), error
    return out.getvalue(), None


def test_all_is_well(monkeypatch):
    out, error = run(monkeypatch, ("web1", GOOD), ("web1", DOUBT), ("outside", UNKNOWN))

    assert error is None
    assert out == (
        "here\n"
        "  ok     settings           fine\n"
        "web1\n"
        "  ok     clock              as this machine's\n"
        "  WARN   release            nothing is live yet\n"
        "                          > manage.py deploy staging\n"
        "outside\n"
        "  -      dns                not checked: the target names no DOMAIN\n"
        "0 errors, 1 warning, 1 not checked, 2 ok.\n"
    )


def test_github_annotates_what_is_red(monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    out, _ = run(monkeypatch, ("web1", WORSE))

    assert out.splitlines()[-1].startswith(
        "::error title=django-deploy::Begin with: web1: index: no answer%0AAsk."
    )


def test_the_first_that_is_red_is_where_to_begin(monkeypatch):
    out, error = run(monkeypatch, ("web1", BAD), ("web1", WORSE))

    assert out == (
        "here\n"
        "  ok     settings           fine\n"
        "web1\n"
        "  ERROR  sockets            status 500\n"
        "                            | **** red\n"
        "                          > Read the log.\n"
        "                          > Then deploy.\n"
        "  ERROR  index              no answer\n"
        "                          > Ask.\n"
        "2 errors, 0 warnings, 1 ok.\n"
    )
    assert error.returncode == 1
    assert str(error) == "Begin with: web1: sockets: status 500\n| **** red\nRead the log.\nThen deploy."


def test_brief(monkeypatch):
    out, _ = run(monkeypatch, ("web1", GOOD), ("web2", DOUBT), ("outside", UNKNOWN), argv=["-v", "0"])

    assert out == (
        "web2\n"
        "  WARN   release            nothing is live yet\n"
        "                          > manage.py deploy staging\n"
        "0 errors, 1 warning, 1 not checked, 2 ok.\n"
    )


def test_json(monkeypatch):
    out, error = run(monkeypatch, ("web1", WORSE), argv=["--json"])

    first, second = map(json.loads, out.splitlines())
    assert error.returncode == 1
    assert first.pop("at") and second.pop("at")
    assert first == {
        "event": "checked",
        "host": "here",
        "check": "settings",
        "outcome": "ok",
        "message": "fine",
        "remedy": "",
    }
    assert second == {
        "event": "checked",
        "host": "web1",
        "check": "index",
        "outcome": "error",
        "message": "no answer",
        "remedy": "Ask.",
    }


@pytest.mark.parametrize(
    ("found", "outcome", "message"),
    [
        ([], "ok", "the project passes its checks"),
        ([checks.Warning("odd", id="a.W1")], "warning", "a.W1: odd"),
        (
            [checks.Warning("odd", id="a.W1"), *(checks.Error(f"bad {n}", id=f"a.E{n}") for n in range(5))],
            "error",
            "a.E0: bad 0; a.E1: bad 1; a.E2: bad 2; and 2 more",
        ),
        ([checks.Info("by the way", id="a.I1")], "ok", "the project passes its checks"),
    ],
)
def test_system_checks(monkeypatch, found, outcome, message):
    monkeypatch.setattr(system_checks.checks, "run_checks", lambda: found)

    remedy = "" if outcome == "ok" else system_checks.REMEDY
    assert system_checks.check_settings() == Finding("settings", outcome, message, remedy)


def test_checks_that_fail_themselves(monkeypatch):
    def fail():
        raise ImportError("no module named shop.urls")

    monkeypatch.setattr(system_checks.checks, "run_checks", fail)

    assert system_checks.check_settings().message == (
        "the project does not pass its checks: ImportError: no module named shop.urls"
    )
