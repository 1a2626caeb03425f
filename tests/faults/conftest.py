"""Fixtures for the fault matrix: hosts that serve the kiosk, one to several for each worker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.hosts.conftest import disk, index, laptop, network, require_hosts

from . import matrix
from .site import Developer, Sites

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hosts.index import Index
    from tests.hosts.laptop import Laptop
    from tests.hosts.network import Network

__all__ = ["disk", "index", "laptop", "network"]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    require_hosts(config, items, HERE)


@pytest.fixture(scope="session")
def developer(tmp_path_factory: pytest.TempPathFactory, laptop: Laptop, index: Index) -> Developer:
    return Developer(tmp_path_factory.mktemp("developer"), laptop, index)


@pytest.fixture(scope="session")
def sites(disk: Path, network: Network, laptop: Laptop, developer: Developer) -> Iterator[Sites]:
    sites = Sites(disk, network, laptop, developer)
    yield sites
    sites.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    if cells := matrix.cells_of(reports):
        terminalreporter.section("FAULT MATRIX")
        for line in matrix.table(cells):
            terminalreporter.write_line(line)
