"""Keys in files: public ones, certificates, and private ones that each thread of ours shares."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django_deploy.transport._paramiko import paramiko
from django_deploy.transport.printable import printable

CERTIFICATE_SUFFIX = "-cert-v01@openssh.com"

#: How often a passphrase is asked for before its key is given up.
PASSPHRASE_TRIES = 3

#: How many fields of a certificate after its nonce are the key (PROTOCOL.certkeys).
_KEY_FIELDS = {"ssh-ed25519": 1, "ssh-rsa": 2}
_ECDSA_KEY_FIELDS = 2

#: Asks a person for the passphrase of a file; None where there is nobody to ask.
AskPassphrase = Callable[[Path], str | None]


class UnusableKey(Exception):
    """A key that cannot be offered, and why; ``is_locked`` where only the passphrase is missing."""

    def __init__(self, reason: str, *, is_locked: bool = False) -> None:
        super().__init__(reason)
        self.is_locked = is_locked


@dataclass(frozen=True)
class PublicKey:
    """A public key or certificate as it goes over the wire (RFC 4253, 6.6)."""

    type: str
    blob: bytes

    @property
    def is_certificate(self) -> bool:
        return self.type.endswith(CERTIFICATE_SUFFIX)

    @property
    def plain(self) -> PublicKey:
        """The key itself; of a certificate, the key that it is for."""
        if not self.is_certificate:
            return self
        message = paramiko.Message(self.blob)
        message.get_binary()  # the type
        message.get_binary()  # the nonce
        type = self.type.removesuffix(CERTIFICATE_SUFFIX)
        key = paramiko.Message()
        key.add_string(type)
        for _ in range(self.key_fields):
            key.add_string(message.get_binary())
        return PublicKey(type, key.asbytes())

    @property
    def key_fields(self) -> int:
        """How many fields after the type, and a certificate's nonce, are the key."""
        return _KEY_FIELDS.get(self.type.removesuffix(CERTIFICATE_SUFFIX), _ECDSA_KEY_FIELDS)

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` prints it."""
        digest = hashlib.sha256(self.plain.blob).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def public_key(blob: bytes) -> PublicKey:
    """A key from its wire form, which begins with the name of its type."""
    type = paramiko.Message(blob).get_binary()
    return PublicKey(type.decode("ascii", "replace"), blob)


def read_public_key(path: Path) -> PublicKey | None:
    """A public key or certificate in one line, as ``.pub`` files have it; None for anything else."""
    try:
        type, encoded = path.read_text(encoding="utf-8", errors="replace").split(None, 2)[:2]
        key = public_key(base64.b64decode(encoded, validate=True))
    except (OSError, ValueError):
        return None
    return key if key.type == type else None


def public_half(path: Path) -> PublicKey | None:
    """The public key of a private key file, without its passphrase; None where nothing tells it.

    As in OpenSSH the file may be missing where its public one is there, or be a public one itself:
    so people name a key that only their agent has.
    """
    header = _openssh_header(_read(path))
    if header is not None:
        return header.public
    return read_public_key(path) or read_public_key(path.with_name(path.name + ".pub"))


def is_sealed(path: Path) -> bool:
    """Whether a private key file needs a passphrase."""
    text = _read(path)
    header = _openssh_header(text)
    return header.is_sealed if header else "ENCRYPTED" in text


class KeyRing:
    """Private keys from files, each read and asked for once by all threads together.

    Many rounds of bcrypt and a person with a passphrase are both too slow for once a host.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file_locks: dict[Path, threading.Lock] = {}
        self._keys: dict[tuple[Path, int], paramiko.PKey] = {}
        self._failures: dict[tuple[Path, int, AskPassphrase], UnusableKey] = {}

    def load(self, path: Path, ask: AskPassphrase) -> paramiko.PKey:
        """The key in ``path``; raises ``UnusableKey``, for the same ``ask`` again without asking."""
        with self._lock:
            file_lock = self._file_locks.setdefault(path, threading.Lock())
        with file_lock:
            try:
                version = path.stat().st_mtime_ns
            except OSError as error:
                raise UnusableKey(error.strerror or str(error)) from error
            if (path, version, ask) in self._failures:
                raise self._failures[path, version, ask]
            if (path, version) not in self._keys:
                try:
                    self._keys[path, version] = _read_private_key(path, ask)
                except UnusableKey as failure:
                    self._failures[path, version, ask] = failure
                    raise
            return self._keys[path, version]


@dataclass(frozen=True)
class _Header:
    """What an OpenSSH private key file says without its passphrase (PROTOCOL.key)."""

    is_sealed: bool
    public: PublicKey


def _openssh_header(text: str) -> _Header | None:
    begin, end = "-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----"
    magic = paramiko.pkey.OPENSSH_AUTH_MAGIC
    try:
        data = base64.b64decode(text.partition(begin)[2].partition(end)[0])
    except ValueError:
        return None
    if not data.startswith(magic):
        return None
    message = paramiko.Message(data[len(magic) :])
    cipher = message.get_binary()
    message.get_binary()  # the key derivation
    message.get_binary()  # its options
    message.get_int()  # how many keys
    return _Header(cipher != b"none", public_key(message.get_binary()))


def _read(path: Path) -> str:
    """The text of a key file; empty where it cannot be read, which using the key will report."""
    with contextlib.suppress(OSError):
        return path.read_text(encoding="ascii", errors="replace")
    return ""


def _read_private_key(path: Path, ask: AskPassphrase) -> paramiko.PKey:
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise UnusableKey(error.strerror or str(error)) from error
    kind = _kind(text)
    if not is_sealed(path):
        return _parse_private_key(kind, path, None)
    for _ in range(PASSPHRASE_TRIES):
        passphrase = ask(path)
        if not passphrase:
            raise UnusableKey("it has a passphrase, which was not given", is_locked=True)
        with contextlib.suppress(UnusableKey):
            return _parse_private_key(kind, path, passphrase)
    raise UnusableKey(f"its passphrase was wrong {PASSPHRASE_TRIES} times", is_locked=True)


def _kind(text: str) -> type[paramiko.PKey]:
    header = _openssh_header(text)
    type = header.public.type if header else ""
    if type == "ssh-rsa" or "BEGIN RSA PRIVATE KEY" in text:
        return paramiko.RSAKey
    if type.startswith("ecdsa-sha2-") or "BEGIN EC PRIVATE KEY" in text:
        return paramiko.ECDSAKey
    if type == "ssh-ed25519":
        return paramiko.Ed25519Key
    if type:
        raise UnusableKey(f"keys of type {printable(type, 80)} cannot be used from a file")
    raise UnusableKey("it is not a private key in OpenSSH's format")


def _parse_private_key(kind: type[paramiko.PKey], path: Path, passphrase: str | None) -> paramiko.PKey:
    try:
        return kind.from_private_key_file(path, passphrase)
    except (paramiko.SSHException, OSError, ValueError, AssertionError, IndexError) as error:
        raise UnusableKey(f"it cannot be read: {printable(str(error), 200)}") from error
