"""From a wire to a connection that is logged in: handshake, host key, user's key."""

from __future__ import annotations

import contextlib
import shlex
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from django_deploy.exceptions import AuthenticationFailed, ConnectionFailed, HostKeyError
from django_deploy.target import Host
from django_deploy.transport import identities, known_hosts, remembered_keys
from django_deploy.transport._paramiko import paramiko
from django_deploy.transport.identities import Agent, Identity, SigningKey
from django_deploy.transport.key_files import KeyRing, PublicKey, UnusableKey, public_key
from django_deploy.transport.known_hosts import CERT_AUTHORITY, Entry, Verdict
from django_deploy.transport.printable import printable
from django_deploy.transport.ssh_config import HostConfig
from django_deploy.transport.wire import Wire

#: AES-GCM first: it needs half the time of the CTR modes with their separate checksum.
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
DIGESTS = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
)

#: The signatures that a host with an RSA key may use (RFC 8332).
RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")

_keys = KeyRing()


class Prompts(Protocol):
    """Asks a person. Called from the threads that connect, so from several at once."""

    def accept_host_key(self, host: str, key_type: str, fingerprint: str) -> bool:
        """Whether the unknown host key is the right one; it is then remembered."""

    def passphrase(self, path: Path) -> str | None:
        """The passphrase of a private key file; None where there is none to be had."""


class Dropped(ConnectionFailed):
    """The server hung up during the handshake, as one that is overloaded does: worth another try."""


class Transport(paramiko.Transport):
    """Keeps the reason that the server gives when it hangs up, in ``last_words``."""

    last_words = ""

    def _parse_disconnect(self, message: paramiko.Message) -> None:
        # Private, but paramiko only logs the reason. Should the method go, the reason is missing
        # in our errors and nothing else.
        super()._parse_disconnect(message)  # type: ignore[misc]
        message.rewind()
        message.get_int()
        self.last_words = printable(message.get_binary())


