"""The host itself: clock, disk, Python, and whether what runs there outlives a login."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from shlex import quote
from typing import Any

from django_deploy.doctor.finding import Finding, error, not_checked, ok, warning
from django_deploy.doctor.subject import Subject
from django_deploy.reporters.text import size as size_text

#: Seconds by which a clock may be wrong: before anybody notices, and before certificates and sessions do.
CLOCK_WARNING, CLOCK_ERROR = 5.0, 60.0

#: What must be free on a disk: so many bytes or that part of it, whichever is less.
LOW_BYTES, LOW_PART = 10**9, 0.10
FULL_BYTES, FULL_PART = 10**8, 0.05

#: The same of inodes.
LOW_INODES, FULL_INODES = 0.05, 0.01

CLOCK_REMEDY = (
    "On the host, as root: timedatectl set-ntp true (Debian: apt install systemd-timesyncd). "
    "Or is it this machine's clock?"
)


def check_clock(subject: Subject) -> Finding:
    """Certificates, sessions and one-time passwords go by it, and so do the names of releases."""
    offset = subject.clock_offset
    if abs(offset) < CLOCK_WARNING:
        return ok("clock", "as this machine's")
    message = f"{abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} this machine's"
    make = error if abs(offset) >= CLOCK_ERROR else warning
    return make("clock", message, CLOCK_REMEDY)


def check_disk(subject: Subject) -> Finding:
    """Every file system that the site writes to, ROOT's first."""
    disks = subject.examination["disks"]
    if not disks:
        return not_checked("disk", "the host does not say what is free")
    found = [_judge_disk(disk, is_root=number == 0) for number, disk in enumerate(disks)]
    for make in (error, warning):
        if bad := [(path, text) for kind, path, text in found if kind is make]:
            message = "; ".join(f"{path}: {text}" for path, text in bad)
            return make("disk", message, _disk_remedy(bad[0][0], bad[0][1]))
    return ok("disk", "; ".join(f"{path}: {text}" for _, path, text in found[:1]))


def _judge_disk(disk: Mapping[str, Any], *, is_root: bool) -> tuple[Any, str, str]:
    """The kind of finding (None: good), the path and what is free there."""
    free, size = disk["free_bytes"], disk["bytes"]
    text = f"{size_text(free)} free of {size_text(size)}"
    kind = None
    if free < min(LOW_BYTES, LOW_PART * size):
        kind = warning
    if free < min(FULL_BYTES, FULL_PART * size):
        kind = error
    if disk["inodes"]:
        part = disk["free_inodes"] / disk["inodes"]
        if part < LOW_INODES and kind is not error:
            kind = error if part < FULL_INODES else warning
            text = f"{disk['free_inodes']} of {disk['inodes']} inodes free"
    if is_root and disk["is_read_only"]:
        kind, text = error, "mounted read-only"
    return kind, disk["path"], text


def _disk_remedy(path: str, text: str) -> str:
    if text == "mounted read-only":
        return "Linux does that after an error of the disk: look at dmesg there, and have it checked."
    if "inodes" in text:
        return f"On the host: du -x --inodes -d1 {quote(path)} | sort -n shows where the many files are."
    return (
        f"On the host: du -xhd1 {quote(path)} | sort -h shows what takes up the space. A lower KEEP_RELEASES"
        " keeps fewer releases; journalctl --vacuum-size=200M, as root, shortens the journal."
    )


def check_folders(subject: Subject) -> Finding:
    """Whether the next deployment may write where it has to."""
    obstacle = subject.facts["obstacle"]
    if obstacle:
        return error("folders", obstacle["message"], obstacle["remedy"])
    if subject.facts["cleanup_failed"]:
        remedy = f"See who owns it: ls -la {quote(str(subject.target.root))}/releases"
        return warning("folders", f"could not be cleared: {subject.facts['cleanup_failed']}", remedy)
    return ok("folders", f"{subject.target.root} can be written by {subject.facts['user']}")


def check_python(subject: Subject) -> Finding:
    """The interpreter of the live release, and the one that the next would get."""
    interpreter, python = subject.examination["interpreter"], subject.facts["python"]
    if interpreter is not None:
        made, now = interpreter["made"], interpreter["now"]
        remedy = (
            f"Was the system's Python replaced? Install Python {_series(made) or '3'} there again, or name an"
            " interpreter that stays in the target's PYTHON and deploy."
        )
        if interpreter["error"]:
            return error("python", f"the live release's does not start: {interpreter['error']}", remedy)
        if made and _series(made) != _series(now):
            message = f"the live release was made with Python {made}, and finds {now} in its place"
            return error("python", message, remedy)
    if "error" in python:
        return error("python", str(python["error"]), "Install it there, or name another in PYTHON.")
    version = ".".join(map(str, python["version"]))
    here = sys.version_info[:2]
    if tuple(python["version"][:2]) != here:
        message = f"{version} there, {here[0]}.{here[1]} here: wheels compiled here do not run there"
        return warning("python", message, "Develop with the same version, or name that one in PYTHON.")
    libc = (
        f"glibc {python['glibc']}" if python["glibc"] else f"musl {python['musl']}" if python["musl"] else ""
    )
    return ok("python", f"{version} on {python['machine']}{f', {libc}' if libc else ''}")


def _series(version: str) -> str:
    return ".".join(version.split(".")[:2])


def check_lingering(subject: Subject) -> Finding:
    """systemd ends a user's units with the last login, unless the user lingers; and all must start again."""
    user, manager = subject.facts["user"], subject.examination["manager"] or subject.facts["manager"]
    left = ", ".join(subject.examination["left_to_hand"])
    if manager != "systemd":
        if not left:
            return ok("lingering", "not needed: supervisor runs the processes")
        script = f"{subject.target.root}/.deploy/supervisor/start"
        remedy = f"On the host, as {user}: crontab -e, and there the line: @reboot {script}"
        return warning("lingering", "nobody starts supervisor, and the processes, with the host", remedy)
    if not subject.facts["lingers"]:
        message = f"the units of {user} end with the last login and do not start with the host"
        return error("lingering", message, f"On the host, as root: loginctl enable-linger {user}")
    if left:
        remedy = f"manage.py deploy_restart {subject.target.name}"
        return error("lingering", f"these do not start with the host: {left}", remedy)
    return ok("lingering", f"the units of {user} run without a login, and from the start of the host")


def check_index(subject: Subject) -> Finding:
    """The next deployment needs it, unless all that it installs is there already."""
    answer = subject.examination["index"]
    if answer is None:
        return ok("index", "not needed: every wheel is sent (VENDOR)")
    address, status = answer["address"], answer["status"]
    if status == 200:
        return ok("index", f"{address} answers")
    if status is None:
        remedy = (
            f"A firewall or a proxy? Try there: curl -I {quote(address)} (hosts without an index: VENDOR)"
        )
        return error("index", f"{address} does not answer there: {answer['error']}", remedy)
    if status in (401, 403):
        remedy = "Fix user and password in INDEX_URL."
        return error("index", f"{address} refuses us there: status {status}", remedy)
    if status == 404:
        remedy = "Is INDEX_URL the address of a simple index (…/simple/)?"
        return warning("index", f"{address} answers there, and has no Django", remedy)
    return error("index", f"{address} answers there with status {status}", "Ask whoever runs the index.")


def unexamined(check: str) -> Finding:
    """What a host without a release has nothing of."""
    return not_checked(check, "nothing is live yet")
