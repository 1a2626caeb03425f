"""Two hosts: both serve the new release, or both the old one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .inspection import assert_serves, live, visit
from .visitor import Visitor

if TYPE_CHECKING:
    from .bookshop import Bookshop
    from .deployer import Result
    from .machines import Machine

#: A site whose health depends on a file of the host's own.
MOODY = """\
import os, pathlib
from django.http import HttpResponse
from django.urls import path
from bookshop.urls import urlpatterns as others

def health(request):
    is_ill = pathlib.Path(os.environ["DJANGO_DEPLOY_SHARED"], "ill").exists()
    return HttpResponse("the till is broken" if is_ill else "well", status=500 if is_ill else 200)

urlpatterns = [path("moody/", health), *others]
"""

#: A process that does not start where that file is; its folder is the release's.
CLERK = "sh -c 'test ! -e ../../shared/ill && exec sleep 600'"


def make_moody(bookshop: Bookshop, ill: Machine) -> None:
    """The site of this edition fails its health check on one host."""
    bookshop.write("catalogue/moody.py", MOODY)
    bookshop.append("bookshop/settings.py", 'ROOT_URLCONF = "catalogue.moody"\n')
    bookshop.target["HEALTH_CHECK"] = "/moody/"
    ill.run("touch", f"{ill.root}/shared/ill")


def assert_reverted(result: Result, pair: list[Machine], old: str, message: str) -> None:
    """The second host failed with this message, and both serve the old release."""
    assert result.status == 1, result
    first, *_, last = result.err.splitlines()
    assert first == f"CommandError: deploy@{pair[1].address}: {message}"
    assert last == f"Nothing changed: every host serves {old}, as before."
    for machine in pair:
        assert_serves(machine, old)


def test_both_hosts_serve_and_one_has_migrated(pair: list[Machine], bookshop: Bookshop) -> None:
    mark = bookshop.new_edition()

    result = bookshop.deploy("--json")

    assert result.status == 0, result
    names = [f"deploy@{machine.address}" for machine in pair]
    steps = [(event["step"], event["host"]) for event in result.all("step.finished")]
    assert [host for step, host in steps if step == "migrate --noinput"] == names[:1]
    assert sorted(host for step, host in steps if step == "collectstatic --noinput") == sorted(names)
    for machine in pair:
        assert_serves(machine, result.release, mark)


def test_second_host_is_not_healthy(pair: list[Machine], bookshop: Bookshop) -> None:
    first, second = pair
    old = live(first)
    make_moody(bookshop, second)

    with Visitor(f"http://{first.address}/", mark="edition [0-9]+", connections=1, pause=0.1) as visitor:
        result = bookshop.deploy()
        visitor.stay()
    second.run("rm", f"{second.root}/shared/ill")

    assert_reverted(
        result, pair, old, f"{second.root}/run/web.sock:/moody/ answered status 500; expected status 200"
    )
    assert "  | the till is broken\n" in result.err
    assert visitor.lost == []


def test_what_is_wrong_with_each_host_is_told(pair: list[Machine], bookshop: Bookshop) -> None:
    old = live(pair[0])
    for machine in pair:
        make_moody(bookshop, machine)

    result = bookshop.deploy()
    for machine in pair:
        machine.run("rm", f"{machine.root}/shared/ill")

    assert result.status == 1, result
    for machine in pair:
        socket = f"{machine.root}/run/web.sock:/moody/"
        message = f"deploy@{machine.address}: {socket} answered status 500; expected status 200\n"
        assert message in result.err, result
        assert_serves(machine, old)


def test_second_host_of_a_second_batch_cannot_start(pair: list[Machine], bookshop: Bookshop) -> None:
    first, second = pair
    old = live(first)
    bookshop.target["BATCH"] = 1
    bookshop.target["PROCESSES"]["clerk"] = CLERK
    second.run("touch", f"{second.root}/shared/ill")

    with Visitor(
        f"http://{first.address}/", mark=r'id="release">\w+-\w+', connections=1, pause=0.1
    ) as visitor:
        result = bookshop.deploy("--json")
        visitor.stay()
    second.run("rm", f"{second.root}/shared/ill")

    assert_reverted(result, pair, old, "process 'clerk' of the new release does not stay up")
    [switched] = result.all("switched")
    assert switched["host"] == f"deploy@{first.address}"
    assert visitor.lost == []


def test_second_host_is_out_of_reach(pair: list[Machine], bookshop: Bookshop) -> None:
    first, second = pair
    old = live(first)
    bookshop.aim(pair, [f"deploy@{first.address}", f"deploy@{second.address}:2"])
    bookshop.new_edition()

    result = bookshop.deploy("--json")

    assert result.status == 1, result
    assert result.err == (
        f"CommandError: deploy@{second.address}:2: {second.address}:2 refused the connection\n"
        "Is the SSH server running there, and is this its port?\n"
        "Nothing was changed.\n"
    )
    assert not result.all("upload.progress") and not result.all("install.started")
    assert_serves(first, old)


def test_hosts_that_differ_are_brought_together(pair: list[Machine], bookshop: Bookshop) -> None:
    first, second = pair
    bookshop.aim([first])
    bookshop.new_edition()
    alone = bookshop.deployed()
    assert visit(second).release != alone
    bookshop.aim(pair)

    release = bookshop.deployed()

    for machine in pair:
        assert_serves(machine, release)
    assert bookshop.run("deploy_rollback").status == 0
    assert live(first) == live(second) != release
