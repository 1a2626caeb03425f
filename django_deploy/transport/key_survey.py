"""Which keys would be offered to a host, without asking it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from django_deploy.target import Host
from django_deploy.transport import identities, ssh_config


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
    found, error = identities.offered(config)
    return KeySurvey(config.hostname, config.identity_agent, error, tuple(map(str, found)))
