from __future__ import annotations

import time

import pytest

from django_deploy.doctor import live_site
from django_deploy.doctor.finding import Finding
from django_deploy.exceptions import ConnectionLost, RequestFailed

from .subjects import FACTS, LIVE, SOCKET, bare, subject


@pytest.mark.parametrize(
    ("facts", "outcome", "message", "remedy"),
    [
        ({}, "ok", f"{LIVE} is live", ""),
        (
            {"lock": {"by": "anna@laptop"}},
            "warning",
            "anna@laptop is deploying now",
            "Look again when that has finished.",
        ),
        (
            {"unfinished": True, "transaction": {"release": LIVE, "phase": "activate"}},
            "error",
            f"a deployment of {LIVE} was interrupted",
            "The next one fixes it: manage.py deploy staging",
        ),
        (
            {"unfinished": True, "transaction": {"release": LIVE, "phase": "confirm"}},
            "warning",
            f"{LIVE} is live, but its deployment was interrupted at the very end",
            "The next one clears what is left: manage.py deploy staging",
        ),
        (
            {"linked": False},
            "error",
            "/srv/shop: current, or a socket in run, is not a link that django-deploy made",
            "The next deployment fixes it: manage.py deploy staging",
        ),
        (
            {"deferred": ["shop.0002_drop"]},
            "warning",
            f"{LIVE} is live, and migrations wait: shop.0002_drop",
            "manage.py deploy staging",
        ),
    ],
)
def test_release(facts, outcome, message, remedy):
    assert live_site.check_release(subject(**facts)) == Finding("release", outcome, message, remedy)


def test_the_environment():
    message = "2 by the settings, 1 set on the host"
    assert live_site.check_environment(subject()) == Finding("environment", "ok", message)

    failure = RequestFailed("web1", "environment.json cannot be read", type="HostUnfit", remedy="Fix it.")
    assert live_site.check_environment(subject(environment=failure)) == Finding(
        "environment", "error", "environment.json cannot be read", "Fix it."
    )


def test_nothing_is_live():
    assert live_site.check_release(bare()) == Finding(
        "release", "warning", "nothing is live yet", "manage.py deploy staging"
    )
    for check in (live_site.check_database, live_site.check_processes, live_site.check_sockets):
        found = check(bare())
        assert (found.outcome, found.message) == ("not checked", "nothing is live yet")


def database(**entry):
    found = {"databases": {"default": {"vendor": "postgresql", "place": "postgresql shop on db1", **entry}}}
    return live_site.check_database(subject(databases=found))


def test_database():
    assert database() == Finding("database", "ok", "postgresql shop on db1 answers")
    assert database(error="OperationalError: first\n  connection refused\n") == Finding(
        "database",
        "error",
        "postgresql shop on db1: connection refused",
        "Does the server run, and do name, port, user and password in the settings and ENV still hold?",
    )
    assert database(error="it answers, and has no tables") == Finding(
        "database",
        "error",
        "postgresql shop on db1: it answers, and has no tables",
        "Is it the right one? The settings and ENV say which; migrate makes the tables, empty ones.",
    )
    assert database(vendor="sqlite", place="sqlite /x", error="there is no file /x") == Finding(
        "database",
        "error",
        "sqlite /x: there is no file /x",
        "Where did the file go? migrate makes a new one, and an empty one.",
    )
    assert database(
        vendor="sqlite", place="sqlite /x", error="/x, or its folder, cannot be written"
    ) == Finding(
        "database",
        "error",
        "sqlite /x: /x, or its folder, cannot be written",
        "SQLite writes to the file and next to it: both must belong to the user that the site runs as.",
    )
    assert database(vendor="sqlite", place="sqlite /x", open_file="/srv/my shop/x") == Finding(
        "database",
        "warning",
        "/srv/my shop/x can be read by every user of the host",
        "On the host, as its owner: chmod o= '/srv/my shop/x'*",
    )
    assert live_site.check_database(subject(databases={"databases": {}})) == Finding(
        "database", "ok", "the site has none"
    )


def test_database_that_cannot_be_asked():
    def check(message, type="StepFailed", lines=()):
        failure = RequestFailed("web1", message, type=type, details={"lines": list(lines)})
        return live_site.check_database(subject(databases=failure))

    assert check("A request does one of describe, run, not this: {}") == Finding(
        "database", "not checked", "the live release's django-deploy cannot tell", "Deploy."
    )
    assert check("took longer than 40 s", type="Timeout") == Finding(
        "database",
        "error",
        "asking it took longer than 40 s",
        "A firewall that drops packets? Set a connect_timeout in the database's OPTIONS.",
    )
    assert check("manage.py ended with status 1", lines=["Traceback", "KeyError: 'X'", ""]) == Finding(
        "database",
        "error",
        "the live release could not be asked: KeyError: 'X'",
        "The live release does not start: see what manage.py check says there.",
    )
    lost = ConnectionLost("web1", "the link to the host ended")
    assert live_site.check_database(subject(databases=lost)).outcome == "error"


def test_processes():
    def check(**change):
        web, worker, old = FACTS["processes"]
        return live_site.check_processes(subject(processes=[web, {**worker, **change}, old]))

    assert check() == Finding("processes", "ok", "web, worker: running")
    assert check(state="restarting") == Finding(
        "processes",
        "error",
        "worker is restarting",
        "Read why: manage.py deploy_logs staging worker. Then: manage.py deploy_restart staging",
    )
    assert check(since=time.time() - 20) == Finding(
        "processes",
        "warning",
        "worker was started again 7 times",
        "Read why: manage.py deploy_logs staging",
    )
    assert live_site.check_processes(subject(processes=[])).message == "web is unknown, worker is unknown"


def test_processes_of_others():
    releases = [{**FACTS["releases"][0], "processes": []}]

    assert live_site.check_processes(subject(releases=releases)) == Finding(
        "processes", "not checked", "the target has no PROCESSES: others run them"
    )


@pytest.mark.parametrize(
    ("change", "outcome", "message", "remedy"),
    [
        ({}, "ok", "/srv/shop/run/web.sock: the site answers", ""),
        (
            {"leads_to": ""},
            "error",
            "/srv/shop/run/web.sock is not there",
            "manage.py deploy_restart staging",
        ),
        (
            {"leads_to": "web.old.sock"},
            "error",
            "/srv/shop/run/web.sock leads to web.old.sock, which is not of the live release",
            "manage.py deploy_restart staging",
        ),
        (
            {"failure": {"message": "it answered status 500", "remedy": "", "lines": ["a", "b"]}},
            "error",
            "it answered status 500\n| a\n| b",
            "manage.py deploy_logs staging web",
        ),
        (
            {"leads_to": "maintenance.sock", "is_in_maintenance": True},
            "warning",
            "visitors see the maintenance page; behind it the site answers",
            "manage.py deploy_maintenance staging off",
        ),
    ],
)
def test_sockets(change, outcome, message, remedy):
    found = live_site.check_sockets(subject(examination={"sockets": [{**SOCKET, **change}]}))

    assert found == Finding("sockets", outcome, message, remedy)


def test_no_sockets():
    assert live_site.check_sockets(subject(examination={"sockets": []})) == Finding(
        "sockets", "not checked", "no process has a {socket}"
    )
