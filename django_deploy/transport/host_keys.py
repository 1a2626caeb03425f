"""Is it the right host? Its key is known, or a person says so; else there is no connection."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence

from django_deploy.exceptions import HostKeyError
from django_deploy.transport import host_certificates, known_hosts
from django_deploy.transport.key_files import PublicKey
from django_deploy.transport.known_hosts import CERT_AUTHORITY, REVOKED, Entry, Verdict
from django_deploy.transport.login import Login

#: The signatures that a host with an RSA key may use (RFC 8332).
RSA_SIGNATURES = ("rsa-sha2-512", "rsa-sha2-256")


def find_known(login: Login) -> list[Entry]:
    """What known_hosts has of the host at its port, else of its bare name."""
    files = (*login.config.user_known_hosts, *login.config.global_known_hosts)
    for name in login.known_names:
        if entries := known_hosts.find(files, name):
            return entries
    return []


def prefer_known(key_types: Sequence[str], entries: Sequence[Entry]) -> list[str]:
    """The types in the order to ask for: a host whose RSA key is known must not show another."""
    known = {entry.key_type for entry in entries if not entry.marker}
    if "ssh-rsa" in known:
        known.update(RSA_SIGNATURES)
    return sorted(key_types, key=lambda key_type: key_type not in known)


def has_authority(entries: Sequence[Entry]) -> bool:
    """Whether known_hosts names an authority for the host's certificates."""
    return any(entry.marker == CERT_AUTHORITY for entry in entries)


def verify(login: Login, key: PublicKey, entries: Sequence[Entry]) -> None:
    """Accept the host's ``key`` or raise ``HostKeyError``. ``entries`` are what is known of the host.

    As in OpenSSH a certificate of an authority that is not known counts as the plain key in it.
    """
    _refuse_revoked(login, key.plain)
    if key.is_certificate and _is_certified(login, key, entries):
        return
    key = key.plain
    verdict, lines = known_hosts.judge(entries, key.blob)
    if verdict is Verdict.REVOKED:
        raise _revoked(login, key, f"{lines[0].file}:{lines[0].line}")
    if verdict is Verdict.CHANGED:
        raise _changed(login, key, lines[0])
    if verdict is Verdict.UNKNOWN:
        if not _is_accepted(login, key):
            raise _unknown(login, key, entries)
        _note(login, key)


def _is_certified(login: Login, key: PublicKey, entries: Sequence[Entry]) -> bool:
    certificate = host_certificates.read(key)
    line = host_certificates.find_authority(certificate, entries)
    if line is None:
        return False
    _refuse_revoked(login, certificate.authority)
    for each in (certificate.authority, key.plain):
        if any(entry.marker == REVOKED and entry.blob == each.blob for entry in entries):
            raise _revoked(login, each, str(line.file))
    if complaint := host_certificates.complaint(certificate, login.certified_name):
        where = f"by the authority of {line.file}:{line.line}"
        message = f"the host's certificate, {where}, is not accepted: {complaint}"
        remedy = "Whoever keeps the authority has to sign the host's key again (ssh-keygen -s … -h)."
        raise HostKeyError(login.host.name, message, remedy=remedy)
    return True


def _is_accepted(login: Login, key: PublicKey) -> bool:
    if login.config.strict == "accept-new":
        return True
    is_asked = login.config.strict == "ask"
    return is_asked and login.prompts.accept_host_key(login.host.name, key.type, key.fingerprint)


def _note(login: Login, key: PublicKey) -> None:
    if login.config.user_known_hosts:
        file, is_hashed = login.config.user_known_hosts[0], login.config.hash_known_hosts
        with contextlib.suppress(OSError):  # as OpenSSH: whoever cannot note it is asked again
            known_hosts.append(file, login.known_names[0], key.type, key.blob, is_hashed=is_hashed)


def _refuse_revoked(login: Login, key: PublicKey) -> None:
    file = login.config.revoked_host_keys
    if file is None:
        return
    try:
        is_revoked = known_hosts.is_revoked(file, key.blob)
    except (OSError, ValueError) as error:
        message = f"the RevokedHostKeys of your ssh_config cannot be used: {error}"
        raise HostKeyError(login.host.name, message, remedy=f"Fix {file}.") from error
    if is_revoked:
        raise _revoked(login, key, str(file))


def _revoked(login: Login, key: PublicKey, where: str) -> HostKeyError:
    message = f"the host shows a key that was revoked ({where}): {key.type} {key.fingerprint}"
    return HostKeyError(login.host.name, message, remedy="Do not trust this host before you know why.")


def _changed(login: Login, key: PublicKey, line: Entry) -> HostKeyError:
    known = PublicKey(line.key_type, line.blob)
    message = (
        f"the host key has changed: {key.type} {key.fingerprint}, "
        f"but {line.file}:{line.line} has {known.type} {known.fingerprint}"
    )
    forget = shlex.join(["ssh-keygen", "-f", str(line.file), "-R", login.known_names[0]])
    remedy = (
        "Was the host reinstalled? If not, somebody else may be answering in its place.\n"
        f"Once you are sure: {forget}\nand then: {login.command()}"
    )
    return HostKeyError(login.host.name, message, remedy=remedy)


def _unknown(login: Login, key: PublicKey, entries: Sequence[Entry]) -> HostKeyError:
    message = f"the host key is unknown: {key.type} {key.fingerprint}"
    if has_authority(entries):
        message += " (it has no certificate by an authority that known_hosts names for it)"
    remedy = (
        "Compare it with the fingerprint that the host itself shows "
        f"(ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub), then connect once with: {login.command()}"
    )
    return HostKeyError(login.host.name, message, remedy=remedy)
