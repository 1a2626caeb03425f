"""Servers to connect to, and homes to connect from: nothing here touches the real ``~/.ssh``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from django_deploy.target import Host
from django_deploy.transport import ssh
from django_deploy.transport.connection import Connection
from tests.transport.servers import KINDS, Client, Relay, Server, make_client, run_agent, run_server


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: waits for the watchdog, about 16 s")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Starts a server of a kind, once."""
    running: dict[str, Server] = {}
    with ExitStack() as stack:

        def start(kind: str) -> Server:
            if kind not in running:
                folder = tmp_path_factory.mktemp(kind)
                running[kind] = stack.enter_context(run_server(kind, folder))
            return running[kind]

        yield start


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the test's own, and no agent."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


@pytest.fixture
def ssh_server(servers: Callable[[str], Server], home: Path) -> Client:
    """OpenSSH's server where it is installed, else asyncssh's, and a home that can log in to it."""
    return make_client(servers(KINDS[0]), home)


@pytest.fixture(params=KINDS)
def each_ssh_server(request: pytest.FixtureRequest, servers: Callable[[str], Server], home: Path) -> Client:
    """The same for each kind of server."""
    return make_client(servers(request.param), home)


@pytest.fixture
def agent(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The socket of a real ssh-agent, which SSH_AUTH_SOCK names."""
    with run_agent(tmp_path) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        yield path


@pytest.fixture
def relay(ssh_server: Client) -> Iterator[Relay]:
    """A way to the server that can fall silent."""
    relay = Relay(ssh_server.port)
    yield relay
    relay.close()


@pytest.fixture
def opened() -> Iterator[Callable[..., Connection]]:
    """Connects, and closes what is left open."""
    connections: list[Connection] = []

    def open_connection(client: Client, host: Host | None = None, **options: Any) -> Connection:
        connection = ssh.connect(host or client.host, ssh_config=client.config, **options)
        connections.append(connection)
        return connection

    yield open_connection
    for connection in connections:
        connection.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once."""
    monkeypatch.setattr(ssh, "PAUSE", (0.0, 0.01))
