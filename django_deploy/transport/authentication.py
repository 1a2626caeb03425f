"""Are we the right user? The keys are offered one after another; what became of each is kept."""

from __future__ import annotations

import contextlib
import shlex
import threading
from collections.abc import Sequence
from pathlib import Path

from django_deploy.exceptions import AuthenticationFailed, ConnectionFailed
from django_deploy.transport import identities, remembered_keys
from django_deploy.transport._paramiko import paramiko
from django_deploy.transport.identities import Agent, Identity, SigningKey
from django_deploy.transport.key_files import CERTIFICATE_SUFFIX, KeyRing, UnusableKey
from django_deploy.transport.login import Login
from django_deploy.transport.printable import printable

_keys = KeyRing()

#: Methods of RFC 4252 and RFC 4256 that a password fits, the plain one first.
_INTERACTIVE = "keyboard-interactive"
_BY_PASSWORD = ("password", _INTERACTIVE)


class Transport(paramiko.Transport):
    """Offers several keys in one login, and keeps the reason of a server that hangs up in ``last_words``."""

    last_words = ""
    #: Whether a host that has both shall show a certificate, and no plain key.
    prefers_certificates = False

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """As in paramiko, which puts certificates behind plain keys."""
        names = super().preferred_keys
        return tuple(
            sorted(names, key=lambda name: name.endswith(CERTIFICATE_SUFFIX) != self.prefers_certificates)
        )

    def auth_publickey(
        self, username: str, key: paramiko.PKey, event: threading.Event | None = None
    ) -> list[str]:
        """As in paramiko; but the service is asked for once (RFC 4252, 4), not again with each key.

        That spares a round trip, and some servers hang up when they are asked twice. Another one is
        spared where the first key goes with the request for the service.
        """
        # Private: what paramiko does when the service was granted. Should it go, each key asks again.
        offer = getattr(paramiko.auth_handler.AuthHandler, "_parse_service_accept", None)
        if offer is None or event is None:
            return super().auth_publickey(username, key, event)
        handler = self.auth_handler
        if handler is None:
            if not self._takes_key_with_request(key):
                return super().auth_publickey(username, key, event)
            handler = self.auth_handler = _EarlyOffer(self)
            handler._request_auth()  # type: ignore[attr-defined]
        handler.auth_method = "publickey"
        handler.auth_event, handler.username, handler.private_key = event, username, key
        offer(handler, _granted())
        return []

    def authenticate(self, username: str, method: str, **attributes: object) -> None:
        """By another method than a key. ``attributes`` are what paramiko's handler has for it.

        The service is asked for once here, too. Raises as paramiko does.
        """
        handler, event = self.auth_handler, threading.Event()
        is_granted = handler is not None
        if handler is None:
            handler = self.auth_handler = paramiko.auth_handler.AuthHandler(self)
        handler.auth_event, handler.auth_method, handler.username = event, method, username
        for name, value in attributes.items():
            setattr(handler, name, value)
        if is_granted:
            paramiko.auth_handler.AuthHandler._parse_service_accept(handler, _granted())  # type: ignore[attr-defined]
        else:
            handler._request_auth()  # type: ignore[attr-defined]
        handler.wait_for_response(event)

    def _takes_key_with_request(self, key: paramiko.PKey) -> bool:
        """OpenSSH is known to; which signature of an RSA key it takes, it may say only before it grants."""
        return self.remote_version.startswith("SSH-2.0-OpenSSH_") and key.get_name() != "ssh-rsa"

    def _parse_disconnect(self, message: paramiko.Message) -> None:
        # Private, but paramiko only logs the reason. Should the method go, the reason is missing
        # in our errors and nothing else.
        super()._parse_disconnect(message)  # type: ignore[misc]
        message.rewind()
        message.get_int()
        self.last_words = printable(message.get_binary())


def _granted() -> paramiko.Message:
    """What a server says that grants the service."""
    granted = paramiko.Message()
    granted.add_string("ssh-userauth")
    granted.rewind()
    return granted


class _EarlyOffer(paramiko.auth_handler.AuthHandler):
    """Has offered a key before the service was granted."""

    def _parse_service_accept(self, message: paramiko.Message) -> None:
        """The answer to what was asked: nothing is left to do."""


def authenticate(login: Login, transport: Transport, address: str) -> None:
    """Log in with the first key that is accepted, or by a password; raises ``AuthenticationFailed``."""
    attempt = _Attempt(login, transport, address)
    with contextlib.ExitStack() as stack:
        agent = attempt.open_agent()
        held = stack.enter_context(contextlib.closing(agent)).get_keys() if agent else ()
        offers = identities.find(login.config, held, _keys, login.prompts.passphrase)
        last = remembered_keys.recall(login.place)
        offers.sort(key=lambda identity: identity.label != last)
        for identity in offers:
            if attempt.offer(identity):
                remembered_keys.remember(login.place, identity.label)
                return
    if not attempt.use_password():
        raise attempt.failure()


