"""The doctor on a host that serves the bookshop: all green, and red for each thing that is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bookshop import Bookshop
    from .machines import Machine


def test_all_is_well(host: Machine, bookshop: Bookshop) -> None:
    result = bookshop.run("deploy_doctor")
