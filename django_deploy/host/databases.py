"""Which database a release uses: what people call it, and what tells it from all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from .protocol import Failure

#: Asks a release's Django.
Ask = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Database:
    """The ``fingerprint`` is the server's own word, empty where it cannot be had."""

    place: str
    fingerprint: str = ""

    def is_same(self, other: Database) -> bool:
        """One server has many names, so that these count only where there is nothing better."""
        if self.fingerprint and other.fingerprint:
            return self.fingerprint == other.fingerprint
        return self.place == other.place


def find_database(ask: Ask, alias: str, place: str) -> Database:
    """The database that a release calls ``alias``; by its ``place`` where the release cannot say more."""
    try:
        reply = ask({"do": "identify", "commands": [["migrate", "--database", alias]], "salt": ""})
    except Failure:
        return Database(place)
    found = reply.get("databases", {}).get(alias)
    if not isinstance(found, dict):
        return Database(place)
    return Database(str(found.get("place") or place), str(found.get("fingerprint") or ""))
