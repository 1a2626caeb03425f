"""What the matrix of ``tests/faults`` has no column for: two hosts, two deployers, two faults at once."""

from __future__ import annotations

import re
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from .inspection import assert_serves, at_rest, live, visit
from .proxy import Proxy
from .visitor import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .bookshop import Bookshop
    from .deployer import Deployer, Result
    from .laptop import Laptop
    from .machines import Machine


@contextmanager
def visited(host: Machine) -> Iterator[None]:
    """Nobody who uses the site notices anything, to the end of the block."""
    with Visitor(f"http://{host.address}/", connections=1, pause=0.05) as visitor:
        yield
        visitor.stay(2)
    assert visitor.lost[:3] == []


def settled(host: Machine) -> str:
    """The release that the host serves when it has come to rest."""
    release = at_rest(host)
    assert release and visit(host).release == release
    return release


def assert_settled(host: Machine, old: str) -> None:
    """The host comes to rest, and serves the old release."""
    assert settled(host) == old


@contextmanager
def link_to(machine: Machine, laptop: Laptop) -> Iterator[Proxy]:
    """A link that can fail, between the deployer and a host."""
    with Proxy(machine.address) as link:
        laptop.trust(link.address, machine.host_keys, port=link.port)
        yield link
    laptop.forget(link.address, port=link.port)


@pytest.fixture
def link(host: Machine, bookshop: Bookshop, laptop: Laptop) -> Iterator[Proxy]:
    """What lies between the deployer and the host that is its target."""
    with link_to(host, laptop) as link:
        bookshop.aim([host], [name_of(link)])
        yield link


def address_of(link: Proxy) -> str:
    return f"{link.address}:{link.port}"


def broken(link: Proxy, how: str) -> str:
    """How the error begins."""
    why = f"the link to the host broke: {address_of(link)} {how}"
    return f"CommandError: {name_of(link)}: {why}\nThe host reverts by itself; deploy again.\n"


def name_of(link: Proxy) -> str:
    return f"deploy@{address_of(link)}"


def test_link_breaks_for_good(host: Machine, bookshop: Bookshop, link: Proxy) -> None:
    old = live(host)
    bookshop.new_edition()

    with visited(host), bookshop.start("deploy", "--json") as deployer:
        deployer.wait_for("process.started")
        link.sever()
        assert_settled(host, old)
        result = deployer.end()

    assert result.status == 3, result
    assert result.err == broken(link, "cut the connection") + (
        f"Not reverted, as far as can be seen: {name_of(link)} (unknown).\n"
        "Look with: manage.py deploy_status staging."
        " Then deploy again: that first fixes what this deployment left.\n"
    )


def test_link_to_one_of_two_hosts_falls_silent(
    pair: list[Machine], bookshop: Bookshop, laptop: Laptop
) -> None:
    first, second = pair
    old = live(first)
    bookshop.new_edition()
    with link_to(second, laptop) as link:
        bookshop.aim(pair, [f"deploy@{first.address}", name_of(link)])
        with visited(first), visited(second), bookshop.start("deploy", "--json") as deployer:
            deployer.wait_for("process.started", host=name_of(link))
            link.silence()
            for machine in pair:
                assert_settled(machine, old)
            link.restore()
            result = deployer.end()

    assert result.status == 1, result
    everywhere = f"Nothing changed: every host serves {old}, as before.\n"
    # Both sides miss each other after the same time, so do link and session: who is first is open.
    silent = broken(link, "has been silent for 15 s")
    words = f"broke: {address_of(link)} has been silent for 15 s"
    others = ("ended", "broke: the host program has been silent for 15 s")
    assert result.err in [silent.replace(words, told) + everywhere for told in (words, *others)]


def served(release: str) -> str:
    return f"Nothing changed: the host serves {release}, as before."


# A step that waits for the test


@contextmanager
def long_step(host: Machine, bookshop: Bookshop) -> Iterator[Deployer]:
    """A deployment that is in the middle of a step, which ends with the block."""
    bookshop.target["STEPS"] = ["collectstatic --noinput", "compress --force", "wait_for go"]
    bookshop.new_edition()
    with bookshop.start("deploy", "--json") as deployer:
        deployer.wait_for("step.output", step="wait_for go")
        yield deployer


