"""One host: what a deployment takes there, and what it leaves alone."""

from __future__ import annotations

import random
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from django_deploy.plan.fitness import RESERVED_BYTES, RESERVED_INODES

from .inspection import assert_serves, live, look, visit, visit_when_up

if TYPE_CHECKING:
    from .bookshop import Bookshop
    from .machines import Machine


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_first_deployment_to_a_minimal_host(machine: Machine, bookshop: Bookshop, installer: str) -> None:
    mark = bookshop.new_edition()
    bookshop.aim([machine], INSTALLER=installer)

    result = bookshop.deploy("--json")

    assert result.status == 0, result
    assert result.one("install.finished")["installer"] == installer
    [plan] = result.one("plan.ready")["plan"]["hosts"]
    assert plan["live"] is None
    assert_serves(machine, result.release, mark)
    assert_room_was(machine, plan["room"], {"bytes": 0, "inodes": 0})


def taken(machine: Machine) -> dict[str, int]:
    """Of the disk, under ROOT."""
    script = f"du -sk {machine.root}; du -s --inodes {machine.root}"
    kilobytes, inodes = machine.run("sh", "-c", script).stdout.split()[::2]
    return {"bytes": int(kilobytes) * 1024, "inodes": int(inodes)}


def assert_room_was(machine: Machine, said: dict[str, int], before: dict[str, int]) -> None:
    """As much as the plan said, but for what is left free anyway; and no small part of it."""
    after = taken(machine)
    for kind, reserve in (("bytes", RESERVED_BYTES), ("inodes", RESERVED_INODES)):
        used = after[kind] - before[kind]
        print(f"{kind}: {used} used, {said[kind]} planned")
        assert used < said[kind] + reserve / 2
        assert said[kind] < 3 * used + reserve / 2


def test_one_changed_line(host: Machine, bookshop: Bookshop) -> None:
    old = live(host)
    mark, before = bookshop.new_edition(), taken(host)

    result = bookshop.deploy("--json")

    assert result.status == 0, result
    [plan] = result.one("plan.ready")["plan"]["hosts"]
    assert_room_was(host, plan["room"], before)
    assert [change["name"] for change in plan["changes"]] == ["bookshop"]
    assert plan["send"] == ["bookshop-1.0-py3-none-any.whl"]
    assert_serves(host, result.release, mark)
    assert look(host)["states"][old] == "retired"


def write_lists(bookshop: Bookshop, seed: int) -> None:
    """Modules enough that it matters how they are sent: some 200 kB, deflated."""
    chance = random.Random(seed)
    (bookshop.folder / "catalogue/lists").mkdir()
    for number in range(40):
        bookshop.write(
            f"catalogue/lists/part{number}.py", f"NUMBERS = {chance.choices(range(10**6), k=1500)}\n"
        )
    bookshop.write("catalogue/lists/__init__.py", "")


def test_a_changed_wheel_is_sent_as_its_difference(host: Machine, bookshop: Bookshop) -> None:
    write_lists(bookshop, 1)
    whole = bookshop.deploy("--json")
    mark = bookshop.new_edition()

    shorter = bookshop.deploy("--json")

    assert (whole.status, shorter.status) == (0, 0), (whole, shorter)
    [before] = whole.one("plan.ready")["plan"]["hosts"]
    [after] = shorter.one("plan.ready")["plan"]["hosts"]
    assert after["deltas"] == after["send"] == ["bookshop-1.0-py3-none-any.whl"]
    assert 100 < after["bytes"] < 20_000 < 200_000 < before["bytes"]
    assert shorter.all("upload.progress")[-1]["done"] == after["bytes"]
    assert shorter.all("warning") == []
    assert_serves(host, shorter.release, mark)


