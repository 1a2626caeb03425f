from __future__ import annotations

import sys

import pytest

from django_deploy.doctor import machine
from django_deploy.doctor.finding import Finding

from .subjects import DISK, subject

VERSION = ".".join(map(str, sys.version_info[:3]))


def test_clock():
    assert machine.check_clock(subject()) == Finding("clock", "ok", "as this machine's")
    assert machine.check_clock(subject(clock=-9.6)) == Finding(
        "clock", "warning", "10 s behind this machine's", machine.CLOCK_REMEDY
    )
    assert machine.check_clock(subject(clock=3600.2)) == Finding(
        "clock", "error", "3600 s ahead of this machine's", machine.CLOCK_REMEDY
    )


@pytest.mark.parametrize(
    ("change", "outcome", "message"),
    [
        ({}, "ok", "/srv/shop: 20.00 GB free of 40.00 GB"),
        ({"free_bytes": 999 * 10**6}, "warning", "/srv/shop: 999.0 MB free of 40.00 GB"),
        ({"free_bytes": 99 * 10**6}, "error", "/srv/shop: 99.0 MB free of 40.00 GB"),
        ({"free_bytes": 60 * 10**6, "bytes": 10**9}, "warning", "/srv/shop: 60.0 MB free of 1.00 GB"),
        ({"free_inodes": 40}, "warning", "/srv/shop: 40 of 1000 inodes free"),
        ({"free_inodes": 9}, "error", "/srv/shop: 9 of 1000 inodes free"),
        ({"inodes": None, "free_inodes": None}, "ok", "/srv/shop: 20.00 GB free of 40.00 GB"),
        ({"is_read_only": True}, "error", "/srv/shop: mounted read-only"),
    ],
)
def test_disk(change, outcome, message):
    found = machine.check_disk(subject(examination={"disks": [{**DISK, **change}]}))

    assert (found.outcome, found.message) == (outcome, message)
    assert bool(found.remedy) == (outcome != "ok")


def test_other_disks_count_as_well():
    full = {**DISK, "path": "/var", "free_bytes": 0}
    read_only = {**DISK, "path": "/", "is_read_only": True}

    found = machine.check_disk(subject(examination={"disks": [DISK, read_only, full]}))

    assert found == Finding(
        "disk",
        "error",
        "/var: 0 B free of 40.00 GB",
        "On the host: du -xhd1 /var | sort -h shows what takes up the space. A lower KEEP_RELEASES keeps"
        " fewer releases; journalctl --vacuum-size=200M, as root, shortens the journal.",
    )


def test_host_that_does_not_tell_of_its_disks():
    assert machine.check_disk(subject(examination={"disks": []})) == Finding(
        "disk", "not checked", "the host does not say what is free"
    )


def test_folders():
    obstacle = {
        "message": "cannot create /srv/shop: Permission denied",
        "remedy": "On the host, as root: ...",
    }

    assert machine.check_folders(subject()) == Finding("folders", "ok", "/srv/shop can be written by deploy")
    assert machine.check_folders(subject(obstacle=obstacle)) == Finding(
        "folders", "error", obstacle["message"], obstacle["remedy"]
    )
    assert machine.check_folders(subject(cleanup_failed="releases/x: Permission denied")) == Finding(
        "folders",
        "warning",
        "could not be cleared: releases/x: Permission denied",
        "See who owns it: ls -la /srv/shop/releases",
    )


def test_python():
    remedy = (
        "Was the system's Python replaced? Install Python 3.11 there again, or name an"
        " interpreter that stays in the target's PYTHON and deploy."
    )

    def check(**interpreter):
        return machine.check_python(subject(examination={"interpreter": interpreter}))

    assert machine.check_python(subject()) == Finding("python", "ok", f"{VERSION} on x86_64, glibc 2.36")
    assert check(made="3.11.2", now="3.13.1", error="") == Finding(
        "python",
        "error",
        "the live release was made with Python 3.11.2, and finds 3.13.1 in its place",
        remedy,
    )
    assert check(made="3.11.2", now="", error="No such file or directory") == Finding(
        "python", "error", "the live release's does not start: No such file or directory", remedy
    )


def test_python_of_the_next_release():
    other = {"version": [3, 9, 2], "machine": "x86_64", "glibc": None, "musl": "1.2"}
    here = ".".join(VERSION.split(".")[:2])

    assert machine.check_python(subject(python=other)) == Finding(
        "python",
        "warning",
        f"3.9.2 there, {here} here: wheels compiled here do not run there",
        "Develop with the same version, or name that one in PYTHON.",
    )
    assert machine.check_python(subject(python={"error": "there is no python3.14"})) == Finding(
        "python", "error", "there is no python3.14", "Install it there, or name another in PYTHON."
    )


def test_lingering():
    assert machine.check_lingering(subject()).outcome == "ok"
    assert machine.check_lingering(subject(lingers=False)) == Finding(
        "lingering",
        "error",
        "the units of deploy end with the last login and do not start with the host",
        "On the host, as root: loginctl enable-linger deploy",
    )
    assert machine.check_lingering(subject(examination={"left_to_hand": ["web", "worker"]})) == Finding(
        "lingering",
        "error",
        "these do not start with the host: web, worker",
        "manage.py deploy_restart staging",
    )


def test_supervisor_needs_no_lingering_and_somebody_who_starts_it():
    ours = {"manager": "supervisor"}
    forgotten = {**ours, "left_to_hand": ["web"]}

    assert machine.check_lingering(subject(lingers=False, examination=ours)) == Finding(
        "lingering", "ok", "not needed: supervisor runs the processes"
    )
    assert machine.check_lingering(subject(lingers=False, examination=forgotten)) == Finding(
        "lingering",
        "warning",
        "nobody starts supervisor, and the processes, with the host",
        "On the host, as deploy: crontab -e, and there the line: @reboot /srv/shop/.deploy/supervisor/start",
    )


@pytest.mark.parametrize(
    ("status", "error", "outcome", "message"),
    [
        (200, "", "ok", "https://index.example.com/simple answers"),
        (None, "timed out", "error", "https://index.example.com/simple does not answer there: timed out"),
        (401, "", "error", "https://index.example.com/simple refuses us there: status 401"),
        (404, "", "warning", "https://index.example.com/simple answers there, and has no Django"),
        (503, "", "error", "https://index.example.com/simple answers there with status 503"),
    ],
)
def test_index(status, error, outcome, message):
    answer = {"address": "https://index.example.com/simple", "status": status, "error": error}

    found = machine.check_index(subject(examination={"index": answer}))

    assert (found.outcome, found.message) == (outcome, message)


def test_no_index_is_needed():
    assert machine.check_index(subject(examination={"index": None})) == Finding(
        "index", "ok", "not needed: every wheel is sent (VENDOR)"
    )
