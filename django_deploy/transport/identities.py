"""The user's ways to log in: which keys there are, in which order to offer them, signing with them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from django_deploy.transport._paramiko import paramiko
from django_deploy.transport.key_files import (
    AskPassphrase,
    KeyRing,
    PublicKey,
    is_sealed,
    public_half,
    public_key,
    read_public_key,
)
from django_deploy.transport.printable import printable
from django_deploy.transport.ssh_config import HostConfig

#: What an agent that is stuck may cost, in seconds.
AGENT_TIMEOUT = 5.0


@dataclass(frozen=True)
class Identity:
    """One key or certificate to log in with.

    ``public`` is None where a sealed file does not tell it. ``origin`` says where the key is from.
    ``unlock`` gives the private part or raises ``UnusableKey``. ``path`` is its file, if any.
    """

    public: PublicKey | None
    origin: str
    unlock: Callable[[], paramiko.PKey]
    path: Path | None = None

    def __str__(self) -> str:
        return f"{self.label} ({self.origin})" if self.public else self.origin

    @property
    def label(self) -> str:
        """Type and fingerprint, by which the key is found again."""
        return f"{self.public.type} {self.public.fingerprint}" if self.public else ""

    @property
    def plain_blob(self) -> bytes:
        return self.public.plain.blob if self.public else b""


class SigningKey(paramiko.PKey):
    """An identity as paramiko wants it.

    A key that cannot sign (the agent refused, a hardware key was not touched) gives an empty
    signature, which the server refuses like a wrong key: an exception would end the connection and
    with it the chance to try the next one. ``failure`` says what happened.
    """

    def __init__(self, identity: Identity) -> None:
        self._key = identity.unlock()
        shown = identity.public
        is_certificate = shown is not None and shown.is_certificate
        self.public_blob = (
            paramiko.pkey.PublicBlob(shown.type, shown.blob) if shown and is_certificate else None
        )
        self.is_signing = False
        self.failure = ""

    def get_name(self) -> str:
        return self._key.get_name()

    def asbytes(self) -> bytes:
        return self._key.asbytes()

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> paramiko.Message:
        self.is_signing = True
        try:
            return self._key.sign_ssh_data(data, algorithm)
        except (paramiko.SSHException, OSError) as error:
            self.failure = f"it could not sign: {printable(str(error), 200) or type(error).__name__}"
            return paramiko.Message()
        finally:
            self.is_signing = False


class Agent(paramiko.agent.AgentSSH):
    """The agent at ``path``: one for each connection, as its socket carries one request at a time.

    Raises ``OSError`` or ``paramiko.SSHException`` where nothing there speaks its protocol.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(AGENT_TIMEOUT)
            self._socket.connect(str(path))
            # Private, but paramiko's own Agent knows neither IdentityAgent nor any timeout.
            self._connect(self._socket)  # type: ignore[attr-defined]
            self._socket.settimeout(None)  # to sign may need a person: "ssh-add -c", a key to touch
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()


def find(
    config: HostConfig, agent_keys: Sequence[paramiko.agent.AgentKey], ring: KeyRing, ask: AskPassphrase
) -> list[Identity]:
    """All ways to log in, in the order in which they are to be offered.

    Agent keys that the configuration names come first, then (unless IdentitiesOnly) the others,
    then key files, then key files for which somebody must be asked. A certificate precedes its key.
    """
    certificates = list(_certificates(config))
    files = [_from_file(path, ring, ask) for path in config.identity_files if _is_there(path)]
    held = [_from_agent(key) for key in agent_keys]
    named = {identity.plain_blob for identity in files} | {key.plain.blob for key in certificates}
    chosen = [identity for identity in held if identity.plain_blob in named]
    if not config.identities_only:
        chosen += [identity for identity in held if identity not in chosen]
    in_agent = {identity.plain_blob for identity in chosen}
    rest = [identity for identity in files if not identity.public or identity.plain_blob not in in_agent]
    rest.sort(key=lambda identity: identity.path is not None and is_sealed(identity.path))
    return list(_with_certificates([*chosen, *rest], certificates))


def offered(config: HostConfig) -> tuple[list[Identity], str]:
    """What would be offered, without asking anybody; and why the agent is of no use, if it is of none."""
    held: tuple[paramiko.agent.AgentKey, ...] = ()
    error = ""
    if config.identity_agent:
        try:
            with contextlib.closing(Agent(config.identity_agent)) as agent:
                held = tuple(agent.get_keys())
        except (OSError, ValueError, paramiko.SSHException) as reason:
            error = printable(str(reason), 200)
    return find(config, held, KeyRing(), lambda path: None), error


def _is_there(path: Path) -> bool:
    return path.is_file() or public_half(path) is not None


def _from_file(path: Path, ring: KeyRing, ask: AskPassphrase) -> Identity:
    return Identity(public_half(path), str(path), lambda: ring.load(path, ask), path)


def _from_agent(key: paramiko.agent.AgentKey) -> Identity:
    comment = printable(key.comment, 80)
    return Identity(public_key(key.blob), f"agent: {comment}" if comment else "agent", lambda: key)


def _certificates(config: HostConfig) -> Iterator[PublicKey]:
    beside = [path.with_name(path.name + "-cert.pub") for path in config.identity_files]
    for path in dict.fromkeys([*config.certificate_files, *beside]):
        certificate = read_public_key(path)
        if certificate is not None and certificate.is_certificate:
            yield certificate


def _with_certificates(chosen: Iterable[Identity], certificates: Sequence[PublicKey]) -> Iterator[Identity]:
    for identity in chosen:
        for certificate in certificates:
            if identity.public is not None and certificate.plain == identity.public:
                yield Identity(certificate, identity.origin, identity.unlock, identity.path)
        yield identity
