"""People who use the site while it is deployed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .inspection import assert_serves
from .visitor import Visitor

if TYPE_CHECKING:
    from .bookshop import Bookshop
    from .machines import Machine


def test_ten_deployments_in_a_row_lose_no_request(host: Machine, bookshop: Bookshop) -> None:
    first = bookshop.deployed()
    editions = []

    with Visitor(f"http://{host.address}/", mark="edition [0-9]+", pause=0.02) as visitor:
        for _ in range(10):
            editions.append(bookshop.new_edition())
            release = bookshop.deployed()
            visitor.stay()

    assert visitor.lost == []
    assert visitor.marks[-10:] == editions
    assert release != first
    assert_serves(host, release)
