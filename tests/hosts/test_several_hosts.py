"""Hosts that are left out, fall behind, and are brought up to the others' release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .inspection import assert_serves, live
from .test_rollout import make_moody

if TYPE_CHECKING:
    from .bookshop import Bookshop
    from .deployer import Result
    from .machines import Machine


def hosts_of(result: Result, kind: str) -> set[str]:
    return {event["host"] for event in result.all(kind)}


def name(machine: Machine) -> str:
    return f"deploy@{machine.address}"


def test_a_host_that_was_down_joins_the_release_of_the_others(
    pair: list[Machine], bookshop: Bookshop
) -> None:
    first, second = pair
    old, mark = live(first), bookshop.new_edition()
    second.cut()
    try:
        alone = bookshop.deploy("--json", "--skip-unreachable")
    finally:
        second.restore()
    assert alone.status == 0, alone
    assert alone.one("rollout.finished")["left_out"] == [name(second)]
    assert_serves(first, alone.release, mark)
    assert_serves(second, old)
    second.run("sh", "-c", f"rm -rf {second.root}/.deploy/store/* {second.root}/.deploy/tools/*")

    joined = bookshop.deploy("--json")

    assert joined.status == 0, joined
    assert joined.release == alone.release
    assert hosts_of(joined, "switched") == hosts_of(joined, "install.started") == {name(second)}
    assert joined.all("upload.progress")[-1]["total"] > 1_000_000  # also the tools
    for machine in pair:
        assert_serves(machine, alone.release, mark)
    assert bookshop.deploy("--json").one("rollout.finished")["outcome"] == "unchanged"


def test_a_release_that_failed_on_a_host_is_made_there_once_more(
    pair: list[Machine], bookshop: Bookshop
) -> None:
    first, second = pair
    old = live(first)
    make_moody(bookshop, second)
    release = bookshop.deployed("--hosts", first.address)

    failed = bookshop.deploy("--json")
    second.run("rm", f"{second.root}/shared/ill")

    assert failed.status == 1, failed
    assert failed.err.endswith(f"\nNothing changed: {name(second)} serves {old}, as before.\n")
    assert_serves(first, release)
    assert_serves(second, old)
    assert bookshop.deployed() == release
    for machine in pair:
        assert_serves(machine, release)


def test_a_host_that_was_rolled_back_joins_again(pair: list[Machine], bookshop: Bookshop) -> None:
    first, second = pair
    old, mark = live(first), bookshop.new_edition()
    release = bookshop.deployed()
    rolled_back = bookshop.run("deploy_rollback", "--hosts", second.address)
    assert rolled_back.status == 0, rolled_back
    assert_serves(first, release, mark)
    assert_serves(second, old)

    joined = bookshop.deploy("--json")

    assert joined.status == 0, joined
    assert joined.release == release
    assert hosts_of(joined, "switched") == {name(second)}
    assert not joined.all("install.started") and not joined.all("step.started")
    for machine in pair:
        assert_serves(machine, release, mark)


def test_each_host_runs_what_its_roles_are_for(pair: list[Machine], bookshop: Bookshop) -> None:
    first, second = map(name, pair)
    bookshop.target["HOSTS"] = [
        {"HOST": machine.address, "USER": "deploy", "ROLES": [role]}
        for machine, role in zip(pair, ("web", "jobs"), strict=True)
    ]
    for process, role in (("web", "web"), ("worker", "jobs")):
        command = bookshop.target["PROCESSES"][process]
        bookshop.target["PROCESSES"][process] = {"COMMAND": command, "ROLES": [role]}
    bookshop.target["STEPS"] = [
        {"COMMAND": "collectstatic --noinput", "ROLES": ["web"]},
        {"COMMAND": "migrate --noinput", "ROLES": ["jobs"]},
        {"COMMAND": "compress --force", "ROLES": ["web"]},
    ]

    result = bookshop.deploy("--json")

    assert result.status == 0, result
    assert [(event["step"], event["host"]) for event in result.all("step.finished")] == [
        ("collectstatic --noinput", first),
        ("migrate --noinput", second),
        ("compress --force", first),
    ]
    assert {event["host"] for event in result.all("health.checked")} == {first}
    status = bookshop.run("deploy_status", "--json")
    assert status.status == 0, status
    assert {
        event["host"]: {
            process["name"] for process in event["processes"] if process["release"] == event["live"]
        }
        for event in status.all("host.status")
    } == {first: {"web"}, second: {"worker"}}
    assert {event["live"] for event in status.all("host.status")} == {result.release}


def test_the_first_host_is_watched_before_the_second_follows(pair: list[Machine], bookshop: Bookshop) -> None:
    first, second = pair
    mark = bookshop.new_edition()
    bookshop.target |= {"BATCH": 1, "CANARY_SECONDS": 4}

    result = bookshop.deploy("--json")

    assert result.status == 0, result
    switched = {event["host"]: event["at"] for event in result.all("switched")}
    assert 4 <= switched[name(second)] - switched[name(first)] < 12
    for machine in pair:
        assert_serves(machine, result.release, mark)


def test_a_canary_that_falls_ill_takes_everything_back(pair: list[Machine], bookshop: Bookshop) -> None:
    first = pair[0]
    old = live(first)
    make_moody(bookshop, first)
    first.run("rm", f"{first.root}/shared/ill")
    bookshop.target |= {"BATCH": 1, "CANARY_SECONDS": 60}

    with bookshop.start("deploy", "--json") as deployer:
        deployer.wait_for("switched", host=name(first))
        first.run("touch", f"{first.root}/shared/ill")
        result = deployer.end()
    first.run("rm", f"{first.root}/shared/ill")

    assert result.status == 1, result
    message = f"{first.root}/run/web.sock:/moody/ answered status 500; expected status 200"
    assert result.err.startswith(f"CommandError: {name(first)}: {message}\n")
    assert "  | the till is broken\n" in result.err
    assert result.err.endswith(f"\nNothing changed: every host serves {old}, as before.\n")
    assert hosts_of(result, "switched") == {name(first)}
    for machine in pair:
        assert_serves(machine, old)