def test_a_damaged_wheel_on_the_host_is_no_base(host: Machine, bookshop: Bookshop) -> None:
    """The host asks for the whole one, while everything else has been asked of it already."""
    write_lists(bookshop, 2)
    bookshop.deployed()
    damage = "printf x | dd of=$wheel bs=1 seek=50000 conv=notrunc"
    host.run("sh", "-c", f"for wheel in {host.root}/.deploy/store/*/bookshop-*.whl; do {damage}; done")
    mark = bookshop.new_edition()

    result = bookshop.deploy("--json")

    assert result.status == 0, result
    [plan] = result.one("plan.ready")["plan"]["hosts"]
    assert plan["bytes"] < 20_000
    assert [event["message"] for event in result.all("warning")] == [
        "A wheel is sent as a whole, as its difference could not be used: "
        "the base was damaged on the host's disk and removed."
    ]
    assert result.all("upload.progress")[-1]["done"] > 200_000
    assert_serves(host, result.release, mark)


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_uncommitted_changes_are_deployed_and_said(host: Machine, bookshop: Bookshop) -> None:
    git = ["git", "-C", str(bookshop.folder), "-c", "user.name=Anna", "-c", "user.email=anna@test"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "The shop"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout
    mark = bookshop.new_edition()

    result = bookshop.deploy()

    assert result.status == 0, result
    revision = f"git {head[:12]} (main) with uncommitted changes"
    assert f"bookshop 1.0, {revision}: " in result.out, result
    assert_serves(host, visit(host).release, mark)
    assert revision in bookshop.run("deploy_status").out


def test_dependencies_that_changed(host: Machine, bookshop: Bookshop) -> None:
    bookshop.pip("install", "six==1.16.0")
    added = bookshop.deploy()
    assert added.status == 0, added
    first = visit(host).release
    bookshop.pip("install", "six==1.17.0")
    changed = bookshop.deploy()
    assert changed.status == 0, changed
    second = visit(host).release
    bookshop.pip("uninstall", "six")
    removed = bookshop.deploy()
    assert removed.status == 0, removed
    third = visit(host).release

    assert "    + six 1.16.0\n" in added.out
    assert "    ~ six 1.16.0 -> 1.17.0\n" in changed.out
    assert "    - six 1.17.0\n" in removed.out
    assert_serves(host, third)
    found = [version_of_six(host, release) for release in (first, second, third)]
    assert found == ["1.16.0\n", "1.17.0\n", ""]


def version_of_six(host: Machine, release: str) -> str:
    python = f"{host.root}/releases/{release}/venv/bin/python"
    return host.run(python, "-c", "import six; print(six.__version__)", check=False).stdout


def test_nothing_changed(host: Machine, bookshop: Bookshop) -> None:
    release = bookshop.deployed()
    assert_serves(host, release)
    before = look(host)["folders"]

    result = bookshop.deploy()

    assert result.status == 0, result
    assert f"Nothing to do: {release} is live already" in result.out, result
    assert look(host)["folders"] == before
    assert_serves(host, release)


def test_wrong_settings(host: Machine, bookshop: Bookshop) -> None:
    bookshop.target["PROCESES"] = bookshop.target.pop("PROCESSES")
    bookshop.target["ROOT"] = "srv/site"

    result = bookshop.deploy()

    assert result.status == 2, result
    assert result.out == ""
    assert result.err == (
        "CommandError: The settings of the target 'staging' have 2 mistakes.\n"
        "  DEPLOY_TARGETS['staging']['PROCESES']: is not a key that is known. Did you mean 'PROCESSES'?\n"
        "  DEPLOY_TARGETS['staging']['ROOT']: must be an absolute path of a folder of its own,"
        " not 'srv/site'. Write the whole path, say '/srv/shop'.\n"
    )


def test_root_that_cannot_be_made(host: Machine, bookshop: Bookshop) -> None:
    bookshop.target["ROOT"] = "/srv/other"

    for options in ["--plan"], []:
        result = bookshop.deploy(*options)

        assert result.status == 1, result
        assert result.err == (
            f"CommandError: deploy@{host.address}: cannot create /srv/other: Permission denied\n"
            "On the host, as root: install -d -o deploy /srv/other\n"
            "Nothing was changed.\n"
        )


def test_host_that_lost_its_power_serves_again(host: Machine, bookshop: Bookshop) -> None:
    mark = bookshop.new_edition()
    release = bookshop.deployed()

    host.crash()  # before the old processes are stopped
    host.boot()
    page = visit_when_up(host)
    units = look(host)["units"]

    assert (page.release, page.mark) == (release, mark)
    assert {unit.partition("@")[2] for unit in units} == {f"{release}.service"}
    bookshop.new_edition()
    assert_serves(host, bookshop.deployed())


def test_processes_of_a_user_who_does_not_linger(machine: Machine, bookshop: Bookshop) -> None:
    machine.run("loginctl", "disable-linger", "deploy", user="root")
    mark = bookshop.new_edition()
    bookshop.aim([machine])

    result = bookshop.deploy("--json")

    assert result.status == 0, result
    assert result.one("plan.ready")["plan"]["hosts"][0]["manager"] == "supervisor"
    page = visit(machine)
    assert (page.release, page.mark) == (result.release, mark)


def test_systemd_is_refused_for_a_user_who_has_none(machine: Machine, bookshop: Bookshop) -> None:
    machine.run("systemctl", "mask", "--runtime", "user@1000.service", user="root")
    machine.run("systemctl", "stop", "user@1000.service", user="root")
    bookshop.aim([machine], PROCESS_MANAGER="systemd")

    result = bookshop.deploy()

    assert result.status == 1, result
    assert result.err == (
        f"CommandError: deploy@{machine.address}: no systemd user manager runs for deploy.\n"
        "On the host, as root: loginctl enable-linger deploy. Or set PROCESS_MANAGER to 'supervisor'.\n"
        "Nothing was changed.\n"
    )
