"""Going back, with nothing but what is on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .inspection import assert_serves, live, look

if TYPE_CHECKING:
    from .bookshop import Bookshop
    from .deployer import Result
    from .machines import Machine

#: Nobody listens there: an index, or a proxy that every other address is asked through.
NOWHERE = "http://127.0.0.1:9/"


@pytest.fixture
def editions(host: Machine, bookshop: Bookshop) -> list[tuple[str, str]]:
    """Three releases with their marks, the last one live; and no index that could be reached any more."""
    bookshop.target["KEEP_RELEASES"] = 10
    editions = [(bookshop.new_edition(), bookshop.deployed()) for _ in range(3)]
    bookshop.target["INDEX_URL"] = NOWHERE
    return [(release, mark) for mark, release in editions]


def rollback(bookshop: Bookshop, *words: str) -> Result:
    """``deploy_rollback`` on a laptop that reaches nothing but the hosts."""
    with bookshop.start("deploy_rollback", *words, http_proxy=NOWHERE, https_proxy=NOWHERE) as command:
        return command.end()


def test_back_and_back_again_and_forth(
    host: Machine, bookshop: Bookshop, editions: list[tuple[str, str]]
) -> None:
    first, second, third = editions

    result = rollback(bookshop)
    assert result.status == 0, result
    assert f"{second[0]} is live: rolled back in " in result.out
    assert_serves(host, *second)

    assert rollback(bookshop).status == 0
    assert_serves(host, *first)

    assert rollback(bookshop, third[0]).status == 0
    assert_serves(host, *third)

    result = rollback(bookshop, third[0])
    assert result.status == 0, result
    assert f"Nothing to do: {third[0]} is live already (" in result.out


def test_unknown_release(host: Machine, bookshop: Bookshop) -> None:
    old = live(host)
    others = sorted(id for id, state in look(host)["states"].items() if state == "retired")

    result = rollback(bookshop, "20200101T000000Z-0123456")

    assert result.status == 2, result
    assert result.err == (
        "CommandError: There is no release '20200101T000000Z-0123456'.\n"
        f"There is: {', '.join(others) or 'no other release'}.\n"
    )
    assert_serves(host, old)


def test_release_that_does_not_start_any_more(host: Machine, bookshop: Bookshop) -> None:
    first = bookshop.deployed()
    bookshop.new_edition()
    second = bookshop.deployed()
    assert_serves(host, second)  # until then the first one's processes are there, and would be used again
    program = f"{host.root}/releases/{first}/venv/bin/gunicorn"
    host.run("mv", program, "/tmp/gunicorn")

    result = rollback(bookshop)

    host.run("mv", "/tmp/gunicorn", program)
    assert result.status == 1, result
    lines = result.err.splitlines()
    assert (
        lines[0] == f"CommandError: deploy@{host.address}: process 'web' of the new release does not stay up"
    )
    assert lines[-1] == f"Nothing changed: the host serves {second}, as before."
    assert_serves(host, second)


def test_nowhere_to_go_back_to(machine: Machine, bookshop: Bookshop) -> None:
    bookshop.aim([machine])

    result = rollback(bookshop)

    assert result.status == 1, result
    assert result.err == (
        "CommandError: There is no earlier release to go back to.\ndeploy_status shows what there is.\n"
    )
