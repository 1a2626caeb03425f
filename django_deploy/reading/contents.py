"""Readers of what a bundle is made of and where that comes from."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from django_deploy.reading.hosts import read_key_file
from django_deploy.reading.places import Kind, Mistake, Place
from django_deploy.reading.values import CONTROL, expect, has_port, is_utf8, pattern
from django_deploy.spelling import did_you_mean
from django_deploy.target import REQUIREMENTS

_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"

DISTRIBUTION_NAME = re.compile(_NAME)

_INCLUDED = re.compile(rf"{_NAME}(\[{_NAME}(,{_NAME})*\])?")

_EXCLUDED = re.compile(r"[A-Za-z0-9*]([A-Za-z0-9._*-]*[A-Za-z0-9*])?")

#: How a public key begins that is not an Ed25519 one.
_OTHER_KEY = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+\s")

MODULE_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")

#: Names of lock files as PEP 751 has them, and what makes one of the lock files of others.
_PYLOCK = r"pylock(\.[^.]+)?\.toml"

_EXPORTS = {
    "uv.lock": "uv export --format pylock.toml --output-file pylock.toml",
    "poetry.lock": "poetry export --output requirements.txt",
    "pdm.lock": "pdm export --output requirements.txt",
    "Pipfile.lock": "pipenv requirements --hash > requirements.txt",
}

read_included = pattern(Kind.NAME, _INCLUDED, "the name of a distribution, as in 'celery[redis]'")

read_excluded = pattern(Kind.NAME, _EXCLUDED, "the name of a distribution, as in 'pytest-*'")


def read_requirements(place: Place, value: object) -> str:
    """One of ``REQUIREMENTS``, or the path of a file that lists distributions."""
    if isinstance(value, str) and value in REQUIREMENTS:
        return value
    words = ", ".join(map(repr, REQUIREMENTS))
    expected = f"{words}, or the path of a requirements.in, requirements.txt or pylock.toml"
    return _read_listing(value, re.compile(rf".*\.(in|txt)|{_PYLOCK}"), expected, REQUIREMENTS)


def read_lock_file(place: Place, value: object) -> str:
    """The path of a file that must equal the environment."""
    expected = "the path of a requirements.txt or pylock.toml"
    return _read_listing(value, re.compile(rf".*\.txt|{_PYLOCK}"), expected)


def _read_listing(value: object, names: re.Pattern[str], expected: str, words: Collection[str] = ()) -> str:
    """The path of a file that lists distributions, by its name: it is read when it is used."""
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    text: str = expect(path, str, expected)
    if not names.fullmatch(PurePosixPath(text).name) or CONTROL.search(text):
        export = _EXPORTS.get(PurePosixPath(text).name)
        hint = f"`{export}` makes one of it." if export else did_you_mean(text, words)
        raise Mistake(Kind.CHOICE, f"must be {expected}, not {text!r}.", hint)
    return text


def read_index_url(place: Place, value: object) -> str:
    """The address of an index, which is never shown: it may hold a password."""
    url: str = expect(value, str, "an address")
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    is_remote = parts.scheme in {"http", "https"} and parts.hostname and has_port(parts)
    is_folder = parts.scheme == "file" and parts.path
    if not (is_remote or is_folder) or CONTROL.search(url) or " " in url or not is_utf8(url):
        # The address is not shown: it may hold a password.
        hint = "Write 'https://…', 'http://…' or 'file:///…'."
        raise Mistake(Kind.URL, "is not the address of an index.", hint)
    return url


def read_file_pattern(place: Place, value: object) -> str:
    """A pattern of files, counted from the folder of ``manage.py``."""
    text: str = expect(value, str, "a pattern of files")
    parts = text.strip("/").split("/")
    if not text.strip("/") or CONTROL.search(text):
        raise Mistake(Kind.PATH, f"is not a pattern of files: {text!r}.")
    if text.startswith("!"):
        raise Mistake(Kind.PATH, f"must not begin with '!': {text!r}.", "PROJECT_INCLUDE always wins.")
    if ".." in parts or "." in parts or "" in parts:
        hint = "Patterns count from the folder of manage.py: write 'data/*.csv'."
        raise Mistake(Kind.PATH, f"must be a path without '.', '..' and '//', not {text!r}.", hint)
    return text


def read_signing_key(place: Place, value: object) -> str:
    """A file, or the text of a private key; no text is ever shown."""
    text: str = expect(value, str, "a path, or the text of a private key").strip()
    if text.startswith("-----BEGIN "):
        return text
    if "\n" in text:
        raise Mistake(Kind.PATH, "is neither the path of a file nor the text of a private key.")
    return read_key_file(place, text)


def read_trusted_key(place: Place, value: object) -> str:
    """A public key, or the path of a file of them."""
    text: str = expect(value, str, "a public key, or the path of a file of them").strip()
    if "ssh-ed25519 " in text:
        return text
    if _OTHER_KEY.match(text):
        hint = "Make one that can be used: ssh-keygen -t ed25519."
        raise Mistake(Kind.PATH, f"must be an Ed25519 key, not {text.split()[0]}.", hint)
    return read_key_file(place, text)
