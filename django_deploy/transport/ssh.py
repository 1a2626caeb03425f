"""SSH connections to hosts: by which way, and as often as it takes."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from socket import EAI_AGAIN, gaierror

from django_deploy.exceptions import ConnectionFailed, HostUnreachable
from django_deploy.target import Host
from django_deploy.transport import ssh_config as configuration
from django_deploy.transport._paramiko import paramiko
from django_deploy.transport.connection import Connection
from django_deploy.transport.handshake import log_in
from django_deploy.transport.login import Login, Prompts
from django_deploy.transport.printable import printable
from django_deploy.transport.ssh_config import HostConfig
from django_deploy.transport.wire import Wire, address_text, open_command, open_tcp

__all__ = ["Connection", "Prompts", "connect", "no_prompts"]

#: Handshakes at the same moment, with all hosts together.
MAX_CONNECTIONS = 32

#: A server that is busy with logins (MaxStartups, by default 10) drops further ones.
LOGINS_AT_ONCE = 8

#: Further tries where nothing answers, or not in time, or the server hangs up; and seconds after the
#: first try in which they may begin. Keys that are refused, on either side, are never tried again.
RETRIES = 3
RETRY_FOR = 15.0
#: How long to wait before the first retry, in seconds, at least and at most; twice that each time.
PAUSE = (0.2, 0.8)

_handshakes = threading.Semaphore(MAX_CONNECTIONS)
_turns: dict[tuple[str, int], threading.Semaphore] = {}


class _NoPrompts:
    """Nobody is there to ask: unknown host keys are refused, locked keys stay locked."""

    def accept_host_key(self, host: str, key_type: str, fingerprint: str) -> bool:
        return False

    def passphrase(self, path: Path) -> str | None:
        return None

    def password(self, login: str) -> str | None:
        return None


no_prompts: Prompts = _NoPrompts()


def connect(
    host: Host,
    *,
    prompts: Prompts = no_prompts,
    ssh_config: Path | None = None,
    timeout: float = 10.0,
    retry_for: float = RETRY_FOR,
    may_use_password: bool = False,
) -> Connection:
    """Log in to ``host``, as the user's ``ssh_config`` says; ``host``'s own fields win over it.

    ``ssh_config`` is read instead of the user's files. ``timeout``, in seconds, is for each phase;
    a ConnectTimeout in the configuration wins. Further tries begin within ``retry_for`` seconds.
    ``may_use_password`` asks for a password, once, where the host takes no key of ours.
    Raises ``HostUnreachable``, another ``ConnectionFailed``, ``HostKeyError`` or
    ``AuthenticationFailed``. May be called from many threads at once.
    """
    route = _Route(host, prompts, ssh_config, timeout, retry_for, host.jump, (), may_use_password)
    return route.connect()


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
    retry_for: float
    jumps: tuple[Host, ...] = ()
    beyond: tuple[Host, ...] = ()
    may_use_password: bool = False

    def connect(self) -> Connection:
        config = configuration.read(self.host, self.config_file)
        if self.jumps:
            config = replace(config, jumps=self.jumps, proxy_command=None)
        route = replace(self, timeout=config.connect_timeout or self.timeout)
        until = time.monotonic() + self.retry_for
        for attempt in range(RETRIES):
            # Not all at the same moment again: whoever was dropped came together with others.
            pause = random.SystemRandom().uniform(*PAUSE) * 2**attempt
            try:
                return route._try(config)
            except HostUnreachable as error:
                if error.is_lasting or time.monotonic() + pause > until:
                    raise
            time.sleep(pause)
        return route._try(config)

    def _try(self, config: HostConfig) -> Connection:
        may_use_password = self.may_use_password and not self.beyond
        login = Login(self.host, config, self.config_file, self.prompts, self.timeout, may_use_password)
        turn = _turns.setdefault((config.hostname, config.port), threading.Semaphore(LOGINS_AT_ONCE))
        # The logins to jump hosts come before this one's turn: who waits for another holds nothing.
        through = self._open_through(config.jumps, config) if config.jumps else None
        with turn, _handshakes:
            wire = through or self._open(config)
            return Connection(log_in(login, wire), wire, self.host.name)

    def _open(self, config: HostConfig) -> Wire:
        address = address_text(config.hostname, config.port)
        try:
            if config.proxy_command:
                return open_command(config.proxy_command, address)
            return open_tcp(config.hostname, config.port, config.address_family, self.timeout)
        except (OSError, UnicodeError) as error:
            raise self._unreachable(config, address, error) from error

    def _unreachable(self, config: HostConfig, address: str, error: Exception) -> ConnectionFailed:
        name, remedy, is_lasting = self.host.name, "", False
        if isinstance(error, gaierror | UnicodeError):
            message = f"the name {config.hostname} is not found"
            remedy = "Check its spelling (HostName in ssh_config?) and the network."
            is_lasting = not (isinstance(error, gaierror) and error.errno == EAI_AGAIN)
        elif isinstance(error, TimeoutError):
            message = f"no answer from {address} within {self.timeout:g} s"
            remedy = f"Is the host up, and does every firewall let port {config.port} through?"
        elif isinstance(error, ConnectionRefusedError):
            message = f"{address} refused the connection"
            remedy = "Is the SSH server running there, and is this its port?"
        else:
            reason = error.strerror if isinstance(error, OSError) else None
            message = f"{address} cannot be reached: {reason or printable(str(error), 200)}"
            remedy = "Is the host up, and does the network here lead to it? Is a VPN needed?"
        return HostUnreachable(name, message, remedy=remedy, is_lasting=is_lasting)

    def _open_through(self, jumps: tuple[Host, ...], config: HostConfig) -> Wire:
        """A wire through the last of ``jumps``, which is reached through those before it."""
        *before, last = jumps
        beyond = (*self.beyond, self.host)
        if last in beyond:
            circle = " through ".join(host.name for host in (*beyond, last))
            message = f"ProxyJump leads in a circle: {circle}"
            raise ConnectionFailed(self.host.name, message, remedy="Check ProxyJump in your ssh_config.")
        try:
            hop = replace(self, host=last, jumps=tuple(before), beyond=beyond).connect()
        except ConnectionFailed as error:
            message = f"its jump host {last.name} is out of reach: {error.message}"
            raise _instead(error, self.host.name, message) from error
        try:
            return hop.reach(config.hostname, config.port, self.timeout)
        except (paramiko.SSHException, EOFError, OSError) as error:
            hop.close()
            address = address_text(config.hostname, config.port)
            message = f"its jump host {last.name} cannot reach {address}: {printable(str(error), 200)}"
            remedy = "Is the host up, and does the jump host's sshd let you through (AllowTcpForwarding)?"
            raise HostUnreachable(
                self.host.name, message, remedy=remedy, is_lasting=_is_forbidden(error)
            ) from error


def _instead(error: ConnectionFailed, host: str, message: str) -> ConnectionFailed:
    """The error of a jump host as that of the host behind it; it was tried again already."""
    if isinstance(error, HostUnreachable):
        return HostUnreachable(host, message, remedy=error.remedy, is_lasting=True)
    return type(error)(host, message, remedy=error.remedy)


def _is_forbidden(error: Exception) -> bool:
    """The jump host was asked and does not want to (RFC 4254, 5.1)."""
    prohibited = paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
    return isinstance(error, paramiko.ChannelException) and error.code == prohibited