class _Attempt:
    """One login, key after key."""

    def __init__(self, login: Login, transport: Transport, address: str) -> None:
        self._login = login
        self._transport = transport
        self._address = address
        self._offered: list[str] = []
        self._unusable: list[str] = []
        self._locked: Path | None = None
        self._banner = b""

    def open_agent(self) -> Agent | None:
        """The user's agent; one that does not answer is noted and does without."""
        path = self._login.config.identity_agent
        try:
            return Agent(path) if path else None
        except (OSError, ValueError, paramiko.SSHException) as error:
            self._unusable.append(f"the agent at {path}: {printable(str(error), 200)}")
            return None

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
        self._offered.append(f"{identity}: {key.failure}" if key.failure else str(identity))
        self._stop_if_hopeless(self._transport.get_exception())
        return False

    def use_password(self) -> bool:
        """Ask for a password where that may be and would help; one that is wrong is not tried again."""
        method = self._password_method() if self._login.may_use_password else None
        password = self._login.prompts.password(self._login.host.name) if method else None
        if method is None or password is None:
            return False
        attributes: dict[str, object] = {"password": password}
        if method == _INTERACTIVE:
            attributes = {
                "submethods": "",
                "interactive_handler": lambda *about: [password for _ in about[2]],
            }
        try:
            self._transport.authenticate(self._login.config.user, method, **attributes)
        except (paramiko.SSHException, EOFError, OSError):
            raise self.failure("the password is wrong; it was tried once") from None
        return self._transport.is_authenticated()

    def _password_method(self) -> str | None:
        """By which of its methods the server takes a password; None where it takes none."""
        try:
            self._transport.authenticate(self._login.config.user, "none")
        except paramiko.BadAuthenticationType as error:
            return next((method for method in _BY_PASSWORD if method in error.allowed_types), None)
        except (paramiko.SSHException, EOFError, OSError):
            return None
        return None

    def _send(self, key: SigningKey) -> None:
        is_answered = threading.Event()
        try:
            self._transport.auth_publickey(self._login.config.user, key, is_answered)
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self.failure(str(error)) from error
        while not is_answered.wait(self._login.timeout):
            if not key.is_signing:  # signing may wait for a person, and that is not the server's fault
                message = f"{self._address} did not answer the login within {self._login.timeout:g} s"
                remedy = f"Try: {self._login.command('-v')}"
                raise ConnectionFailed(self._login.host.name, message, remedy=remedy)

    def _stop_if_hopeless(self, error: Exception | None) -> None:
        if isinstance(error, paramiko.ssh_exception.PartialAuthentication):
            raise self.failure(f"it took the key and then wants more: {', '.join(error.allowed_types)}")
        if isinstance(error, paramiko.BadAuthenticationType) and not self._login.may_use_password:
            raise self.failure(f"it takes no keys, only: {', '.join(error.allowed_types)}")
        if not self._transport.is_active():
            raise self.failure()

    def failure(self, why: str = "") -> AuthenticationFailed:
        config, said = self._login.config, self._transport.last_words or printable(self._banner)
        lines = [f"{self._address} does not let {config.user} in{f': {printable(why)}' if why else ''}"]
        missed = [path for path in config.identity_files if self._is_missed(path)]
        lines += _listed("offered:", self._offered) or ["no key was offered"]
        absent = [f"{path}: there is no such file" for path in missed]
        lines += _listed("not usable:", [*self._unusable, *absent])
        lines += [f"the server says: {said}"] if said else []
        return AuthenticationFailed(self._login.host.name, "\n".join(lines), remedy=self._remedy())

    def _is_missed(self, path: Path) -> bool:
        """Whether a key file that somebody named is not there; the defaults (id_*) nobody named."""
        is_named = self._login.host.key_file is not None or not path.name.startswith("id_")
        return is_named and not path.is_file()

    def _remedy(self) -> str:
        if self._locked is not None:
            return f"Unlock the key first: {shlex.join(['ssh-add', str(self._locked)])}"
        if not self._offered:
            return "Name a key in KEY_FILE or ssh_config (IdentityFile), or give one to your agent (ssh-add)."
        user = self._login.config.user
        # An administrator is not made: only deploy_setup would take a password.
        is_made = user != "root" and not self._login.may_use_password
        new = "" if not is_made else f" On a new server, deploy_setup makes {user} and lets the key in."
        return (
            f"Is {user} the right user, and is one of these keys in its authorized_keys there?{new}"
            f" Try: {self._login.command('-v')}"
        )


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return [title, *(f"  {line}" for line in lines)] if lines else []
