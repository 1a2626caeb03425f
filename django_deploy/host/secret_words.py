"""What of a secret must not be shown, in each form in which programs write it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

#: Characters of the shortest word that is one: shorter ones are anywhere.
SHORTEST = 4

#: Digits of the longest port number.
PORT = 5

_COMMON = frozenset({"true", "false", "none", "null", "localhost"})


def secret_words(value: str) -> Iterator[str]:
    """Each line of it, as it is, as ``repr`` writes it, and decoded; of an address its password, too.

    Left out are what is no secret and would make output unreadable: words of fewer than ``SHORTEST``
    characters, true and false and their like, port numbers.
    """
    for line in value.splitlines():
        word = line.strip()
        if len(word) < SHORTEST or word.lower() in _COMMON or (word.isdigit() and len(word) <= PORT):
            continue
        yield word
        yield repr(word)[1:-1]
        yield unquote(word)
        yield from passwords(word)


def passwords(address: str) -> Iterator[str]:
    """Of an address, as it stands there and decoded."""
    try:
        password = urlsplit(address).password or ""
    except ValueError:
        return
    if len(password) >= SHORTEST:
        yield password
        yield unquote(password)