def go(host: Machine) -> None:
    host.run("touch", f"{host.root}/shared/go")


def test_step_is_not_killed_half_way(host: Machine, bookshop: Bookshop) -> None:
    old = live(host)
    with visited(host), long_step(host, bookshop) as deployer:
        deployer.kill()
        bookshop.aim([host])
        refused = bookshop.deploy()
        go(host)
        assert_settled(host, old)

    assert_refused(refused, host, old)
    assert_serves(host, bookshop.deployed())


def assert_refused(result: Result, host: Machine, old: str) -> None:
    """The other deployment's lock, step and process were named."""
    assert result.status == 1, result
    assert re.fullmatch(
        rf"CommandError: deploy@{host.address}: another deployment is running: "
        rf"\S+@{re.escape(socket.gethostname())}, since \d\d:\d\d:\d\d UTC, running wait_for go\n"
        r"Wait for it with --wait SECONDS. If its deployer is gone, the lock frees itself within 20 s,"
        r" or as soon as its running step has ended \(process \d+ on the host\)\.\n"
        rf"Nothing changed: the host serves {old}, as before\.\n",
        result.err,
    ), result


def test_two_deployments_at_once(host: Machine, bookshop: Bookshop) -> None:
    old = live(host)
    with visited(host), long_step(host, bookshop) as first:
        refused = bookshop.deploy()
        mark = bookshop.new_edition()
        with bookshop.start("deploy", "--json", "--wait", "60") as second:
            second.wait_for("lock.waiting")
            go(host)
            assert first.end().status == 0
            second.wait_for("step.output", step="wait_for go")
            go(host)
            waited = second.end()

    assert_refused(refused, host, old)
    assert waited.status == 0, waited
    assert_serves(host, waited.release, mark)


# Hosts


def kill_host_program(host: Machine) -> None:
    """SIGKILL to the host program of the deployment that holds the lock."""
    script = "import json, os, signal, sys; os.kill(json.load(open(sys.argv[1]))['pid'], signal.SIGKILL)"
    host.run("python3", "-c", script, f"{host.root}/.deploy/lock")


def test_deployer_and_host_program_are_killed(host: Machine, bookshop: Bookshop) -> None:
    bookshop.new_edition()

    with visited(host):
        with bookshop.start("deploy", "--json") as deployer:
            deployer.wait_for("process.started")
            deployer.signal(signal.SIGSTOP)
            kill_host_program(host)
            deployer.kill()
        fixed = bookshop.deploy("--json")

    assert fixed.status == 0, fixed
    assert fixed.one("recovered")["action"] == "undone"
    assert_serves(host, fixed.release)


def test_host_program_of_the_first_is_killed_while_the_second_activates(
    pair: list[Machine], bookshop: Bookshop
) -> None:
    first, second = pair
    old = live(first)
    bookshop.target["BATCH"] = 1
    bookshop.new_edition()

    with visited(first), visited(second), bookshop.start("deploy", "--json") as deployer:
        deployer.wait_for("process.started", host=f"deploy@{second.address}")
        kill_host_program(first)
        result = deployer.end()

    assert result.status == 1, result
    assert result.err == (
        f"CommandError: deploy@{first.address}: the link to the host ended\n"
        "The host reverts by itself; deploy again.\n"
        f"Nothing changed: every host serves {old}, as before.\n"
    )
    for machine in pair:
        assert_serves(machine, old)


# A deployer of two hosts


@pytest.mark.parametrize("batch", [1, 2])
def test_deployer_of_two_is_killed_between_switch_and_confirm(
    pair: list[Machine], bookshop: Bookshop, batch: int
) -> None:
    first, second = pair
    bookshop.target["BATCH"] = batch
    bookshop.new_edition()

    with visited(first), visited(second):
        with bookshop.start("deploy", "--json") as deployer:
            deployer.wait_for("switched", host=f"deploy@{first.address}")
            deployer.kill()
        releases = {settled(machine) for machine in pair}

    assert len(releases) == 1
