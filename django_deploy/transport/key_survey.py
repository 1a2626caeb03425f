"""Which keys would be offered to a host, without asking it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from django_deploy.target import Host
from django_deploy.transport import identities, ssh_config
from django_deploy.transport._paramiko import paramiko
from django_deploy.transport.identities import Agent
from django_deploy.transport.key_files import KeyRing
from django_deploy.transport.printable import printable


@dataclass(frozen=True)
class KeySurvey:
    """``address`` is what ``ssh_config`` makes of the host's. ``agent`` is its socket, None for none.

    ``agent_error`` says why it is of no use; ``offers`` are the keys for people, in their order.
    """

    address: str
    agent: Path | None
    agent_error: str
    offers: tuple[str, ...]


def survey_keys(host: Host) -> KeySurvey:
    """Asks the agent and looks at the key files; no passphrase is asked for.

    Raises ``ConnectionFailed`` where ``ssh_config`` cannot be read.
    """
    config = ssh_config.read(host)
    error, agent = "", None
    with contextlib.ExitStack() as stack:
        if config.identity_agent:
            try:
                agent = stack.enter_context(contextlib.closing(Agent(config.identity_agent)))
            except (OSError, ValueError, paramiko.SSHException) as reason:
                error = printable(str(reason), 200)
        held = agent.get_keys() if agent else ()
        offers = tuple(map(str, identities.find(config, held, KeyRing(), lambda path: None)))
    return KeySurvey(config.hostname, config.identity_agent, error, offers)
