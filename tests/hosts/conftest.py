"""Fixtures for tests on real hosts; where those cannot run, the tests are skipped loudly.

``DJANGO_DEPLOY_TEST_HOSTS=required`` makes that a failure: so does CI, where a skipped test is a lie.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import base
from .bookshop import Bookshop
from .index import Index
from .inspection import at_rest
from .laptop import Laptop
from .machines import Machine, boot
from .network import Network

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

HERE = Path(__file__).parent
PROBLEMS = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    require_hosts(config, items, HERE)


def require_hosts(config: pytest.Config, items: list[pytest.Item], folder: Path) -> None:
    """Mark the tests of that folder, and skip them where there can be no hosts."""
    ours = [item for item in items if item.path.is_relative_to(folder)]
    for item in ours:
        item.add_marker(pytest.mark.hosts)
    if ours and (problems := base.missing()):
        refuse(config, ours, problems)


def refuse(config: pytest.Config, items: list[pytest.Item], problems: list[str]) -> None:
    """Skip the tests and say so; fail where hosts are required."""
    text = " ".join(problems)
    if os.environ.get("DJANGO_DEPLOY_TEST_HOSTS") == "required":
        raise pytest.UsageError(f"DJANGO_DEPLOY_TEST_HOSTS=required, but: {text}")
    config.stash[PROBLEMS] = problems
    print(f"No tests on real hosts. {text}", file=sys.__stderr__)
    for item in items:
        item.add_marker(pytest.mark.skip(reason=text))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for problem in config.stash.get(PROBLEMS, []):
        terminalreporter.section("NO TESTS ON REAL HOSTS", yellow=True, bold=True)
        terminalreporter.line(problem, yellow=True)


@pytest.fixture(scope="session")
def disk() -> Path:
    """The base that hosts start from."""
    return base.build()


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture(scope="session")
def index(network: Network) -> Iterator[Index]:
    """The package index that hosts reach: ``index.url``."""
    with Index(network.gateway) as index:
        yield index


@pytest.fixture(scope="session")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """The home of who deploys: ``laptop.environment`` is for the deployer's process."""
    return Laptop(tmp_path_factory.mktemp("laptop") / "home")


class Machines:
    """``machines(2, root="/srv/site")``: boots that many new hosts; they go when the test ends."""

    def __init__(self, disk: Path, network: Network, laptop: Laptop) -> None:
        self.parts = (disk, network, laptop)
        self.made: list[Machine] = []

    def __call__(self, count: int, *, root: str = "/srv/site") -> list[Machine]:
        new = [Machine(*self.parts, root=root) for _ in range(count)]
        self.made.extend(new)
        boot(new)
        return new


@pytest.fixture
def machines(disk: Path, network: Network, laptop: Laptop) -> Iterator[Machines]:
    machines = Machines(disk, network, laptop)
    yield machines
    for machine in machines.made:
        machine.destroy()


@pytest.fixture
def machine(machines: Machines) -> Machine:
    """A new host that answers ssh."""
    return machines(1)[0]


@pytest.fixture(scope="session")
def developer(tmp_path_factory: pytest.TempPathFactory, laptop: Laptop, index: Index) -> Bookshop:
    """The developer's environment; ``bookshop`` is for tests."""
    return Bookshop(tmp_path_factory.mktemp("developer"), laptop, index)


@pytest.fixture
def bookshop(developer: Bookshop) -> Iterator[Bookshop]:
    """The project as it is in the checkout; what a test changes is undone."""
    yield developer
    developer.restore()


# Hosts that have a site already. They stay for the session: each test leaves them with a healthy release,
# and where one did not, the next test gets a new host.


@pytest.fixture(scope="session")
def standing(disk: Path, network: Network, laptop: Laptop) -> Iterator[Machines]:
    machines = Machines(disk, network, laptop)
    yield machines
    for machine in machines.made:
        machine.destroy()


@pytest.fixture(scope="session")
def standing_host(standing: Machines) -> Machine:
    return standing(1)[0]


@pytest.fixture(scope="session")
def standing_pair(standing: Machines) -> list[Machine]:
    return standing(2)


@pytest.fixture
def host(standing_host: Machine, bookshop: Bookshop) -> Machine:
    """A host that serves the bookshop; it is the target."""
    serve([standing_host], bookshop)
    return standing_host


@pytest.fixture
def pair(standing_pair: list[Machine], bookshop: Bookshop) -> list[Machine]:
    """Two hosts that serve the same release of the bookshop; they are the target.

    Each has a database of its own, made by its first deployment; later ones migrate the first host's.
    """
    serve(standing_pair, bookshop)
    return standing_pair


def serve(machines: list[Machine], bookshop: Bookshop) -> None:
    try:
        releases = {at_rest(machine) for machine in machines}
    except AssertionError:
        releases = set()
    if releases != {None} and (None in releases or len(releases) != 1):
        for machine in machines:
            machine.reset()
        boot(machines)
        releases = {None}
    if releases == {None}:
        bookshop.aim(
            machines, STEPS=["collectstatic", {"COMMAND": "migrate", "ON": "each"}, "compress --force"]
        )
        bookshop.deployed()
    bookshop.aim(machines)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure, show what its hosts wrote to their journals."""
    report = yield
    fixtures = getattr(item, "funcargs", {})
    if report.when == "call" and report.failed:
        made = [
            machine
            for name in ("machines", "standing", "bare_machine")
            if name in fixtures
            for machine in fixtures[name].made
        ]
        report.sections += [(f"journal of {machine.name}", machine.journal()) for machine in made]
    return report
