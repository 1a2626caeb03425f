"""Signatures of bundle files: OpenSSH's format (PROTOCOL.sshsig), Ed25519, in a file beside the signed one.

``ssh-keygen -Y verify`` reads what is written here, and what ``ssh-keygen -Y sign`` writes is read here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from django_deploy.bundle.cache import write_aside
from django_deploy.exceptions import BundleError

#: What signatures are made for: one for another purpose is not taken for ours.
NAMESPACE = b"django-deploy"

#: Beside the signed file, with this at the end of its name.
SUFFIX = ".sig"

#: Bytes of a signature or of a file of keys that are read at most.
MAX_SIGNATURE = 10_000
MAX_KEYS = 1_000_000

_MAGIC = b"SSHSIG"
_VERSION = 1
_ALGORITHM = b"ssh-ed25519"
_HASH = b"sha512"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"

#: Characters of a line of base64, as OpenSSH breaks them.
_WIDTH = 70

#: Asks for the passphrase of a key file; None when nobody answers.
AskPassphrase = Callable[[Path], "str | None"]


class SignatureError(Exception):
    """A file is not a signature that could be checked; the message says why."""


@dataclass(frozen=True)
class SigningKey:
    """A private key, and its fingerprint as ``ssh-keygen -l`` shows it."""

    private: Ed25519PrivateKey
    fingerprint: str


def load_signing_key(key: str, ask: AskPassphrase = lambda path: None) -> SigningKey:
    """SIGNING_KEY: a file, or the text of one, in the format of OpenSSH or PEM.

    Raises ``BundleError`` for what is no Ed25519 key; the text of one is never shown.
    """
    is_text = key.startswith("-----BEGIN ")
    path = Path(key).expanduser()
    name = "The text of SIGNING_KEY" if is_text else f"SIGNING_KEY: {path}"
    try:
        content = f"{key}\n".encode() if is_text else path.read_bytes()
    except OSError as error:
        raise BundleError(f"{name} cannot be read: {error.strerror}.") from None
    private = _load(content, None)
    if private is None and not is_text and (passphrase := ask(path)) is not None:
        private = _load(content, passphrase.encode())
        if private is False:
            raise BundleError(f"{name}: the passphrase is wrong.")
    if private is None:
        raise BundleError(
            f"{name} has a passphrase.", remedy="Sign at a terminal, or with a key without one."
        )
    if not isinstance(private, Ed25519PrivateKey):
        remedy = "`ssh-keygen -t ed25519 -f deploy-signing` makes one."
        raise BundleError(f"{name} is not a private Ed25519 key.", remedy=remedy)
    return SigningKey(private, _fingerprint(_blob(private.public_key())))


def _load(content: bytes, passphrase: bytes | None) -> object | None:
    """A private key of some kind, or ``False`` for what is none; None when its passphrase is needed."""
    for load in (serialization.load_ssh_private_key, serialization.load_pem_private_key):
        try:
            return load(content, passphrase)
        except TypeError:
            return None
        except (ValueError, UnsupportedAlgorithm):
            continue
    return False


def sign_file(file: Path, key: SigningKey) -> Path:
    """Writes the signature of a file beside it; the same file and key give the same signature."""
    signature = key.private.sign(_signed_data(_sha512(file)))
    blob = (
        _MAGIC
        + struct.pack(">I", _VERSION)
        + b"".join(
            map(
                _string,
                (
                    _blob(key.private.public_key()),
                    NAMESPACE,
                    b"",
                    _HASH,
                    _string(_ALGORITHM) + _string(signature),
                ),
            )
        )
    )
    text = base64.b64encode(blob).decode()
    lines = [text[start : start + _WIDTH] for start in range(0, len(text), _WIDTH)]
    place = signature_of(file)
    try:
        with write_aside(place) as aside:
            aside.write_text("\n".join([_BEGIN, *lines, _END, ""]))
            aside.chmod(0o644)
    except OSError as error:
        raise BundleError(f"{place} cannot be written: {error.strerror}.") from None
    return place


def signature_of(file: Path) -> Path:
    """Where the signature of a file lies."""
    return file.with_name(file.name + SUFFIX)


def verify_file(copy: Path, file: Path, trusted_keys: Sequence[str]) -> str:
    """The fingerprint of the trusted key that a file is signed with; ``BundleError`` when there is none.

    ``copy`` has the file's bytes, ``file`` says where its signature is; ``trusted_keys`` are public keys in
    the format of OpenSSH, or files of them.
    """
    trusted = {blob for key in trusted_keys for blob in _read_public_keys(key)}
    place = signature_of(file)
    try:
        with place.open("rb") as source:
            public, signature = _parse(source.read(MAX_SIGNATURE))
    except FileNotFoundError:
        raise BundleError(
            f"{file} is not signed, and TRUSTED_KEYS asks for it: there is no {place.name}.",
            remedy="Get the signature, too; SIGNING_KEY makes `manage.py deploy_bundle` write one.",
        ) from None
    except OSError as error:
        raise BundleError(f"{place} cannot be read: {error.strerror}.") from None
    except SignatureError as error:
        raise BundleError(
            f"{place} is not a signature of a bundle: {error}.",
            remedy="Get it again from where the bundle came from; deploy_bundle with SIGNING_KEY writes it.",
        ) from None
    if public not in trusted:
        raise BundleError(
            f"{file} is signed with {_fingerprint(public)}, which is not one of the TRUSTED_KEYS.",
            remedy="If you know whose key that is and trust them, add it.",
        )
    try:
        Ed25519PublicKey.from_public_bytes(_fields(public)[1]).verify(signature, _signed_data(_sha512(copy)))
    except (InvalidSignature, ValueError):
        raise BundleError(
            f"{place} is not the signature of {file.name}: one of them has been changed.",
            remedy="Get both again.",
        ) from None
    return _fingerprint(public)


def _parse(content: bytes) -> tuple[bytes, bytes]:
    """Public key and signature of a signature file."""
    lines = content.decode("ascii", "replace").split()
    text = " ".join(lines)
    if not text.startswith(_BEGIN) or not text.endswith(_END):
        raise SignatureError("it does not look like one")
    try:
        blob = base64.b64decode("".join(text[len(_BEGIN) : -len(_END)].split()), validate=True)
    except binascii.Error:
        raise SignatureError("it does not look like one") from None
    if not blob.startswith(_MAGIC) or blob[len(_MAGIC) : len(_MAGIC) + 4] != struct.pack(">I", _VERSION):
        raise SignatureError("it has a format that is not known here")
    fields = _fields(blob[len(_MAGIC) + 4 :])
    if len(fields) != 5:
        raise SignatureError("it is incomplete")
    public, namespace, _, hashed_with, signature = fields
    if namespace != NAMESPACE:
        raise SignatureError(f"it was made for {namespace[:40].decode('ascii', 'replace')!r}")
    kinds = [_fields(part)[:1] for part in (public, signature)]
    if kinds != [[_ALGORITHM]] * 2 or len(_fields(signature)) != 2 or hashed_with != _HASH:
        raise SignatureError("it is not one of Ed25519 and SHA-512")
    return public, _fields(signature)[1]


def _read_public_keys(key: str) -> Iterator[bytes]:
    """An entry of TRUSTED_KEYS: a line as in ``id_ed25519.pub``, or a file of such lines."""
    lines = [key]
    if _ALGORITHM.decode() not in key:
        path = Path(key).expanduser()
        try:
            with path.open(encoding="ascii", errors="replace") as source:
                lines = [line for line in source.read(MAX_KEYS).splitlines() if line.strip()]
        except OSError as error:
            raise BundleError(f"TRUSTED_KEYS: {path} cannot be read: {error.strerror}.") from None
        lines = [line for line in lines if not line.lstrip().startswith("#")]
    for line in lines:
        try:
            words = line.split()
            blob = base64.b64decode(words[words.index(_ALGORITHM.decode()) + 1], validate=True)
        except (ValueError, IndexError):
            blob = b""
        fields = _fields(blob)
        if len(fields) != 2 or fields[0] != _ALGORITHM or len(fields[1]) != 32:
            raise BundleError(
                f"TRUSTED_KEYS: {line[:60]!r} is not a public Ed25519 key.",
                remedy="Write the line of the .pub file next to the private key, or the path of that file.",
            )
        yield blob


def _blob(key: Ed25519PublicKey) -> bytes:
    """A public key as OpenSSH has it."""
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return _string(_ALGORITHM) + _string(raw)


def _fingerprint(blob: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _signed_data(digest: bytes) -> bytes:
    return _MAGIC + b"".join(map(_string, (NAMESPACE, b"", _HASH, digest)))


def _sha512(file: Path) -> bytes:
    digest = hashlib.sha512()
    with file.open("rb") as source:
        while block := source.read(1 << 20):
            digest.update(block)
    return digest.digest()


def _string(data: bytes) -> bytes:
    """A string of SSH (RFC 4251): its length, then its bytes."""
    return struct.pack(">I", len(data)) + data


def _fields(blob: bytes) -> list[bytes]:
    """The strings that a blob is made of; none when it is not."""
    found = []
    while blob:
        length = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + length:
            return []
        found.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return found
