"""The public keys that we can log in with: what a host's ``authorized_keys`` must have one of."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import replace
from pathlib import Path

from django_deploy.target import Host
from django_deploy.transport import identities, remembered_keys, ssh_config
from django_deploy.transport.identities import Identity
from django_deploy.transport.key_files import PublicKey
from django_deploy.transport.login import Login
from django_deploy.transport.ssh import no_prompts


def find_own_keys(host: Host, administrator: str) -> list[Identity]:
    """In the order in which they would be offered; but first the one that ``administrator`` got in with.

    Those of the agent, of ``ssh_config`` and of ``~/.ssh``, as logging in as ``host.user`` finds them.
    """
    config = ssh_config.read(host)
    found, _ = identities.offered(config)
    other = replace(host, user=administrator)
    place = Login(other, ssh_config.read(other), None, no_prompts, 0.0).place
    taken = remembered_keys.recall(place)
    plain = [identity for identity in found if identity.public and not identity.public.is_certificate]
    return sorted(plain, key=lambda identity: identity.label != taken)


def authorized_line(public: PublicKey, comment: str) -> str:
    """As ``authorized_keys`` has it."""
    return f"{public.type} {base64.b64encode(public.blob).decode()} {comment}".rstrip()


def comment_of(identity: Identity) -> str:
    """Whose key it is: what its ``.pub`` file or the agent says."""
    if identity.path is not None:
        for path in (identity.path, Path(f"{identity.path}.pub")):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                words = path.read_text(encoding="utf-8").split(None, 2)
                if len(words) == 3 and words[0].startswith(("ssh-", "ecdsa-", "sk-")):
                    return words[2].strip().splitlines()[0]
    return identity.origin.removeprefix("agent").removeprefix(": ") if identity.path is None else ""
