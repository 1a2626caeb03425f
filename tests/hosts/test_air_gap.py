"""A host that nothing but ssh leads to: no index, no DNS, no uv, no pip, no ensurepip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .inspection import assert_serves

if TYPE_CHECKING:
    from .bookshop import Bookshop
    from .deployer import Result
    from .index import Index
    from .machines import Machine

#: What could help, were it there.
HELPERS = """
import importlib.util, shutil
print([name for name in ("pip", "ensurepip") if importlib.util.find_spec(name)], shutil.which("uv"))
"""


@pytest.fixture
def island(machine: Machine, index: Index) -> Machine:
    machine.isolate()
    assert machine.run("curl", "-sS", "--max-time", "5", index.url, check=False).returncode == 7
    assert machine.run("getent", "hosts", "packages.example.com", check=False).returncode != 0
    assert machine.run("python3", "-c", HELPERS).stdout == "[] None\n"
    return machine


def deployed(bookshop: Bookshop) -> Result:
    result = bookshop.deploy("--json")
    assert result.status == 0, result
    return result


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_life_of_a_site_on_an_island(island: Machine, bookshop: Bookshop, installer: str) -> None:
    bookshop.aim([island], VENDOR=True, INSTALLER=installer)
    old_mark = bookshop.new_edition()
    first = deployed(bookshop)
    assert_serves(island, first.release, old_mark)

    new_mark = bookshop.new_edition()
    second = deployed(bookshop)
    assert_serves(island, second.release, new_mark)

    back = bookshop.run("deploy_rollback")
    assert back.status == 0, back
    assert_serves(island, first.release, old_mark)

    [plan] = first.one("plan.ready")["plan"]["hosts"]
    assert first.one("install.finished")["installer"] == installer
    assert {"bookshop-1.0-py3-none-any.whl"} < set(plan["send"])
    assert first.one("install.finished")["distributions"] < len(plan["send"])  # the installer is sent, too
    [plan] = second.one("plan.ready")["plan"]["hosts"]
    assert plan["send"] == ["bookshop-1.0-py3-none-any.whl"]
    assert [change["name"] for change in plan["changes"]] == ["bookshop"]
    assert second.all("vendor.started") == []


def test_without_vendor_an_island_cannot_be_reached(island: Machine, bookshop: Bookshop) -> None:
    bookshop.aim([island])

    result = bookshop.deploy()

    assert result.status == 1, result
    assert "The host cannot reach its package index" in result.err, result
    assert "VENDOR" in result.err, result
