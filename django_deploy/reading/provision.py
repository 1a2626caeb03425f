"""Readers of what only ``deploy_setup`` needs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from django_deploy.reading.hosts import read_key_file
from django_deploy.reading.places import Kind, Mistake, Place, Reader
from django_deploy.reading.values import read_all, read_file_name
from django_deploy.target import INTERNAL, Certificate

#: What useradd takes on every system, and what may stand in a configuration and in a shell as it is.
NEW_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"

_ON_HOST = re.compile(r"host:(/[A-Za-z0-9_][A-Za-z0-9._-]*)+")

DOMAIN = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")


def read_tls(place: Place, value: object) -> str | Certificate:
    """``INTERNAL``, or the files of a certificate."""
    if isinstance(value, Mapping):
        return Certificate(**read_all(place, value, _TLS_KEYS, required=("CERTIFICATE", "KEY")))
    if value != INTERNAL:
        hint = "Or name files: {'CERTIFICATE': 'shop.pem', 'KEY': 'shop.key'}."
        raise Mistake(Kind.CHOICE, f"must be {INTERNAL!r} or a dict.", hint)
    return INTERNAL


def _read_tls_file(place: Place, value: object) -> str:
    """A file of this machine, or of the host, where it may be a link that changes."""
    text = read_file_name(place, os.fspath(value) if isinstance(value, os.PathLike) else value)
    if not text.startswith("host:"):
        return read_key_file(place, text)
    if not _ON_HOST.fullmatch(text):
        hint = "Write the whole path, say 'host:/etc/letsencrypt/live/shop.example.com/privkey.pem'."
        raise Mistake(Kind.PATH, f"is not the path of a file on the host: {text!r}.", hint)
    return text


_TLS_KEYS: Mapping[str, Reader[Any]] = {"CERTIFICATE": _read_tls_file, "KEY": _read_tls_file}