@dataclass(frozen=True)
class Login:
    """One attempt to log in to ``host``; ``timeout`` in seconds is for each phase.

    Every method raises a ``ConnectionFailed`` that says what was tried.
    """

    host: Host
    config: HostConfig
    config_file: Path | None
    prompts: Prompts
    timeout: float

    def over(self, wire: Wire) -> Transport:
        """Handshake, judge the host's key, log in. On failure the wire is closed."""
        transport = Transport(wire)  # type: ignore[arg-type]
        try:
            self._negotiate(transport, wire)
            self._judge_host(transport)
            self._authenticate(transport, wire)
        except BaseException:
            # The timer of an unfinished handshake would keep the interpreter from exiting.
            transport.packetizer.complete_handshake()
            wire.close()
            transport.close()
            raise
        return transport

    def _negotiate(self, transport: Transport, wire: Wire) -> None:
        transport.banner_timeout = transport.handshake_timeout = self.timeout
        transport.auth_timeout = transport.channel_timeout = self.timeout
        options = transport.get_security_options()
        options.ciphers, options.digests = CIPHERS, DIGESTS
        options.key_types = self._host_key_types(options.key_types)
        try:
            transport.start_client(timeout=self.timeout)
            transport.get_remote_server_key()  # start_client returns after the timeout, too
        except (paramiko.SSHException, EOFError, OSError) as error:
            wire.close()
            raise self._explain_handshake(error, transport, wire) from error

    def _host_key_types(self, known: Sequence[str]) -> Sequence[str]:
        """All types, those first of which we know a key of this host."""
        ours = {entry.key_type for entry in self._entries() if not entry.marker}
        if "ssh-rsa" in ours:
            ours.update(RSA_SIGNATURES)
        return sorted(known, key=lambda key_type: key_type not in ours)

    def _explain_handshake(self, error: Exception, transport: Transport, wire: Wire) -> ConnectionFailed:
        said = transport.last_words or wire.complaint
        if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
            message = f"{wire.address} offers no algorithm that we know: {printable(str(error))}"
            return ConnectionFailed(self.host.name, message, remedy=f"Compare with: {self._command('-v')}")
        if wire.greeting and not wire.greeting.startswith(b"SSH-"):
            said = printable(wire.greeting)
        if wire.is_ended:
            message = f"{wire.address} closed the connection during the handshake{_quoted(said)}"
            remedy = "It may have too many logins at once (MaxStartups) or refuse this address for a while."
            return Dropped(self.host.name, message, remedy=remedy)
        if wire.greeting.startswith(b"SSH-") or not said:
            message = (
                f"{wire.address} accepted the connection, but the handshake took more than {self.timeout:g} s"
            )
            return ConnectionFailed(self.host.name, message, remedy=f"Try: {self._command('-v')}")
        message = f"what answers at {wire.address} is not an SSH server{_quoted(said)}"
        return ConnectionFailed(self.host.name, message, remedy="Check the port.")

    # The host's key

    def _names(self) -> list[str]:
        """The names under which OpenSSH looks up the host's key, the one it would write first."""
        if self.config.host_key_alias:
            return [self.config.host_key_alias.lower()]
        return [
            known_hosts.host_name(self.config.hostname, self.config.port),
            known_hosts.host_name(self.config.hostname, known_hosts.DEFAULT_PORT),
        ]

    def _entries(self) -> list[Entry]:
        """What is known of the host; of its bare name, where only that is."""
        files = (*self.config.user_known_hosts, *self.config.global_known_hosts)
        for name in self._names():
            if entries := known_hosts.find(files, name):
                return entries
        return []

    def _judge_host(self, transport: Transport) -> None:
        key = public_key(transport.get_remote_server_key().asbytes())
        self._refuse_revoked(key)
        entries = self._entries()
        verdict, lines = known_hosts.judge(entries, key.blob)
        if verdict is Verdict.REVOKED:
            raise self._revoked(key, f"{lines[0].file}:{lines[0].line}")
        if verdict is Verdict.CHANGED:
            raise self._changed(key, lines[0])
        if verdict is Verdict.UNKNOWN:
            self._ask_about(key, entries)

    def _refuse_revoked(self, key: PublicKey) -> None:
        file = self.config.revoked_host_keys
        if file is None:
            return
        try:
            is_revoked = known_hosts.is_revoked(file, key.blob)
        except (OSError, ValueError) as error:
            message = f"the RevokedHostKeys of your ssh_config cannot be used: {error}"
            raise HostKeyError(self.host.name, message, remedy=f"Mend {file}.") from error
        if is_revoked:
            raise self._revoked(key, str(file))

    def _revoked(self, key: PublicKey, where: str) -> HostKeyError:
        message = f"the host shows a key that was revoked ({where}): {key.type} {key.fingerprint}"
        return HostKeyError(self.host.name, message, remedy="Do not trust this host before you know why.")

    def _changed(self, key: PublicKey, line: Entry) -> HostKeyError:
        known = PublicKey(line.key_type, line.blob)
        message = (
            f"the host key has changed: {key.type} {key.fingerprint}, "
            f"but {line.file}:{line.line} has {known.type} {known.fingerprint}"
        )
        forget = shlex.join(["ssh-keygen", "-f", str(line.file), "-R", self._names()[0]])
        remedy = (
            "Was the host installed anew? If not, somebody else may be answering in its place.\n"
            f"Once you are sure: {forget}\nand then: {self._command()}"
        )
        return HostKeyError(self.host.name, message, remedy=remedy)

    def _ask_about(self, key: PublicKey, entries: Sequence[Entry]) -> None:
        is_accepted = self.config.strict == "accept-new" or (
            self.config.strict == "ask"
            and self.prompts.accept_host_key(self.host.name, key.type, key.fingerprint)
        )
        if not is_accepted:
            raise self._unknown(key, entries)
        if self.config.user_known_hosts:
            file, name = self.config.user_known_hosts[0], self._names()[0]
            with contextlib.suppress(OSError):  # as OpenSSH: whoever cannot note it is asked again
                known_hosts.append(file, name, key.type, key.blob, is_hashed=self.config.hash_known_hosts)

    def _unknown(self, key: PublicKey, entries: Sequence[Entry]) -> HostKeyError:
        message = f"the host key is unknown: {key.type} {key.fingerprint}"
        if any(entry.marker == CERT_AUTHORITY for entry in entries):
            message += " (host certificates, which your known_hosts has an authority for, are not supported)"
        remedy = (
            "Compare it with the fingerprint that the host itself shows "
            "(ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub), then connect once with: " + self._command()
        )
        return HostKeyError(self.host.name, message, remedy=remedy)

    # The user's key

    def _authenticate(self, transport: Transport, wire: Wire) -> None:
        login = f"{self.config.user}@{self.config.hostname}:{self.config.port}"
        agent, refusals = self._open_agent()
        with contextlib.closing(agent) if agent else contextlib.nullcontext():
            offers = identities.find(
                self.config, agent.get_keys() if agent else (), _keys, self.prompts.passphrase
            )
            last = remembered_keys.recall(login)
            offers.sort(key=lambda identity: identity.label != last)
            attempt = _Attempt(self, transport, wire, refusals)
            for identity in offers:
                if attempt.offer(identity):
                    remembered_keys.remember(login, identity.label)
                    return
        raise attempt.failure()

    def _open_agent(self) -> tuple[Agent | None, list[str]]:
        path = self.config.identity_agent
        if path is None:
            return None, []
        try:
            return Agent(path), []
        except (OSError, paramiko.SSHException) as error:
            return None, [f"no agent answers at {path}: {printable(str(error), 200)}"]

    def _command(self, *options: str) -> str:
        """The ssh command that does the same, to be copied."""
        words = ["ssh", *options]
        words += ["-F", str(self.config_file)] if self.config_file else []
        words += ["-p", str(self.host.port)] if self.host.port else []
        address = f"{self.host.user}@{self.host.address}" if self.host.user else self.host.address
        return shlex.join([*words, address])


