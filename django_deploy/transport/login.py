"""What a login is made of: the host, its configuration, and a person to ask."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from django_deploy.target import Host
from django_deploy.transport import known_hosts
from django_deploy.transport.ssh_config import HostConfig


class Prompts(Protocol):
    """Asks a person. Called from the threads that connect, so from several at once."""

    def accept_host_key(self, host: str, key_type: str, fingerprint: str) -> bool:
        """Whether the unknown host key is the right one; it is then noted in known_hosts."""

    def passphrase(self, path: Path) -> str | None:
        """The passphrase of a private key file; None where there is none to be had."""

    def password(self, login: str) -> str | None:
        """The password of a user there (``user@host``); None where there is nobody to ask."""


@dataclass(frozen=True)
class Login:
    """A login to ``host``. ``timeout``, in seconds, is for each phase of it.

    ``config_file`` is what is read instead of the user's ssh_config, None for that. ``may_use_password`` asks
    for a password where no key is accepted.
    """

    host: Host
    config: HostConfig
    config_file: Path | None
    prompts: Prompts
    timeout: float
    may_use_password: bool = False

    @property
    def place(self) -> str:
        """Where which key is accepted: ``user@host:port``."""
        return f"{self.config.user}@{self.config.hostname}:{self.config.port}"

    @property
    def known_names(self) -> list[str]:
        """The names under which OpenSSH looks up the host's key, first the one it would write."""
        if self.config.host_key_alias:
            return [self.config.host_key_alias.lower()]
        ports = (self.config.port, known_hosts.DEFAULT_PORT)
        return [known_hosts.host_name(self.config.hostname, port) for port in ports]

    @property
    def certified_name(self) -> str:
        """The name that a host's certificate must be for."""
        return (self.config.host_key_alias or self.config.hostname).lower()

    def command(self, *options: str) -> str:
        """The ssh command that does the same, for people to copy."""
        words = ["ssh", *options]
        words += ["-F", str(self.config_file)] if self.config_file else []
        words += ["-p", str(self.host.port)] if self.host.port else []
        words += ["-i", self.host.key_file] if self.host.key_file else []
        words += ["-J", ",".join(jump.name for jump in self.host.jump)] if self.host.jump else []
        address = f"{self.host.user}@{self.host.address}" if self.host.user else self.host.address
        return shlex.join([*words, address])
