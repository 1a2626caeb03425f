"""The unit files; what the manager does with them is tested on real hosts."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_deploy.host.layout import Layout
from django_deploy.host.systemd import Systemd

RELEASE, OTHER = "20261122T174500Z-3f9c2a1", "20261122T184500Z-1111111"


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config/systemd/user"


def write(systemd: Systemd, name: str, release: str, stop_timeout: float) -> bool:
    process = {"name": name, "stop_timeout": stop_timeout}
    return [systemd._write_unit(process), systemd._write_drop_in(process, release)] != [False, False]


def test_one_template_for_all_releases(units: Path) -> None:
    systemd = Systemd(Layout("/srv/100% shop"))

    assert write(systemd, "worker.2", RELEASE, 30.0)
    assert not write(systemd, "worker.2", OTHER, 30.0)

    [path] = units.iterdir()
    assert path.name == f"100-shop-{path.name.split('-')[2]}-worker.2@.service"
    text = path.read_text()
    assert "Description=worker.2 of /srv/100%% shop, release %i\n" in text
    assert "StartLimitIntervalSec=0\n" in text  # it is started again for as long as it takes
    folder = "/srv/100%% shop/releases/%i"
    assert f'ExecStart="{folder}/venv/bin/python" "{folder}/launch.py" worker.2\n' in text


def test_a_stop_timeout_is_of_one_release_and_goes_with_it(units: Path) -> None:
    systemd, neighbour = Systemd(Layout("/srv/shop")), Systemd(Layout("/srv/old/shop"))
    for release, seconds in ((RELEASE, 300.0), (OTHER, 1.5)):
        assert write(systemd, "worker", release, seconds)
    write(neighbour, "worker", RELEASE, 5.0)

    texts = {path.parent.name.partition("@")[2]: path.read_text() for path in units.glob("shop-*.d/*.conf")}
    assert texts[f"{OTHER}.service.d"] == "[Service]\nTimeoutStopSec=1.5\n"
    systemd.drop(RELEASE)

    left = sorted(path.name.partition("@")[2] for path in units.glob("*.d"))
    assert left == [f"{RELEASE}.service.d", f"{OTHER}.service.d"]
    neighbour.drop(RELEASE)
    assert [path.name.partition("@")[2] for path in units.glob("*.d")] == [f"{OTHER}.service.d"]


def test_who_starts_with_the_host(units: Path) -> None:
    systemd = Systemd(Layout("/srv/shop"))
    systemd.enable(RELEASE, ["web", "worker"])
    systemd.disable(RELEASE, ["worker"])

    assert systemd.left_to_hand(RELEASE, ["web", "worker"]) == ["worker"]
    assert systemd.left_to_hand(OTHER, ["web"]) == ["web"]
