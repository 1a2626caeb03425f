"""How uv and pip learn the user and password of an index: from a netrc file in memory.

It is in no argv, in no environment and on no disk, and goes when the tools have ended.
"""

from __future__ import annotations

import netrc
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Optional
from urllib.parse import unquote, urlsplit, urlunsplit

#: What every reader of netrc files takes as it stands; Python before 3.11 knows no quotes and no escapes.
PLAIN = re.compile(r"[!#-\[\]-~][!-\[\]-~]*")


class Login(NamedTuple):
    """The address of an index for uv and pip, and the descriptor of the file that it needs, if any."""

    url: str
    file: Optional[int] = None

    @property
    def variables(self) -> dict[str, str]:
        found = {"UV_DEFAULT_INDEX": self.url, "PIP_INDEX_URL": self.url}
        return found if self.file is None else {**found, "NETRC": f"/proc/self/fd/{self.file}"}


@contextmanager
def login(url: str) -> Iterator[Login]:
    """Takes user and password out of an address, where a netrc file can hold them and be in memory."""
    parts = urlsplit(url)
    words = [unquote(word or "") for word in (parts.username, parts.password)]
    if not (all(map(PLAIN.fullmatch, words)) and hasattr(os, "memfd_create")):
        yield Login(url)
        return
    file = os.memfd_create("netrc")
    try:
        # Of two entries for a server both tools take the last.
        entry = f"machine {parts.hostname} login {words[0]} password {words[1]}\n"
        os.write(file, f"{_own_entries()}\n{entry}".encode("utf-8", "surrogateescape"))
        yield Login(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])), file)
    finally:
        os.close(file)


def _own_entries() -> str:
    """The user's own netrc file, which ours hides; a broken one would hide ours."""
    path = os.environ.get("NETRC") or os.path.expanduser("~/.netrc")
    try:
        netrc.netrc(path)
        with open(path, encoding="utf-8", errors="surrogateescape") as lines:
            return lines.read()
    except (OSError, UnicodeError, netrc.NetrcParseError):
        return ""
