"""SSH connections to hosts: by which way, and as often as it takes."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from socket import gaierror

from django_deploy.exceptions import ConnectionFailed
from django_deploy.target import Host
from django_deploy.transport import ssh_config as configuration
from django_deploy.transport._paramiko import paramiko
from django_deploy.transport.connection import Connection
from django_deploy.transport.handshake import Dropped, log_in
from django_deploy.transport.login import Login, Prompts
from django_deploy.transport.printable import printable
from django_deploy.transport.ssh_config import HostConfig
from django_deploy.transport.wire import Wire, address_text, open_command, open_tcp

__all__ = ["Connection", "Prompts", "connect", "no_prompts"]

#: A server that is busy with logins (MaxStartups, by default 10) drops further ones.
LOGINS_AT_ONCE = 8
RETRIES = 3
#: How long to wait before the first retry, in seconds, at least and at most; twice that each time.
PAUSE = (0.2, 0.8)

_turns: dict[tuple[str, int], threading.Semaphore] = {}


class _NoPrompts:
    """Nobody is there to ask: unknown host keys are refused, locked keys stay locked."""

    def accept_host_key(self, host: str, key_type: str, fingerprint: str) -> bool:
        return False

    def passphrase(self, path: Path) -> str | None:
        return None


no_prompts: Prompts = _NoPrompts()


def connect(
    host: Host, *, prompts: Prompts = no_prompts, ssh_config: Path | None = None, timeout: float = 10.0
) -> Connection:
    """Log in to ``host``, as the user's ``ssh_config`` says; ``host``'s own fields win over it.

    ``ssh_config`` is read instead of the user's files. ``timeout``, in seconds, is for each phase;
    a ConnectTimeout in the configuration wins. Raises ``ConnectionFailed``, ``HostKeyError`` or
    ``AuthenticationFailed``. May be called from many threads at once.
    """
    return _Route(host, prompts, ssh_config, timeout).connect()


@dataclass(frozen=True)
class _Route:
    """The way to one host.

    Of a jump host, ``beyond`` are the hosts that it leads to, and ``jumps``, where the
    configuration of one of those names several, overrides its own.
    """

    host: Host
    prompts: Prompts
    config_file: Path | None
    timeout: float
    jumps: tuple[Host, ...] = ()
    beyond: tuple[Host, ...] = ()

    def connect(self) -> Connection:
        config = configuration.read(self.host, self.config_file)
        if self.jumps:
            config = replace(config, jumps=self.jumps, proxy_command=None)
        route = replace(self, timeout=config.connect_timeout or self.timeout)
        for attempt in range(RETRIES):
            try:
                return route._try(config)
            except Dropped:
                # Not all at the same moment again: whoever was dropped came together with others.
                time.sleep(random.SystemRandom().uniform(*PAUSE) * 2**attempt)
        return route._try(config)

    def _try(self, config: HostConfig) -> Connection:
        login = Login(self.host, config, self.config_file, self.prompts, self.timeout)
        with _turns.setdefault((config.hostname, config.port), threading.Semaphore(LOGINS_AT_ONCE)):
            wire = self._open(config)
            return Connection(log_in(login, wire), wire, self.host.name)

    def _open(self, config: HostConfig) -> Wire:
        if config.jumps:
            return self._open_through(config.jumps, config)
        address = address_text(config.hostname, config.port)
        try:
            if config.proxy_command:
                return open_command(config.proxy_command, address)
            return open_tcp(config.hostname, config.port, config.address_family, self.timeout)
        except (OSError, UnicodeError) as error:
            raise self._unreachable(config, address, error) from error

    def _unreachable(self, config: HostConfig, address: str, error: Exception) -> ConnectionFailed:
        name, remedy = self.host.name, ""
        if isinstance(error, gaierror | UnicodeError):
            message = f"the name {config.hostname} is not found"
            remedy = "Check its spelling (HostName in ssh_config?) and the network."
        elif isinstance(error, TimeoutError):
            message = f"no answer from {address} within {self.timeout:g} s"
            remedy = f"Is the host up, and does every firewall let port {config.port} through?"
        elif isinstance(error, ConnectionRefusedError):
            message = f"{address} refused the connection"
            remedy = "Is the SSH server running there, and is this its port?"
        else:
            message = f"{address} cannot be reached: {printable(str(error), 200)}"
        return ConnectionFailed(name, message, remedy=remedy)

    def _open_through(self, jumps: tuple[Host, ...], config: HostConfig) -> Wire:
        """A wire through the last of ``jumps``, which is reached through those before it."""
        *before, last = jumps
        beyond = (*self.beyond, self.host)
        if last in beyond:
            circle = " through ".join(host.name for host in (*beyond, last))
            message = f"ProxyJump leads in a circle: {circle}"
            raise ConnectionFailed(self.host.name, message, remedy="Check ProxyJump in your ssh_config.")
        try:
            hop = _Route(last, self.prompts, self.config_file, self.timeout, tuple(before), beyond).connect()
        except ConnectionFailed as error:
            kind = ConnectionFailed if isinstance(error, Dropped) else type(error)  # it was tried again
            message = f"its jump host {last.name} is out of reach: {error.message}"
            raise kind(self.host.name, message, remedy=error.remedy) from error
        try:
            return hop.reach(config.hostname, config.port, self.timeout)
        except (paramiko.SSHException, EOFError, OSError) as error:
            hop.close()
            address = address_text(config.hostname, config.port)
            message = f"its jump host {last.name} cannot reach {address}: {printable(str(error), 200)}"
            raise ConnectionFailed(self.host.name, message) from error
