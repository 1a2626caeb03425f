"""Reads and extends OpenSSH's files of known host keys (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).

Line by line: one line that is not understood must not hide the others.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

DEFAULT_PORT = 22

REVOKED = "@revoked"
CERT_AUTHORITY = "@cert-authority"


@dataclass(frozen=True)
class Entry:
    """One line: the key in ``blob`` belongs to the hosts in ``patterns``, as ``marker`` says."""

    file: Path
    line: int
    marker: str
    patterns: str
    key_type: str
    blob: bytes

    def matches(self, name: str) -> bool:
        """Whether the line speaks of ``name``: a host, or ``[host]:port``."""
        if self.patterns.startswith("|"):
            return _matches_hash(self.patterns, name)
        is_match = False
        for pattern in self.patterns.lower().split(","):
            if pattern.startswith("!") and matches_pattern(pattern[1:], name):
                return False
            is_match = is_match or matches_pattern(pattern, name)
        return is_match


class Verdict(Enum):
    """What the files say of a key that a host has shown."""

    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"


def host_name(hostname: str, port: int) -> str:
    """How the files name a host: the bare name for port 22, else ``[name]:port``."""
    hostname = hostname.lower()
    return hostname if port == DEFAULT_PORT else f"[{hostname}]:{port}"


def find(files: Iterable[Path], name: str) -> list[Entry]:
    """The lines of ``files`` that speak of ``name``; a file that cannot be read has none."""
    return [entry for file in files for entry in read(file) if entry.matches(name)]


def read(file: Path) -> Iterator[Entry]:
    """The well-formed lines of a file, whatever stands between them."""
    try:
        lines = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for number, line in enumerate(lines, 1):
        entry = _parse(file, number, line)
        if entry is not None:
            yield entry


def judge(entries: Sequence[Entry], blob: bytes) -> tuple[Verdict, list[Entry]]:
    """What ``entries``, those of one host, say of its key; and which of them say it.

    As in OpenSSH a host of which only other keys are known counts as changed, whatever their type:
    the types that are known were asked for first.
    """
    revoked = [entry for entry in entries if entry.marker == REVOKED and entry.blob == blob]
    if revoked:
        return Verdict.REVOKED, revoked
    plain = [entry for entry in entries if not entry.marker]
    same = [entry for entry in plain if entry.blob == blob]
    if same:
        return Verdict.KNOWN, same
    return (Verdict.CHANGED, plain) if plain else (Verdict.UNKNOWN, [])


def append(file: Path, name: str, key_type: str, blob: bytes, *, is_hashed: bool) -> None:
    """Add a key in one write, so that threads and programs which do the same lose no line.

    Creates the file with mode 0600 and its folder with 0700. Raises ``OSError``.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    patterns = hash_name(name, secrets.token_bytes(20)) if is_hashed else name
    line = f"{patterns} {key_type} {base64.b64encode(blob).decode()}\n".encode()
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        is_open_ended = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, b"\n" + line if is_open_ended else line)
    finally:
        os.close(descriptor)


def is_revoked(file: Path, blob: bytes) -> bool:
    """Whether a RevokedHostKeys file of public keys has this one.

    Raises ``OSError`` where it cannot be read, ``ValueError`` for OpenSSH's binary lists (KRL).
    """
    content = file.read_bytes()
    if content.startswith(b"SSHKRL\n\0"):
        raise ValueError("key revocation lists (KRL) are not supported, only lists of public keys")
    return base64.b64encode(blob) in content.split()


def hash_name(name: str, salt: bytes) -> str:
    """A name as HashKnownHosts writes it: ``|1|salt|HMAC-SHA1``."""
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def _parse(file: Path, number: int, line: str) -> Entry | None:
    words = line.split()
    marker = words.pop(0) if words and words[0].startswith("@") else ""
    if len(words) < 3 or words[0].startswith("#") or marker not in ("", REVOKED, CERT_AUTHORITY):
        return None
    patterns, key_type, encoded = words[:3]
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None
    # A key begins with the name of its type (RFC 4253, 6.6); what does not is another format.
    if not blob.startswith(len(key_type).to_bytes(4, "big") + os.fsencode(key_type)):
        return None
    return Entry(file, number, marker, patterns, key_type, blob)


def _matches_hash(hashed: str, name: str) -> bool:
    try:
        _, version, salt, _ = hashed.split("|")
        return version == "1" and hmac.compare_digest(hash_name(name, base64.b64decode(salt)), hashed)
    except (ValueError, TypeError):
        return False


def matches_pattern(pattern: str, name: str) -> bool:
    """Whether a pattern of OpenSSH's, with ``*`` and ``?``, is of the name."""
    # Not fnmatch: brackets stand for themselves here, as in [host]:2222.
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, name) is not None
