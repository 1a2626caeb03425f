"""Deployments in a row under load: no visitor notices, and nothing is left over that grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .balancer import balance
from .inspection import assert_serves
from .stock import grown, take_stock
from .visitor import Visitor

if TYPE_CHECKING:
    from .bookshop import Bookshop
    from .conftest import Machines
    from .machines import Machine

#: The short version of ``benchmarks/load.py``, which makes 50 of them.
DEPLOYMENTS = 5

#: Of them, so many are made before it is looked at what grows: releases are deleted from then on.
WARM = 3


def test_deployments_in_a_row_lose_no_request_and_leave_nothing(
    pair: list[Machine], machines: Machines, bookshop: Bookshop
) -> None:
    [balancer] = machines(1)
    balance(balancer, pair)
    bookshop.target["KEEP_RELEASES"] = 2
    editions = []

    def deploy(count: int) -> str:
        with Visitor(f"http://{balancer.address}/", mark="edition [0-9]+", connections=8) as visitor:
            for _ in range(count):
                editions.append(bookshop.new_edition())
                release = bookshop.deployed()
                visitor.stay()
        assert visitor.lost == [], visitor.lost[:3]
        assert visitor.marks[-count:] == editions[-count:]
        return release

    deploy(WARM)
    before = [take_stock(machine) for machine in pair]
    release = deploy(DEPLOYMENTS - WARM)

    for machine, stock in zip(pair, before, strict=True):
        assert grown(stock, take_stock(machine)) == {}, machine.name
        assert_serves(machine, release)