class _Attempt:
    """Offers keys one after another, and keeps what became of each."""

    def __init__(self, login: Login, transport: Transport, wire: Wire, unusable: list[str]) -> None:
        self._login = login
        self._transport = transport
        self._wire = wire
        self._offered: list[str] = []
        self._unusable = unusable
        self._locked: Path | None = None
        self._banner = b""

    def offer(self, identity: Identity) -> bool:
        """Whether the server lets us in with this key."""
        try:
            key = SigningKey(identity)
        except UnusableKey as reason:
            self._unusable.append(f"{identity}: {reason}")
            self._locked = self._locked or (identity.path if reason.is_locked else None)
            return False
        self._send(key)
        self._banner = self._transport.get_banner() or self._banner
        if self._transport.is_authenticated():
            return True
        self._offered.append(
            f"{identity}: it could not sign: {key.failure}" if key.failure else str(identity)
        )
        self._stop_if_hopeless(self._transport.get_exception())
        return False

    def _send(self, key: SigningKey) -> None:
        is_answered = threading.Event()
        try:
            self._transport.auth_publickey(self._login.config.user, key, is_answered)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self.failure() from error
        while not is_answered.wait(self._login.timeout):
            if not key.is_signing:  # that may wait for a person, who is not the server's fault
                message = f"{self._wire.address} did not answer the login within {self._login.timeout:g} s"
                raise ConnectionFailed(self._login.host.name, message)

    def _stop_if_hopeless(self, error: Exception | None) -> None:
        if isinstance(error, paramiko.ssh_exception.PartialAuthentication):
            more = ", ".join(error.allowed_types)
            raise self.failure(f"it took the key and wants more ({more}), which cannot be given unattended")
        if isinstance(error, paramiko.BadAuthenticationType):
            raise self.failure(f"it takes no keys, only: {', '.join(error.allowed_types)}")
        if not self._transport.is_active():
            raise self.failure()

    def failure(self, why: str = "") -> AuthenticationFailed:
        config, said = self._login.config, self._transport.last_words or printable(self._banner)
        lines = [f"{self._wire.address} does not let {config.user} in{': ' + printable(why) if why else ''}"]
        lines += (
            ["offered:", *(f"  {line}" for line in self._offered)]
            if self._offered
            else ["no key was offered"]
        )
        missing = [f"{path}: there is no such file" for path in config.identity_files if _is_missed(path)]
        unusable = [*self._unusable, *missing]
        lines += ["not usable:", *(f"  {line}" for line in unusable)] if unusable else []
        lines += [f"the server says: {said}"] if said else []
        return AuthenticationFailed(self._login.host.name, "\n".join(lines), remedy=self._remedy())

    def _remedy(self) -> str:
        if self._locked is not None:
            return f"Unlock the key first: {shlex.join(['ssh-add', str(self._locked)])}"
        if not self._offered:
            return (
                "Name a key in KEY_FILE or ssh_config's IdentityFile, or add one to your agent with ssh-add."
            )
        user = self._login.config.user
        return (
            f"Is {user} the right user, and is one of these keys in its authorized_keys there? "
            f"Try: {self._login._command('-v')}"
        )


def _is_missed(path: Path) -> bool:
    """Whether a key file that somebody named is not there; the defaults (id_*) nobody named."""
    return not path.name.startswith("id_") and not path.is_file()


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return [title, *(f"  {line}" for line in lines)] if lines else []


def _quoted(said: str) -> str:
    return f"; it said: {said}" if said else ""
