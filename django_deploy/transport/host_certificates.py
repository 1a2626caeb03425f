"""Certificates that hosts show instead of plain keys, by an authority of known_hosts (PROTOCOL.certkeys)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from django_deploy.transport import known_hosts
from django_deploy.transport._paramiko import paramiko
from django_deploy.transport.key_files import PublicKey, public_key
from django_deploy.transport.known_hosts import CERT_AUTHORITY, Entry

#: What a certificate is for: 1 are users.
HOST = 2

#: The end of time, for certificates.
FOREVER = 2**64 - 1


@dataclass(frozen=True)
class HostCertificate:
    """What it says. Times are in seconds since the epoch; ``signed`` is what the signature is of."""

    kind: int
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical: bytes
    authority: PublicKey
    signed: bytes
    signature: bytes


def read(certificate: PublicKey) -> HostCertificate:
    """The fields after the key; what is no certificate gives nonsense, whose signature is not valid."""
    message = _Whole(certificate.blob)
    message.get_binary()  # the type
    message.get_binary()  # the nonce
    for _ in range(certificate.key_fields):
        message.get_binary()
    message.get_int64()  # the serial number
    kind, _id, principals = message.get_int(), message.get_binary(), message.get_binary()
    valid_after, valid_before = message.get_int64(), message.get_int64()
    critical, _extensions, _reserved = (message.get_binary() for _ in range(3))
    authority = message.get_binary()
    signed = message.get_so_far()
    return HostCertificate(
        kind,
        tuple(_texts(principals)),
        valid_after,
        valid_before,
        critical,
        public_key(authority),
        signed,
        message.get_binary(),
    )


class _Whole(paramiko.Message):
    """Paramiko fills up what was cut off, with zeros; here it is empty."""

    def get_binary(self) -> bytes:
        size, left = self.get_int(), len(self.get_remainder())
        return self.get_bytes(size) if size <= left else b""


def _texts(packed: bytes) -> list[str]:
    message, found = paramiko.Message(packed), []
    while message.get_remainder():
        found.append(message.get_binary().decode("utf-8", "replace"))
    return found


def find_authority(certificate: HostCertificate, entries: Sequence[Entry]) -> Entry | None:
    """The line of known_hosts whose authority, it says, has signed it."""
    blob = certificate.authority.blob
    return next((entry for entry in entries if entry.marker == CERT_AUTHORITY and entry.blob == blob), None)


def complaint(certificate: HostCertificate, name: str) -> str:
    """Why it does not prove that the host is ``name``; empty where it does, once its authority is trusted."""
    now = time.time()
    if not _is_signed(certificate):
        return "its signature is not valid"
    if certificate.kind != HOST:
        return "it is for users"
    if certificate.critical:
        return "it has options that are not known"
    if now < certificate.valid_after:
        return f"it is not valid before {_date(certificate.valid_after)}"
    if now >= certificate.valid_before:
        return f"it has expired, on {_date(certificate.valid_before)}"
    if not any(known_hosts.matches_pattern(pattern.lower(), name) for pattern in certificate.principals):
        return f"it is for {', '.join(certificate.principals) or 'no host by name'}, not for {name}"
    return ""


def _is_signed(certificate: HostCertificate) -> bool:
    algorithm = paramiko.Message(certificate.signature).get_binary()
    if algorithm == b"ssh-rsa":  # SHA-1
        return False
    authority = certificate.authority
    try:
        key = paramiko.PKey.from_type_string(authority.type, authority.blob)
        return key.verify_ssh_sig(certificate.signed, paramiko.Message(certificate.signature))
    except (paramiko.SSHException, paramiko.pkey.UnknownKeyType, ValueError, TypeError):
        return False  # an authority of a kind that we cannot use, or no key at all


def _date(seconds: int) -> str:
    if seconds >= FOREVER:
        return "ever"
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(min(seconds, 2**40)))
