"""Who we are to an index: user and password from its address, netrc or a keyring, where pip finds them."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from django_deploy.bundle.index.sources import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django_deploy.bundle.index.sources import Sources

#: Seconds in which the keyring's command has to answer; it may ask its user to unlock it.
KEYRING_TIMEOUT = 60.0


class Credentials:
    """``user:password`` for the servers of all sources, quoted as in addresses; "" where there is none.

    Safe to use from several threads. What the keyring says stays in memory.
    """

    def __init__(self, sources: Sources) -> None:
        self._indexes = {
            _place(url): (redact(url), urlsplit(url).netloc.rpartition("@")[0])
            for url in reversed((*sources.index_urls, *sources.find_links))
        }
        self._provider = sources.keyring_provider
        self._answers: dict[str, str] = {}
        self._lock = threading.Lock()

    def of(self, url: str) -> str:
        """What is sent with the first request."""
        place = _place(url)
        own = urlsplit(url).netloc.rpartition("@")[0] or self._indexes.get(place, ("", ""))[1]
        if ":" in own:
            return own
        # A user without a password may be a token; or its password is elsewhere.
        return self._answers.get(place, "") or _netrc_user(urlsplit(url).hostname or "") or own

    def after_refusal(self, url: str) -> str:
        """What the keyring knows of a server that has refused us; each server's is asked for once."""
        place = _place(url)
        index, user = self._indexes.get(place, ("", ""))
        user = unquote(urlsplit(url).netloc.rpartition("@")[0] or user)
        if ":" in user:
            return ""
        with self._lock:
            if place not in self._answers:
                found = (self._ask_keyring(service, user) for service in (index, place) if service)
                self._answers[place] = next(filter(None, found), "")
            return self._answers[place]

    def _ask_keyring(self, service: str, user: str) -> str:
        if self._provider in ("auto", "import"):
            try:
                return _imported_keyring(service, user)
            except ImportError:
                pass
            except Exception:  # keyrings are programs of others; one that is locked or broken has nothing
                return ""
        command = shutil.which("keyring") if self._provider in ("auto", "subprocess") else None
        return next(_keyring_command(command, service, user), "") if command else ""


def _place(url: str) -> str:
    """Host and port, as the address has them."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _quoted(user: str, password: str) -> str:
    return f"{quote(user, safe='')}:{quote(password, safe='')}"


def _imported_keyring(service: str, user: str) -> str:
    """The answer of the keyring package, if this environment has it."""
    keyring = importlib.import_module("keyring")
    found = keyring.get_credential(service, user or None)
    return _quoted(found.username, found.password) if found else ""


def _keyring_command(command: str, service: str, user: str) -> Iterator[str]:
    """The answer of the keyring's command; without a user it needs to be 25.2.1 or newer."""
    words = ["get", service, user] if user else ["--mode=creds", "--output=json", "get", service]
    try:
        done = subprocess.run(
            [command, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=KEYRING_TIMEOUT,
            check=True,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )
        text = done.stdout.decode()
        found = {"username": user, "password": text.rstrip("\r\n")} if user else json.loads(text)
        yield _quoted(found["username"], found["password"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return


def _netrc_user(host: str) -> str:
    import netrc

    try:
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        return ""
    return _quoted(found[0], found[2]) if found else ""
