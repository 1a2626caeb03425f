"""What is live on one host goes to another one, through somebody who has none of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .inspection import assert_serves, live

if TYPE_CHECKING:
    from .bookshop import Bookshop
    from .conftest import Machines
    from .laptop import Laptop
    from .machines import Machine

STEPS = ["collectstatic", {"COMMAND": "migrate", "ON": "each"}, "compress --force"]


def record(machine: Machine) -> dict[str, Any]:
    """What the host keeps of its live release."""
    found: dict[str, Any] = json.loads(machine.read(f"{machine.root}/releases/{live(machine)}/release.json"))
    return found


def lock(machine: Machine) -> list[str]:
    return sorted(machine.read(f"{machine.root}/releases/{live(machine)}/requirements.lock").splitlines())


def test_a_tested_release_goes_to_production(machines: Machines, bookshop: Bookshop, laptop: Laptop) -> None:
    tested, production = machines(2)
    bookshop.aim([tested], STEPS=STEPS)
    mark = bookshop.new_edition()
    release = bookshop.deployed()
    bookshop.others["tested"] = bookshop.target
    bookshop.aim([production], STEPS=STEPS)
    bookshop.new_edition()  # the work goes on

    # Whoever promotes it has built none of it.
    (laptop.home / ".cache").rename(laptop.home / "cache of a colleague")
    result = bookshop.deploy("--json", "--promote", "tested")

    assert result.status == 0, result
    assert_serves(production, result.release, mark)
    assert_serves(tested, release, mark)
    assert record(production)["wheels"] == record(tested)["wheels"]
    assert lock(production) == lock(tested)
    assert result.one("bundle.promoted")["release"] == release
    assert not result.all("build.finished")
    fetched = {path.parent.name for path in laptop.home.glob(".cache/django-deploy/files/*/*.whl")}
    assert fetched == {wheel["sha256"] for wheel in record(tested)["wheels"]}
